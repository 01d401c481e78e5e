//! Connections to the broker that name themselves, notice a silent peer, and never wait for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fetchline_nodes::{Answer, Endpoint, Node, Nodes, Protocol};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::deadline::DEADLINE;
use super::inspection::Inspection;
use super::permissions::MissingPermission;
use super::socket::Connector;
use super::tier::Tier;
use super::topology::Topology;
use super::transport;
use super::uri;
use crate::Error;
use crate::error::{is_answer, is_hung_up};

/// The longest interval between heartbeats that a broker agrees to, unless it is configured
/// otherwise.
const MAX_HEARTBEAT_S: u16 = 60;

/// The largest frame that we ask for, which is RabbitMQ's own default. The client library makes
/// its buffers for it at once; those that have to grow after the negotiation are written all over,
/// which takes 8 MiB of memory per connection that is never used.
const FRAME_MAX: u32 = 128 * 1024;

/// When the nodes of a cluster take a frozen one for down, at the latest: after five quarters of
/// `net_ticktime`, which is 60 s unless it is configured otherwise.
const NODE_DOWN: Duration = Duration::from_secs(80);

/// The connections of a worker: for consuming, publishing, directives and news.
const CONNECTIONS_OF_WORKER: usize = 4;

/// Where the broker is, and the fleet's name on it.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`. Several nodes of a cluster are listed
    /// as `amqp://user:password@host1:port,host2:port/vhost`, or as whole URLs with commas between
    /// them.
    pub url: String,
    /// A PEM file with the authority that signed the broker's certificate, if the system does not
    /// trust it.
    pub ca: Option<PathBuf>,
    /// The first part of every exchange and queue name.
    pub prefix: String,
}

/// The purpose of a connection, which operators see in the console.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Publishes tasks.
    Produce,
    /// Consumes tasks.
    Consume,
    /// Publishes retries, deferred tasks and dead letters of a worker.
    Publish,
    /// Publishes the news of the workers.
    News,
    /// Reads the counts of queues.
    Status,
    /// Lists, replays or purges dead letters.
    Dead,
    /// Publishes directives.
    Control,
    /// Tries whether a worker could work.
    Check,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Publish => "publish",
            Self::News => "news",
            Self::Status => "status",
            Self::Dead => "dead",
            Self::Control => "control",
            Self::Check => "check",
        }
    }
}

/// A broker to connect to: one node, or a cluster.
#[derive(Clone)]
pub struct Broker {
    /// How to connect to each endpoint of `nodes`.
    uris: Arc<[AMQPUri]>,
    nodes: Arc<Nodes>,
    connector: Connector,
    topology: Topology,
    name: String,
    role: Role,
}

impl Broker {
    /// Validates the configuration. `name` is the pod or host that the console shows.
    pub fn new(config: &BrokerConfig, role: Role, name: &str) -> Result<Self, Error> {
        let uris = uri::parse(&config.url)?;
        let endpoint =
            |uri: &AMQPUri| Endpoint { host: uri.authority.host.clone(), port: uri.authority.port };
        Ok(Self {
            connector: Connector::new(&uris[0].scheme, config.ca.as_deref())?,
            nodes: Arc::new(Nodes::new(uris.iter().map(endpoint).collect(), true)),
            uris: uris.into(),
            topology: Topology::new(&config.prefix),
            name: name.to_owned(),
            role,
        })
    }

    /// How long a broker may take to notice that a connection is gone whose end did not reach it.
    /// It looks once per heartbeat, and closes a connection that was silent at two looks; but the
    /// connections of a frozen node are its own until the other nodes take it for down.
    pub fn lost_connection_timeout(&self) -> Duration {
        if self.uris.len() > 1 {
            return NODE_DOWN;
        }
        let heartbeats = self.uris.iter().filter_map(|uri| uri.query.heartbeat);
        let longest = heartbeats.filter(|seconds| *seconds > 0).max();
        Duration::from_secs(3 * u64::from(longest.unwrap_or(MAX_HEARTBEAT_S)))
    }

    /// The same broker with these retry queues.
    pub fn with_tiers(mut self, tiers: Vec<Tier>) -> Self {
        self.topology = self.topology.with_tiers(tiers);
        self
    }

    /// The same broker with connections for another purpose.
    pub fn with_role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// The names of the exchange and the queues.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &str {
        &self.uris[0].vhost
    }

    /// User and password: for the broker, never for people.
    pub fn credentials(&self) -> (&str, &str) {
        let user = &self.uris[0].authority.userinfo;
        (&user.username, &user.password)
    }

    /// Hosts, ports and virtual host, without user and password: for logs.
    pub fn location(&self) -> String {
        format!("{} {}", self.nodes.describe(), self.virtual_host())
    }

    /// Compares what exists with what would be declared.
    pub async fn compare(&self, connection: &Connection) -> Result<Inspection, Error> {
        self.topology.inspect(connection).await
    }

    /// The permissions that the user lacks for what a worker does. Changes nothing.
    pub async fn missing_permissions(
        &self,
        connection: &Connection,
    ) -> Result<Vec<MissingPermission>, Error> {
        self.topology.missing_permissions(connection).await
    }

    /// Connects, compares what exists with what would be declared, and declares what is missing of
    /// `declared`, as far as the user may. Differences that do no harm are returned.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] for a difference that multiplies messages, keeps them for ever or loses
    /// them, [`Error::MayNotWork`], and what the broker answers if a limit is reached.
    pub async fn inspect(&self, declared: &Topology) -> Result<Inspection, Error> {
        let connection = &self.connect().await?;
        let inspection = self.inspect_on(connection).await?;
        // A user who may configure everything is one who may do the rest, too.
        if !inspection.uncompared.is_empty() {
            self.topology.check_working(connection).await?;
        }
        match declared.declare(connection).await {
            // Somebody else may declare it. The worker says so until then.
            Err(Error::Missing(_)) => {}
            declared => _ = declared?,
        }
        Ok(inspection)
    }

    /// As many connections as a worker has at the same time.
    pub async fn connections_of_worker(&self) -> Result<Vec<Connection>, Error> {
        try_join_all((0..CONNECTIONS_OF_WORKER).map(|_| self.connect())).await
    }

    /// Compares what exists with what would be declared. Differences that do no harm are returned.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`], as in [`Self::inspect`].
    pub async fn inspect_on(&self, connection: &Connection) -> Result<Inspection, Error> {
        self.topology.inspect(connection).await?.without_harm()
    }

    /// Records that a node is of no use although it takes connections. It is tried last for a
    /// while.
    pub fn leave(&self, node: &Node) {
        self.nodes.failed(node);
    }

    /// Whether another node should be used than this one.
    pub fn prefers_another_to(&self, node: &Node) -> bool {
        self.nodes.prefers_another_to(node)
    }

    /// Whether there are nodes that are not among these.
    pub fn has_other_nodes_than(&self, nodes: &[Node]) -> bool {
        self.nodes.has_other_than(nodes)
    }

    /// Opens a connection. Dropping it closes it.
    pub async fn connect(&self) -> Result<Connection, Error> {
        self.connect_to_node(&[]).await.map(|(connection, _)| connection)
    }

    /// Opens a connection, and says to which node. Nodes in `last` are tried after all others.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`] if there are several nodes. It takes a bounded time, whatever they do.
    pub async fn connect_to_node(&self, last: &[Node]) -> Result<(Connection, Node), Error> {
        let mut candidates = self.nodes.candidates().await;
        candidates.sort_by_key(|node| last.contains(node));
        let attempt = |node| self.connect_to(node).boxed();
        match self.nodes.first_of(&candidates, DEADLINE, attempt).await {
            Ok((node, connection)) => Ok((connection, node)),
            Err(failures) => {
                let silence = || Error::Deadline(DEADLINE.as_secs(), "connecting");
                let failures = failures.into_iter();
                let failures = failures.map(|(node, error)| (node, error.unwrap_or_else(silence)));
                Err(Error::no_node(failures.collect()))
            }
        }
    }

    async fn connect_to(&self, node: Node) -> Result<Answer<Connection>, Error> {
        let mut uri = self.uris[node.index].clone();
        uri.query.connection_timeout.get_or_insert(DEADLINE.as_millis() as u64);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("fetchline-{}@{}", self.role.name(), self.name).into())
            .with_client_property("product".into(), "fetchline".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
            .with_client_property("role".into(), self.role.name().into())
            .with_client_property("pod".into(), self.name.as_str().into());
        let connector = self.connector.clone().to(node.address);
        let expected = match uri.scheme {
            AMQPScheme::AMQP => Protocol::Amqp,
            AMQPScheme::AMQPS => Protocol::Tls,
        };
        let mechanism = uri.query.auth_mechanism.as_ref().map(ToString::to_string);
        let connecting = transport::connect(uri, properties, connector);
        let connected = node.connect_as(expected, connecting, is_answer).await;
        connected.map_err(Error::Protocol)?.map(Answer::Full).map_err(|error| match mechanism {
            // The broker does not say that it knows no such mechanism.
            Some(mechanism) if is_hung_up(&error) => Error::Mechanism(mechanism, error),
            _ => Error::Connect(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_may_be_an_ip_address() {
        let location = |url: &str| {
            let config = BrokerConfig { url: url.into(), ca: None, prefix: "fetchline".into() };
            Broker::new(&config, Role::Consume, "pod-1").unwrap().location()
        };
        assert_eq!(location("amqp://user:hunter2@[fd00::5]:5673/%2f"), "[fd00::5]:5673 /");
        assert_eq!(location("amqps://[::1]/vhost"), "[::1]:5671 vhost");
        assert_eq!(location("amqp://192.0.2.7"), "192.0.2.7:5672 /");
        assert_eq!(
            location("amqp://user:hunter2@r1:5673,r2,[::1]/%2f"),
            "r1:5673,r2:5672,[::1]:5672 /"
        );
    }

    #[test]
    fn neither_errors_nor_logs_repeat_the_password() {
        let config =
            |url: &str| BrokerConfig { url: url.into(), ca: None, prefix: "fetchline".into() };
        let broker =
            Broker::new(&config("amqp://user:hunter2@rabbit:5673/vhost"), Role::Consume, "pod-1")
                .unwrap();
        assert_eq!(broker.location(), "rabbit:5673 vhost");
        for bad in [
            "http://user:hunter2@rabbit/",
            "amqp://user:hunter2@:x/",
            "amqp:user:hunter2@rabbit",
            "user:hunter2@rabbit:5672/vhost",
            "hunter2",
            "amqp://user:hunter2@a:x,b/v",
            "amqp://user:hunter2@a/v,user:hunter2@b/v",
            "amqp://user:hunter2@a/v,amqp://user:hunter2@b/w",
            "amqp://user:hunter2@a/v,b/v",
        ] {
            let error =
                Broker::new(&config(bad), Role::Consume, "pod-1").err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
