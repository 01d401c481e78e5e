//! The queues of a fleet, as the broker sees them.

use std::time::Duration;

use anyhow::{Context, anyhow};
use fetchline_queue::{Broker, Error, Topology};
use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::{Wrong, chain};
use crate::schema::shape::{count, field, nullable, object, optional, text};
use crate::table::{or_dash, table};

/// The time for one request to the management API.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What is wrong with a URL behind which another protocol is spoken.
const NO_HTTP: &str = "what answers at --management-url does not speak HTTP: its usual port is \
                       15672";

/// A queue and its messages.
#[derive(Serialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    /// Messages that wait; `null` if the queue does not exist, or if that is not known.
    ready: Option<u32>,
    /// Messages that consumers hold. Only the management API knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    unacked: Option<u64>,
    consumers: Option<u32>,
    /// Why nobody knows what the queue holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
}

impl Queue {
    /// Whether messages wait in the queue.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready.is_some_and(|ready| ready > 0)
    }

    /// Why nobody knows what the queue holds; `None` if it is known.
    pub(crate) fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// A number of the table: `?` if nobody knows it.
    fn cell(&self, number: Option<impl ToString>) -> String {
        match self.unknown {
            Some(_) => "?".to_owned(),
            None => or_dash(number),
        }
    }
}

/// Every queue, in the order in which a message may pass them. A queue whose leader does not answer
/// is listed without numbers.
pub(crate) async fn queues(
    broker: &Broker,
    management: Option<&Management>,
) -> anyhow::Result<Vec<Queue>> {
    let connection = broker.connect().await?;
    let mut queues = Vec::new();
    for key in broker.topology().keys() {
        let (depth, unknown) = match broker.known_counts(&connection, &key).await {
            Err(error @ Error::NoLeader(_)) => (None, Some(error.to_string())),
            depth => (depth?, None),
        };
        let name = broker.topology().queue(&key);
        let unacked = match management {
            Some(management) if depth.is_some() => Some(management.unacked(broker, &name).await?),
            _ => None,
        };
        queues.push(Queue {
            name,
            ready: depth.map(|depth| depth.ready),
            unacked,
            consumers: depth.map(|depth| depth.consumers),
            unknown,
        });
    }
    Ok(queues)
}

/// The shape of a queue.
pub(crate) fn schema() -> serde_json::Value {
    object([
        field("name", text("The name of the queue.")),
        field("ready", nullable(count("Messages that wait; `null` without the queue."))),
        optional("unacked", count("Messages that workers hold.")),
        field("consumers", nullable(count("Its consumers; `null` without the queue."))),
        optional("unknown", text("Why nobody knows what the queue holds.")),
    ])
}

/// Whether part reports wait for a worker.
pub(crate) async fn has_part_reports(broker: &Broker) -> anyhow::Result<bool> {
    let connection = broker.connect().await?;
    let depth = broker.known_counts(&connection, Topology::RUNS).await?;
    Ok(depth.is_some_and(|depth| depth.ready > 0))
}

/// Formats the queues as a table.
pub(crate) fn format_queues(queues: &[Queue]) -> String {
    if queues.iter().any(|queue| queue.unacked.is_some()) {
        let rows = queues.iter().map(|queue| {
            [
                queue.name.clone(),
                queue.cell(queue.ready),
                queue.cell(queue.unacked),
                queue.cell(queue.consumers),
            ]
        });
        return table(["queue", "ready", "unacked", "consumers"], rows.collect());
    }
    let rows = queues
        .iter()
        .map(|queue| [queue.name.clone(), queue.cell(queue.ready), queue.cell(queue.consumers)]);
    table(["queue", "ready", "consumers"], rows.collect())
}

/// The management API of RabbitMQ. Its numbers are up to five seconds old.
pub(crate) struct Management {
    client: reqwest::Client,
    url: Url,
    /// Whose user and password are used.
    credentials: &'static str,
}

/// Whether an error leaves open that the other side speaks HTTP.
fn speaks_http(error: &reqwest::Error) -> bool {
    let text = chain(error);
    !["invalid HTTP", "HTTP/0.9", "InvalidContentType"].iter().any(|sign| text.contains(sign))
}

/// The part of an answer that we read.
#[derive(Deserialize)]
struct QueueStatus {
    messages_unacknowledged: Option<u64>,
}

/// A binding of an exchange.
#[derive(Deserialize)]
pub(crate) struct Binding {
    /// The name of the queue.
    pub(crate) destination: String,
    pub(crate) routing_key: String,
}

impl Management {
    /// Without a user in the URL, the user and password of the broker are used.
    pub(crate) fn new(url: &str, broker: &Broker) -> anyhow::Result<Self> {
        let mut url: Url = url.parse().context("--management-url is not a URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(anyhow!("--management-url must begin with http:// or https://"));
        }
        let has_user = !url.username().is_empty();
        let credentials = if has_user { "--management-url" } else { "--amqp-url" };
        if !has_user {
            let (user, password) = broker.credentials();
            // These fail only for a URL without a host.
            _ = url.set_username(user);
            _ = url.set_password(Some(password));
        }
        // The broker itself is not reached through a proxy either.
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { client, url, credentials })
    }

    async fn unacked(&self, broker: &Broker, queue: &str) -> anyhow::Result<u64> {
        let path = ["api", "queues", broker.virtual_host(), queue];
        let status: QueueStatus = self.get(&path).await?;
        Ok(status.messages_unacknowledged.unwrap_or(0))
    }

    /// The bindings of the fleet's exchange.
    pub(crate) async fn bindings(&self, broker: &Broker) -> anyhow::Result<Vec<Binding>> {
        let exchange = broker.topology().exchange();
        let of = ["api", "exchanges", broker.virtual_host(), exchange, "bindings", "source"];
        self.get(&of).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow!("--management-url names no host"))?
            .pop_if_empty()
            .extend(path);
        let answer = self.client.get(url).send().await.map_err(reqwest::Error::without_url);
        let answer = answer.map_err(|error| match speaks_http(&error) {
            true => anyhow::Error::new(error).context("--management-url does not answer"),
            false => Wrong(NO_HTTP.to_owned()).into(),
        })?;
        let status = answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let text = format!(
                "--management-url answered {status}: correct user and password of {}, or give the \
                 user the tag `management`",
                self.credentials
            );
            return Err(Wrong(text).into());
        }
        if !status.is_success() {
            let path = path.join("/");
            return Err(anyhow!("--management-url answered {status} for {path}"));
        }
        let body = answer.bytes().await.map_err(reqwest::Error::without_url)?;
        serde_json::from_slice(&body)
            .context("--management-url is not the management API of RabbitMQ")
    }
}
