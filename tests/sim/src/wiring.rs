//! The network of a world: which host is whose.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};

use fetchline_sim_net::{Network, Stream, pair};

use crate::broker::{self, Broker};
use crate::database::{self, Database};
use crate::web::{self, Web};

/// The begin of a server's address as each worker knows it; the worker's name follows. Names of
/// hosts would be looked up.
const BROKER: [u8; 2] = [0xfd, 1];
const DATABASE: [u8; 2] = [0xfd, 2];

/// What the workers of a world connect to; cheap to clone.
#[derive(Clone)]
pub struct Wiring {
    /// The broker.
    pub broker: Broker,
    /// The database.
    pub database: Database,
    /// The sites.
    pub web: Web,
    dead: Arc<Mutex<BTreeSet<String>>>,
}

impl Wiring {
    /// A network with these servers.
    pub fn new(broker: Broker, database: Database, web: Web) -> Self {
        Self { broker, database, web, dead: Arc::default() }
    }

    /// The broker's URL for a worker.
    pub fn broker_url(owner: &str) -> String {
        format!("amqp://guest:guest@[{}]:5672/%2f?heartbeat=0", address(BROKER, owner))
    }

    /// The database's URL for a worker.
    pub fn database_url(owner: &str) -> String {
        format!("mysql://root@[{}]:3306/fetchline?ssl-mode=disabled", address(DATABASE, owner))
    }

    /// Kills a worker: nothing that it does from now on reaches anybody.
    pub fn kill(&self, owner: &str) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.to_owned());
        self.broker.cut(owner, true);
        self.database.cut(owner);
    }

    fn is_dead(&self, owner: &str) -> bool {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).contains(owner)
    }
}

/// The address of a server for a worker, whose name has at most 14 bytes.
fn address(server: [u8; 2], owner: &str) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&server);
    octets[2..2 + owner.len()].copy_from_slice(owner.as_bytes());
    octets.into()
}

/// The worker that knows a server by this host, if it is this server.
fn owner_of(host: &str, server: [u8; 2]) -> Option<String> {
    let address: Ipv6Addr = host.trim_matches(['[', ']']).parse().ok()?;
    let octets = address.octets();
    let owner = octets.strip_prefix(&server)?;
    Some(String::from_utf8_lossy(owner).trim_end_matches('\0').to_owned())
}

impl Network for Wiring {
    fn connect(&self, host: &str, _: u16) -> io::Result<Stream> {
        let refused = || Err(io::ErrorKind::ConnectionRefused.into());
        let (client, server) = pair();
        if let Some(owner) = owner_of(host, BROKER) {
            if self.is_dead(&owner) || !self.broker.is_up() {
                return refused();
            }
            tokio::spawn(broker::serve(self.broker.clone(), server, owner));
        } else if let Some(owner) = owner_of(host, DATABASE) {
            if self.is_dead(&owner) || !self.database.is_up() {
                return refused();
            }
            tokio::spawn(database::serve(self.database.clone(), server, owner));
        } else {
            tokio::spawn(web::serve(self.web.clone(), server, host.to_owned()));
        }
        Ok(client)
    }
}
