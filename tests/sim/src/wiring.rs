//! The network of a world: which host is whose.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use fetchline_sim_net::{Network, Stream, pair};

use crate::broker::{self, Broker};
use crate::database::{self, Database};
use crate::web::{self, Web};

/// The begin of the broker's host as each worker knows it; the worker's name follows.
const BROKER: &str = "broker-";
const DATABASE: &str = "database-";

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
        format!("amqp://guest:guest@{BROKER}{owner}:5672/%2f?heartbeat=0")
    }

    /// The database's URL for a worker.
    pub fn database_url(owner: &str) -> String {
        format!("mysql://root@{DATABASE}{owner}:3306/fetchline?ssl-mode=disabled")
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

impl Network for Wiring {
    fn connect(&self, host: &str, _: u16) -> io::Result<Stream> {
        let refused = || Err(io::ErrorKind::ConnectionRefused.into());
        let (client, server) = pair();
        if let Some(owner) = host.strip_prefix(BROKER) {
            if self.is_dead(owner) || !self.broker.is_up() {
                return refused();
            }
            tokio::spawn(broker::serve(self.broker.clone(), server, owner.to_owned()));
        } else if let Some(owner) = host.strip_prefix(DATABASE) {
            if self.is_dead(owner) || !self.database.is_up() {
                return refused();
            }
            tokio::spawn(database::serve(self.database.clone(), server, owner.to_owned()));
        } else {
            tokio::spawn(web::serve(self.web.clone(), server, host.to_owned()));
        }
        Ok(client)
    }
}
