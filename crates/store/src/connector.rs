//! Connects to one of the nodes of the database.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use fetchline_nodes::{Answer, Backoff, Node, Nodes, Protocol};
use futures_util::FutureExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::error::{Failures, is_answer};
use crate::{Error, url};

/// The pauses before all nodes are tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection is used, and how long it may be idle.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long a statement waits for a row that another transaction has locked, in seconds. Both
/// servers wait for 50 s by default, and the rest of the batch would wait as well. Our own
/// transactions hold their locks for milliseconds.
const LOCK_WAIT_S: u32 = 1;
/// The part of a packet that is not rows: the statement's text and the types of its values.
const PACKET_RESERVE: usize = 256 * 1024;
/// The assumed `max_allowed_packet` until a server reports its own: the smaller one of the current
/// defaults of MySQL and MariaDB.
const DEFAULT_PACKET: usize = 16 << 20;

/// What every statement relies on, whatever the server's defaults are. In strict mode, data that
/// does not fit is rejected, never truncated. Limits on rows would cut reports and clean-ups.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     autocommit = 1, completion_type = 0, sql_safe_updates = 0, sql_big_selects = 1, \
     sql_select_limit = 18446744073709551615";
/// Read committed: fewer gap locks.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// Connects to the database.
pub(crate) struct Connector {
    /// How to connect to each endpoint of `nodes`.
    options: Vec<MySqlConnectOptions>,
    nodes: Nodes,
    /// How long connecting may take for each node.
    timeout: Duration,
    /// The `max_allowed_packet` of the server of the newest connection. It may change with a
    /// failover.
    max_packet: AtomicUsize,
    /// The node of the newest connection.
    node: Mutex<Option<Node>>,
    /// Nodes that do not answer.
    silent: broadcast::Sender<Node>,
}

/// A connection, and where it leads.
pub(crate) struct Connected {
    pub(crate) connection: MySqlConnection,
    pub(crate) node: Node,
}

/// What a connection is set up for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The pool.
    Pool,
    /// A statement that may take long.
    Own,
    /// Creating the database.
    NoDatabase,
}

impl Connector {
    pub(crate) fn new(options: Vec<MySqlConnectOptions>, timeout: Duration) -> Self {
        Self {
            nodes: url::nodes(&options),
            options,
            timeout,
            max_packet: AtomicUsize::new(DEFAULT_PACKET),
            node: Mutex::default(),
            silent: broadcast::channel(16).0,
        }
    }

    /// The name of the database.
    pub(crate) fn database(&self) -> &str {
        self.options[0].get_database().unwrap_or_default()
    }

    /// Hosts, ports and database, without user and password.
    pub(crate) fn location(&self) -> String {
        match self.options[0].get_socket() {
            Some(path) => format!("{} {}", path.display(), self.database()),
            None => format!("{} {}", self.nodes.describe(), self.database()),
        }
    }

    /// The node of the newest connection.
    pub(crate) fn node(&self) -> Option<Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The approximate number of bytes that the rows of one statement may have.
    pub(crate) fn packet(&self) -> usize {
        let packet = self.max_packet.load(Ordering::Relaxed);
        packet.saturating_sub(PACKET_RESERVE).max(packet / 2)
    }

    /// Connects to the first node that takes a connection and accepts writes. If none accepts
    /// writes, to one that does not: it can still be read.
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<Connected, Error> {
        let began = Instant::now();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let candidates = self.nodes.candidates().await;
            let left = self.timeout.saturating_sub(began.elapsed());
            let attempt = |node| self.connect_to(node, purpose).boxed();
            let failures = match self.nodes.first_of(&candidates, left, attempt).await {
                Ok((_, connected)) => return Ok(self.used(connected)),
                Err(failures) => Failures(failures),
            };
            // Only a user of the pool waits for a server that starts.
            let again = purpose == Purpose::Pool && failures.may_pass();
            let pause = backoff.next_pause();
            if !again || began.elapsed() + pause >= self.timeout {
                return Err(failures.into_error(self.timeout));
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn used(&self, connected: Connected) -> Connected {
        let node = Some(connected.node.clone());
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
        connected
    }

    /// Connects to a node. A connection that cannot write is a partial answer.
    async fn connect_to(&self, node: Node, purpose: Purpose) -> sqlx::Result<Answer<Connected>> {
        let mut options = self.options[node.index].clone();
        if let Some(address) = node.address {
            options = options.host(&address.ip().to_string()).port(address.port());
        }
        if purpose == Purpose::NoDatabase {
            options = options.database("");
        }
        let mut connection = match options.get_socket() {
            Some(path) => options.connect().await.map_err(|error| at_socket(error, path))?,
            None => {
                let connected = node.connect_as(Protocol::MySql, options.connect(), is_answer);
                connected.await.map_err(other_protocol)??
            }
        };
        let accepts_writes = self.prepare(&mut connection, purpose).await?;
        let connected = Connected { connection, node };
        Ok(if accepts_writes { Answer::Full(connected) } else { Answer::Partial(connected) })
    }

    /// Sets up a session, which a node outside of the primary component of its cluster refuses.
    async fn prepare(
        &self,
        connection: &mut MySqlConnection,
        purpose: Purpose,
    ) -> sqlx::Result<bool> {
        const FACTS: &str = "SELECT CAST(@@max_allowed_packet AS UNSIGNED), \
             CAST(@@global.read_only AS SIGNED)";
        if purpose == Purpose::Pool {
            let settings = format!("{SESSION}, innodb_lock_wait_timeout = {LOCK_WAIT_S}");
            connection.execute(AssertSqlSafe(settings)).await?;
            connection.execute(ISOLATION).await?;
        } else {
            connection.execute(SESSION).await?;
        }
        let facts = connection.fetch_one(FACTS).await?;
        let packet: u64 = facts.try_get(0)?;
        self.max_packet.store(usize::try_from(packet).unwrap_or(usize::MAX), Ordering::Relaxed);
        Ok(facts.try_get::<i64, _>(1)? == 0)
    }

    /// Whether there is another node to turn to.
    pub(crate) fn has_several_nodes(&self) -> bool {
        self.nodes.are_several()
    }

    /// Learns from the end of a use. `is_light` says that the use asked for next to nothing, so
    /// that a missed deadline is the fault of the node.
    pub(crate) fn judge<T>(&self, node: &Node, result: &Result<T, Error>, is_light: bool) {
        let Err(error) = result else { return };
        if !error.is_of_node() {
            return;
        }
        self.nodes.failed(node);
        if is_light && matches!(error, Error::Deadline(..)) && self.has_several_nodes() {
            // Fails without a receiver, which is as good.
            _ = self.silent.send(node.clone());
        }
    }

    /// Waits until this node does not even answer what costs next to nothing, if there are others.
    pub(crate) async fn silence_of(&self, node: &Node) {
        let mut silent = self.silent.subscribe();
        loop {
            match silent.recv().await {
                Ok(other) if other != *node => {}
                Ok(_) => return,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// The same error with the name of the socket, if the socket cannot be used.
fn at_socket(error: sqlx::Error, path: &Path) -> sqlx::Error {
    match error {
        sqlx::Error::Io(error) => {
            let text = format!("the socket {}: {error}", path.display());
            sqlx::Error::Io(io::Error::new(error.kind(), text))
        }
        error => error,
    }
}

fn other_protocol(found: Protocol) -> sqlx::Error {
    let text = format!("what answers at this port speaks {found}, not the protocol of MySQL");
    sqlx::Error::Configuration(text.into())
}

impl Manager for Connector {
    type Type = Connected;
    type Error = Error;

    async fn create(&self) -> Result<Connected, Error> {
        self.connect(Purpose::Pool).await
    }

    /// A connection is not tested before each use, which would cost a round trip: a dead one fails
    /// and is not used again.
    async fn recycle(&self, connected: &mut Connected, metrics: &Metrics) -> RecycleResult<Error> {
        if self.nodes.prefers_another_to(&connected.node) {
            return Err(RecycleError::message("another node is preferred"));
        }
        match metrics.age() < LIFETIME && metrics.last_used() < IDLE {
            true => Ok(()),
            false => Err(RecycleError::message("the connection is old")),
        }
    }
}
