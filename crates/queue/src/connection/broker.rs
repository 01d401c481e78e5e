//! Connections to the broker that name themselves, notice a silent peer, and never wait for ever.

use std::path::PathBuf;
use std::str::FromStr;

use lapin::uri::{AMQPAuthority, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use url::{Host, Url};

use super::deadline::{DEADLINE, within};
use super::inspection::Difference;
use super::permissions::MissingPermission;
use super::socket::Connector;
use super::tier::Tier;
use super::topology::Topology;
use super::transport;
use crate::Error;
use crate::error::CONNECTING;

/// Seconds between heartbeats unless the URL sets them. A silent peer is noticed after two of them
/// at the latest.
const HEARTBEAT_S: u16 = 10;

/// Where the broker is, and the fleet's name on it.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`.
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

/// A broker to connect to.
#[derive(Clone)]
pub struct Broker {
    uri: AMQPUri,
    connector: Connector,
    topology: Topology,
    name: String,
    role: Role,
}

impl Broker {
    /// Validates the configuration. `name` is the pod or host that the console shows.
    pub fn new(config: &BrokerConfig, role: Role, name: &str) -> Result<Self, Error> {
        // First: the library repeats a URL that it cannot parse, and with it the password.
        if !["amqp://", "amqps://"].iter().any(|scheme| config.url.starts_with(scheme)) {
            return Err(Error::Url("it does not begin with amqp:// or amqps://".to_owned()));
        }
        let mut uri = AMQPUri::from_str(&config.url)
            .map_err(|error| Error::Url(without_url(error, &config.url)))?;
        // The library parses an IPv6 address as no host, and connects to localhost then.
        if let Ok(Some(Host::Ipv6(address))) = Url::parse(&config.url).as_ref().map(Url::host) {
            uri.authority.host = address.to_string();
        }
        if uri.vhost.is_empty() {
            return Err(Error::Url(
                "it names the virtual host \"\", since nothing follows the last slash. The default \
                 virtual host is /%2f; a URL that ends with the port means it, too"
                    .to_owned(),
            ));
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.connection_timeout.get_or_insert(DEADLINE.as_millis() as u64);
        Ok(Self {
            connector: Connector::new(&uri.scheme, config.ca.as_deref())?,
            uri,
            topology: Topology::new(&config.prefix),
            name: name.to_owned(),
            role,
        })
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
        &self.uri.vhost
    }

    /// User and password: for the broker, never for people.
    pub fn credentials(&self) -> (&str, &str) {
        let user = &self.uri.authority.userinfo;
        (&user.username, &user.password)
    }

    /// Host, port and virtual host, without user and password: for logs.
    pub fn location(&self) -> String {
        let AMQPAuthority { host, port, .. } = &self.uri.authority;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{host}:{port} {}", self.uri.vhost)
    }

    /// What exists and is not as it would be declared.
    pub async fn differences(&self, connection: &Connection) -> Result<Vec<Difference>, Error> {
        self.topology.differences(connection).await
    }

    /// The permissions that the user lacks for what a worker does. Changes nothing.
    pub async fn missing_permissions(
        &self,
        connection: &Connection,
    ) -> Result<Vec<MissingPermission>, Error> {
        self.topology.missing_permissions(connection).await
    }

    /// Connects, and compares what exists with what would be declared. Differences that do no harm
    /// are returned.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] for a difference that multiplies messages or keeps them for ever.
    pub async fn inspect(&self) -> Result<Vec<Difference>, Error> {
        let connection = self.connect().await?;
        let differences = self.topology.differences(&connection).await?;
        match differences.iter().find(|difference| difference.is_fatal) {
            Some(fatal) => Err(Error::Topology(fatal.clone())),
            None => Ok(differences),
        }
    }

    /// Opens a connection. Dropping it closes it.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("fetchline-{}@{}", self.role.name(), self.name).into())
            .with_client_property("product".into(), "fetchline".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
            .with_client_property("role".into(), self.role.name().into())
            .with_client_property("pod".into(), self.name.as_str().into());
        within("connecting", async {
            transport::connect(self.uri.clone(), properties, self.connector.clone())
                .await
                .map_err(Error::amqp(CONNECTING))
        })
        .await
    }
}

fn without_url(error: String, url: &str) -> String {
    if error.contains(url) { "it is not a URL".to_owned() } else { error }
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
        ] {
            let error =
                Broker::new(&config(bad), Role::Consume, "pod-1").err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
