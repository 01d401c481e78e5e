//! The HTTP client of a worker, in generations, so that its idle connections are bounded.
//!
//! The client library bounds idle connections per host only, so a worker that meets 20,000 hosts
//! would hold 20,000 of them. Instead, a client that has made its share of connections is replaced
//! by a new one; its idle connections close, those in use end with their fetch. Hosts that are
//! asked all the time connect anew once per generation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::connection::ConnectionCount;
use crate::error_chain::chain;

/// The connections of a generation, unless the process may open only few files.
const MAX_CONNECTIONS: usize = 1_000;
/// Open files that are not connections to sites.
const OTHER_FILES: usize = 100;
/// How often a shortage of sockets is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The current client; cheap to clone.
#[derive(Clone)]
pub(super) struct Clients(Arc<Inner>);

struct Inner {
    build: Build,
    max_connections: usize,
    current: RwLock<Generation>,
    is_renewed: AtomicBool,
    shortage_logged: RwLock<Option<Instant>>,
}

/// Makes a client that counts its connections.
pub(super) type Build =
    Box<dyn Fn(ConnectionCount) -> reqwest::Result<ClientBuilder> + Send + Sync>;

struct Generation {
    client: Client,
    /// Makes a connection for each request.
    unpooled: Client,
    count: ConnectionCount,
}

impl Generation {
    fn new(build: &Build) -> reqwest::Result<Self> {
        let count = ConnectionCount::default();
        let client = build(count.clone())?.build()?;
        // Its connections do not stay, so they do not count.
        let unpooled = build(ConnectionCount::default())?.pool_max_idle_per_host(0).build()?;
        Ok(Self { client, unpooled, count })
    }
}

/// The connections of a generation for `concurrency` fetches at once. Two generations and the
/// fetches under way have to fit into the open files that the process may have.
pub(super) fn max_connections(concurrency: usize) -> usize {
    let files = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let share = (files.saturating_sub(OTHER_FILES) / 2).saturating_sub(concurrency);
    share.min(MAX_CONNECTIONS.max(2 * concurrency)).max(concurrency.min(10)).max(1)
}

impl Clients {
    pub(super) fn new(max_connections: usize, build: Build) -> reqwest::Result<Self> {
        let current = RwLock::new(Generation::new(&build)?);
        let (is_renewed, shortage_logged) = (AtomicBool::new(false), RwLock::new(None));
        let inner = Inner { build, max_connections, current, is_renewed, shortage_logged };
        Ok(Self(Arc::new(inner)))
    }

    /// The client for the next request.
    pub(super) fn current(&self) -> Client {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        if current.count.get() >= self.0.max_connections {
            self.renew();
        }
        current.client.clone()
    }

    /// A client that sends each request on a new connection.
    pub(super) fn unpooled(&self) -> Client {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).unpooled.clone()
    }

    /// Replaces the client, in the background: it may have to read certificates.
    fn renew(&self) {
        if self.0.is_renewed.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || {
            match Generation::new(&inner.build) {
                Ok(next) => {
                    debug!(connections = inner.max_connections, "idle connections closed");
                    *inner.current.write().unwrap_or_else(PoisonError::into_inner) = next;
                }
                Err(error) => warn!(cause = chain(&error), "idle connections are not closed"),
            }
            inner.is_renewed.store(false, Ordering::Release);
        });
    }

    /// Closes idle connections because no socket could be opened.
    pub(super) fn out_of_sockets(&self) {
        self.renew();
        let mut logged = self.0.shortage_logged.write().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() > LOG_INTERVAL) {
            *logged = Some(Instant::now());
            warn!(
                "no socket could be opened; fetches are deferred: raise the limit of open files \
                 (ulimit -n), or lower --concurrency"
            );
        }
    }
}
