//! A client with the connections that it has made.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::by_protocol::{Build, ByProtocol, Lease, Protocols};
use crate::fetch::client::IDLE;
use crate::fetch::connection::ConnectionCount;

/// How long a client that makes no more connections may have idle ones: the library looks for old
/// ones once in the time after which they are old.
const IDLE_CONNECTIONS_END: Duration = Duration::from_secs(2 * IDLE.as_secs());

/// The client of a generation, the hosts that it has met, and how often it has connected.
pub(super) struct Generation {
    clients: ByProtocol,
    count: ConnectionCount,
    hosts: HashSet<Box<str>>,
    in_use: Arc<()>,
}

/// A generation that has been replaced.
pub(super) struct Older {
    in_use: Weak<()>,
    replaced_at: Instant,
}

impl Generation {
    pub(super) fn new(build: &Build) -> reqwest::Result<Self> {
        let count = ConnectionCount::default();
        let clients = ByProtocol::new(|protocols| build(protocols, count.clone()))?;
        Ok(Self { clients, count, hosts: HashSet::new(), in_use: Arc::new(()) })
    }

    /// How many connections it has made.
    pub(super) fn connections(&self) -> usize {
        self.count.get()
    }

    pub(super) fn has_met(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    pub(super) fn lease(&mut self, host: &str, protocols: Protocols) -> Lease {
        if !self.hosts.contains(host) {
            self.hosts.insert(host.into());
        }
        self.clients.lease(protocols, Some(self.in_use.clone()))
    }

    pub(super) fn into_older(self) -> Older {
        Older { in_use: Arc::downgrade(&self.in_use), replaced_at: Instant::now() }
    }
}

impl Older {
    pub(super) fn has_idle_connections(&self) -> bool {
        self.in_use.strong_count() > 0 && self.replaced_at.elapsed() < IDLE_CONNECTIONS_END
    }
}
