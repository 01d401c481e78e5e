//! The HTTP clients of a worker: one per host, so that its idle connections are bounded in all.
//!
//! The client library bounds idle connections per host only, and cannot close one of them. So each
//! host has a client of its own. Dropping it closes its idle connections; those in use end with
//! their request. If there are too many, the client that was used least recently is dropped first.

mod by_protocol;
mod estimate;
mod host_clients;
mod http1_hosts;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::{Client, ClientBuilder};
use tokio::time::Instant;
use tracing::warn;

use self::by_protocol::ByProtocol;
pub(super) use self::by_protocol::{Build, Protocols};
use self::host_clients::{HostClient, HostClients, Used};
use self::http1_hosts::Http1Hosts;
use super::connection::ConnectionCount;
use crate::error_chain::chain;
use crate::log_interval::is_due;

/// The idle connections, unless the process may open only few files.
const MAX_IDLE: usize = 1_000;
/// Open files that are not connections to sites.
const OTHER_FILES: usize = 100;

/// The clients; cheap to clone.
#[derive(Clone)]
pub(super) struct Clients(Arc<Inner>);

struct Inner {
    build: Build,
    /// Make a connection for each request.
    unpooled: ByProtocol,
    state: Mutex<State>,
}

struct State {
    hosts: HostClients,
    http1_hosts: Http1Hosts,
    shortage_logged: Option<Instant>,
    failure_logged: Option<Instant>,
}

/// A client for one request. Its host counts as in use until this is dropped, which is after the
/// body.
pub(super) struct Lease {
    pub(super) client: Client,
    /// `None` for a client without idle connections.
    used: Option<(Clients, Used)>,
}

/// The idle connections for `concurrency` fetches at once. They and the fetches under way have to
/// fit into the open files that the process may have.
pub(super) fn max_idle(concurrency: usize) -> usize {
    let files = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let share = files.saturating_sub(OTHER_FILES).saturating_sub(concurrency) / 2;
    share.min(MAX_IDLE.max(2 * concurrency)).max(concurrency.min(10)).max(1)
}

impl Clients {
    pub(super) fn new(max_idle: usize, build: Build) -> reqwest::Result<Self> {
        let unpooled = ByProtocol::new(|protocols| {
            Ok(build(protocols, ConnectionCount::default())?.pool_max_idle_per_host(0))
        })?;
        let state = State {
            hosts: HostClients::new(max_idle),
            http1_hosts: Http1Hosts::default(),
            shortage_logged: None,
            failure_logged: None,
        };
        Ok(Self(Arc::new(Inner { build, unpooled, state: Mutex::new(state) })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client for the next request to a host.
    pub(super) fn for_host(&self, host: &str) -> Lease {
        let (protocols, found) = {
            let mut state = self.state();
            let protocols = state.http1_hosts.protocols(host);
            (protocols, state.hosts.client(host, protocols))
        };
        let leased = found.or_else(|| self.add(host, protocols));
        match leased {
            Some((client, used)) => Lease { client, used: Some((self.clone(), used)) },
            None => Lease { client: self.0.unpooled.client(protocols), used: None },
        }
    }

    /// Makes a client for a host. Clients are built and dropped without the lock, since all
    /// requests need it.
    fn add(&self, host: &str, protocols: Protocols) -> Option<(Client, Used)> {
        let made = ConnectionCount::default();
        let built = (self.0.build)(protocols, made.clone()).and_then(ClientBuilder::build);
        let client = match built {
            Ok(client) => HostClient::new(client, protocols, made),
            Err(error) => {
                if is_due(&mut self.state().failure_logged) {
                    warn!(
                        cause = chain(&error),
                        "no client could be made for a host; its connections are not reused"
                    );
                }
                return None;
            }
        };
        let (_not_needed, leased) = {
            let mut state = self.state();
            (state.hosts.add(host, client), state.hosts.client(host, protocols))
        };
        leased
    }

    /// A client that sends each request to this host on a new connection.
    pub(super) fn unpooled(&self, host: &str) -> Lease {
        let protocols = self.state().http1_hosts.protocols(host);
        Lease { client: self.0.unpooled.client(protocols), used: None }
    }

    /// Sends requests to this host over HTTP/1.1 for a while.
    pub(super) fn use_http1(&self, host: &str) {
        self.state().http1_hosts.insert(host);
    }

    /// Closes idle connections because no socket could be opened.
    pub(super) fn out_of_sockets(&self) {
        // Dropped without the lock.
        let _unused = self.state().hosts.remove_unused();
        let mut state = self.state();
        if is_due(&mut state.shortage_logged) {
            warn!(
                "no socket could be opened; fetches are deferred: raise the limit of open files \
                 (ulimit -n), or lower --concurrency"
            );
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((clients, used)) = self.used.take() {
            // Dropped without the lock.
            let _removed = clients.state().hosts.release(&used);
        }
    }
}

#[cfg(test)]
mod tests;
