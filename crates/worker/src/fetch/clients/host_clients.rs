//! The clients of hosts, in the order of their last use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reqwest::Client;

use super::by_protocol::Protocols;
use super::estimate::Estimate;
use crate::fetch::connection::ConnectionCount;

/// The clients of hosts that are in use, and of those that were used last.
///
/// Nothing is built or dropped in here, since all requests share it. Removed clients are returned.
pub(super) struct HostClients {
    hosts: HashMap<Arc<str>, HostClient>,
    /// The hosts without a request under way, by the number of their last use.
    unused: BTreeMap<u64, Arc<str>>,
    /// The idle connections that all hosts may have, and how many they are allowed.
    idle_connections: usize,
    max_idle: usize,
    /// Numbers clients and their uses.
    next_number: u64,
}

/// The client of a host.
pub(super) struct HostClient {
    client: Client,
    protocols: Protocols,
    connections: Estimate,
    /// Tells it from other clients of the host.
    number: u64,
    /// Its key in `unused`, unless a request is under way.
    last_use: u64,
    /// Its share of [`HostClients::idle_connections`].
    idle_connections: usize,
}

/// The use of a client.
pub(super) struct Used {
    host: Arc<str>,
    number: u64,
}

impl HostClient {
    pub(super) fn new(client: Client, protocols: Protocols, made: ConnectionCount) -> Self {
        let connections = Estimate::new(made);
        Self { client, protocols, connections, number: 0, last_use: 0, idle_connections: 0 }
    }
}

impl HostClients {
    pub(super) fn new(max_idle: usize) -> Self {
        let (hosts, unused) = (HashMap::new(), BTreeMap::new());
        Self { hosts, unused, idle_connections: 0, max_idle, next_number: 0 }
    }

    /// The idle connections that all hosts may have.
    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.idle_connections
    }

    /// The client of a host, if it has one for these protocols, and its use, which lasts until
    /// [`Self::release`].
    pub(super) fn client(&mut self, host: &str, protocols: Protocols) -> Option<(Client, Used)> {
        let (host, _) = self.hosts.get_key_value(host)?;
        let host = host.clone();
        let own = self.hosts.get_mut(&host).filter(|own| own.protocols == protocols)?;
        self.unused.remove(&own.last_use);
        own.connections.begin();
        let (client, number) = (own.client.clone(), own.number);
        self.count(&host);
        Some((client, Used { host, number }))
    }

    /// Adds a client, unless the host has got one meanwhile. One for other protocols makes room.
    /// Returns the client that is not needed.
    pub(super) fn add(&mut self, host: &str, new: HostClient) -> Option<HostClient> {
        if self.hosts.get(host).is_some_and(|own| own.protocols == new.protocols) {
            return Some(new);
        }
        let former = self.remove(host);
        let number = self.number();
        self.hosts.insert(host.into(), HostClient { number, ..new });
        former
    }

    /// Ends a use. If the idle connections are too many then, the clients that were used least
    /// recently are removed and returned.
    pub(super) fn release(&mut self, used: &Used) -> Vec<HostClient> {
        let last_use = self.number();
        let own = self.hosts.get_mut(&used.host).filter(|own| own.number == used.number);
        let Some(own) = own else { return Vec::new() };
        if own.connections.end() == 0 {
            own.last_use = last_use;
            self.unused.insert(last_use, used.host.clone());
        }
        self.count(&used.host);
        self.remove_down_to(self.max_idle)
    }

    /// Removes the clients of all hosts without a request under way.
    pub(super) fn remove_unused(&mut self) -> Vec<HostClient> {
        self.remove_down_to(0)
    }

    fn remove_down_to(&mut self, most: usize) -> Vec<HostClient> {
        let mut removed = Vec::new();
        while self.idle_connections > most
            && let Some((_, host)) = self.unused.pop_first()
        {
            removed.extend(self.remove(&host));
        }
        removed
    }

    fn remove(&mut self, host: &str) -> Option<HostClient> {
        let own = self.hosts.remove(host)?;
        self.unused.remove(&own.last_use);
        self.idle_connections -= own.idle_connections;
        Some(own)
    }

    /// Counts the idle connections of a host anew.
    fn count(&mut self, host: &str) {
        let Some(own) = self.hosts.get_mut(host) else { return };
        self.idle_connections -= own.idle_connections;
        own.idle_connections = own.connections.idle();
        self.idle_connections += own.idle_connections;
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
