//! The HTTP clients of a worker, in generations, so that its idle connections are bounded.
//!
//! The client library bounds idle connections per host only, so a worker that meets 20,000 hosts
//! would hold 20,000 of them. Instead, a client that has made its share of connections is replaced
//! by a new one; its idle connections close, those in use end with their fetch. Hosts that are
//! asked all the time reconnect once per generation.
//!
//! The idle connections of a client stay while any of its requests waits for an answer. A client is
//! therefore only replaced once the one before it is gone. Until its successor is there, hosts that
//! it has not met yet get a connection for each request.

mod by_protocol;
mod generation;
mod http1_hosts;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use self::by_protocol::ByProtocol;
pub(super) use self::by_protocol::{Build, Lease, Protocols};
use self::generation::{Generation, Older};
use self::http1_hosts::Http1Hosts;
use super::connection::ConnectionCount;
use crate::error_chain::chain;

/// The connections of a generation, unless the process may open only few files.
const MAX_CONNECTIONS: usize = 1_000;
/// Open files that are not connections to sites.
const OTHER_FILES: usize = 100;
/// How often a shortage of sockets is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The current clients; cheap to clone.
#[derive(Clone)]
pub(super) struct Clients(Arc<Inner>);

struct Inner {
    build: Build,
    max_connections: usize,
    /// Make a connection for each request.
    unpooled: ByProtocol,
    state: Mutex<State>,
}

struct State {
    current: Generation,
    /// Generations that may still have idle connections.
    older: Vec<Older>,
    is_renewed: bool,
    http1_hosts: Http1Hosts,
    shortage_logged: Option<Instant>,
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
        let state = State {
            current: Generation::new(&build)?,
            older: Vec::new(),
            is_renewed: false,
            http1_hosts: Http1Hosts::default(),
            shortage_logged: None,
        };
        // Their connections do not stay, so they do not count.
        let unpooled = ByProtocol::new(|protocols| {
            Ok(build(protocols, ConnectionCount::default())?.pool_max_idle_per_host(0))
        })?;
        let state = Mutex::new(state);
        Ok(Self(Arc::new(Inner { build, max_connections, unpooled, state })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client for the next request to a host.
    pub(super) fn for_host(&self, host: &str) -> Lease {
        let mut state = self.state();
        let protocols = state.http1_hosts.protocols(host);
        let is_full = state.current.connections() >= self.0.max_connections;
        if is_full {
            state.older.retain(Older::has_idle_connections);
            if state.older.is_empty() {
                self.renew(&mut state);
            }
            if !state.current.has_met(host) {
                return self.0.unpooled.lease(protocols, None);
            }
        }
        state.current.lease(host, protocols)
    }

    /// A client that sends each request to this host on a new connection.
    pub(super) fn unpooled(&self, host: &str) -> Lease {
        let protocols = self.state().http1_hosts.protocols(host);
        self.0.unpooled.lease(protocols, None)
    }

    /// Sends requests to this host over HTTP/1.1 for a while.
    pub(super) fn use_http1(&self, host: &str) {
        self.state().http1_hosts.insert(host);
    }

    /// Replaces the current client, in the background: it may have to read certificates.
    fn renew(&self, state: &mut State) {
        if std::mem::replace(&mut state.is_renewed, true) {
            return;
        }
        let clients = self.clone();
        tokio::task::spawn_blocking(move || {
            let next = Generation::new(&clients.0.build);
            let mut state = clients.state();
            match next {
                Ok(next) => {
                    debug!(connections = clients.0.max_connections, "idle connections closed");
                    let older = std::mem::replace(&mut state.current, next);
                    state.older.push(older.into_older());
                }
                Err(error) => warn!(cause = chain(&error), "idle connections are not closed"),
            }
            state.is_renewed = false;
        });
    }

    /// Closes idle connections because no socket could be opened.
    pub(super) fn out_of_sockets(&self) {
        let mut state = self.state();
        self.renew(&mut state);
        if state.shortage_logged.is_none_or(|at| at.elapsed() > LOG_INTERVAL) {
            state.shortage_logged = Some(Instant::now());
            warn!(
                "no socket could be opened; fetches are deferred: raise the limit of open files \
                 (ulimit -n), or lower --concurrency"
            );
        }
    }
}
