//! The clients of hosts, in the order of their last use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reqwest::Client;
use tokio::time::Instant;

use super::by_protocol::{Build, Protocols};
use crate::fetch::client::IDLE;
use crate::fetch::connection::ConnectionCount;

/// The clients of hosts that are in use, and of those that were used last.
pub(super) struct HostClients {
    hosts: HashMap<Arc<str>, HostClient>,
    /// The clients without a request under way, by the number of their last use.
    idle: BTreeMap<u64, Idle>,
    /// The connections that those may have, and how many they may.
    idle_connections: usize,
    max_idle: usize,
    /// Numbers clients and their uses.
    next_number: u64,
}

struct HostClient {
    client: Client,
    protocols: Protocols,
    count: ConnectionCount,
    /// Tells it from other clients of the host.
    number: u64,
    /// Requests under way, and the most that there were since it last had no connections.
    under_way: usize,
    most: usize,
    /// Its key in `idle`, and since when.
    idle_since: Option<(u64, Instant)>,
}

/// A client without a request under way, with the connections that it may have.
struct Idle {
    host: Arc<str>,
    connections: usize,
}

/// The use of a client.
pub(super) struct Used {
    host: Arc<str>,
    number: u64,
}

impl HostClient {
    /// How many idle connections it may have: not more than it has made. A request that finds none
    /// makes one, and yet may get another one that has become idle meanwhile.
    fn connections(&self) -> usize {
        self.count.get().min(2 * self.most).max(1)
    }
}

impl HostClients {
    pub(super) fn new(max_idle: usize) -> Self {
        let (hosts, idle) = (HashMap::new(), BTreeMap::new());
        Self { hosts, idle, idle_connections: 0, max_idle, next_number: 0 }
    }

    /// The client of a host, and its use, which lasts until [`Self::release`].
    pub(super) fn client(
        &mut self,
        host: &str,
        protocols: Protocols,
        build: &Build,
    ) -> reqwest::Result<(Client, Used)> {
        if self.hosts.get(host).is_none_or(|own| own.protocols != protocols) {
            self.add(host, protocols, build)?;
        }
        let Some((host, _)) = self.hosts.get_key_value(host) else { unreachable!("just added") };
        let host = host.clone();
        let Some(own) = self.hosts.get_mut(&host) else { unreachable!("just found") };
        if let Some((key, since)) = own.idle_since.take() {
            let idle = self.idle.remove(&key);
            self.idle_connections -= idle.map_or(0, |idle| idle.connections);
            if since.elapsed() > IDLE {
                own.most = 0;
            }
        }
        own.under_way += 1;
        own.most = own.most.max(own.under_way);
        Ok((own.client.clone(), Used { host, number: own.number }))
    }

    /// Adds a client. One for other protocols makes room.
    fn add(&mut self, host: &str, protocols: Protocols, build: &Build) -> reqwest::Result<()> {
        let count = ConnectionCount::default();
        let client = build(protocols, count.clone())?.build()?;
        let number = self.number();
        let (under_way, most, idle_since) = (0, 0, None);
        let own = HostClient { client, protocols, count, number, under_way, most, idle_since };
        let former = self.hosts.insert(host.into(), own);
        if let Some((key, _)) = former.and_then(|former| former.idle_since) {
            let idle = self.idle.remove(&key);
            self.idle_connections -= idle.map_or(0, |idle| idle.connections);
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Ends a use. If the idle connections are too many then, those of the clients that were used
    /// least recently are closed.
    pub(super) fn release(&mut self, used: &Used) {
        let key = self.number();
        let Some(own) = self.hosts.get_mut(&used.host) else { return };
        if own.number != used.number {
            return;
        }
        own.under_way -= 1;
        if own.under_way > 0 {
            return;
        }
        own.idle_since = Some((key, Instant::now()));
        let connections = own.connections();
        self.idle.insert(key, Idle { host: used.host.clone(), connections });
        self.idle_connections += connections;
        self.close_down_to(self.max_idle);
    }

    /// Closes all idle connections.
    pub(super) fn close_idle(&mut self) {
        self.close_down_to(0);
    }

    fn close_down_to(&mut self, most: usize) {
        while self.idle_connections > most
            && let Some((_, Idle { host, connections })) = self.idle.pop_first()
        {
            self.idle_connections -= connections;
            self.hosts.remove(&host);
        }
    }
}
