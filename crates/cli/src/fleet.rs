//! The queues of a fleet, as the broker tells of them.

use std::time::Duration;

use anyhow::{Context, anyhow};
use fetchline_queue::{Broker, Topology};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::table::{or_dash, table};

/// How long the management API may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// A queue.
#[derive(Serialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    /// Messages that wait; `null` where the queue does not exist.
    ready: Option<u32>,
    /// Messages that consumers hold; only the management API tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    unacked: Option<u64>,
    consumers: Option<u32>,
}

impl Queue {
    /// Whether messages are ready.
    pub(crate) fn holds_any(&self) -> bool {
        self.ready.is_some_and(|ready| ready > 0)
    }
}

/// Every queue, in the order in which a message may meet them.
pub(crate) async fn queues(broker: &Broker, management: Option<&Management>) -> anyhow::Result<Vec<Queue>> {
    let connection = broker.connect().await?;
    let mut queues = Vec::new();
    for key in broker.topology().keys() {
        let depth = broker.topology().depth(&connection, &key).await?;
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
        });
    }
    Ok(queues)
}

/// Whether something that was told of runs waits for a worker.
pub(crate) async fn is_told_of_runs(broker: &Broker) -> anyhow::Result<bool> {
    let connection = broker.connect().await?;
    let depth = broker.topology().depth(&connection, Topology::RUNS).await?;
    Ok(depth.is_some_and(|depth| depth.ready > 0))
}

/// For people.
pub(crate) fn text(queues: &[Queue]) -> String {
    if queues.iter().any(|queue| queue.unacked.is_some()) {
        let rows = queues
            .iter()
            .map(|queue| [queue.name.clone(), or_dash(queue.ready), or_dash(queue.unacked), or_dash(queue.consumers)]);
        return table(["queue", "ready", "unacked", "consumers"], rows.collect());
    }
    let rows = queues.iter().map(|queue| [queue.name.clone(), or_dash(queue.ready), or_dash(queue.consumers)]);
    table(["queue", "ready", "consumers"], rows.collect())
}

/// RabbitMQ's management API. What it tells is up to five seconds old.
pub(crate) struct Management {
    client: reqwest::Client,
    url: Url,
}

/// What is read of its answer.
#[derive(Deserialize)]
struct Told {
    messages_unacknowledged: Option<u64>,
}

impl Management {
    /// User and password are those of the URL, else the broker's.
    pub(crate) fn new(url: &str, broker: &Broker) -> anyhow::Result<Self> {
        let mut url: Url = url.parse().context("--management-url is no URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(anyhow!("--management-url does not begin with http:// or https://"));
        }
        if url.username().is_empty() {
            let (user, password) = broker.credentials();
            // These fail only for URLs without a host.
            _ = url.set_username(user);
            _ = url.set_password(Some(password));
        }
        // It is the broker's, which no proxy stands before either.
        Ok(Self { client: reqwest::Client::builder().no_proxy().timeout(DEADLINE).build()?, url })
    }

    async fn unacked(&self, broker: &Broker, queue: &str) -> anyhow::Result<u64> {
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| anyhow!("--management-url names no host"))?.pop_if_empty().extend([
            "api",
            "queues",
            broker.virtual_host(),
            queue,
        ]);
        let answer = self.client.get(url).send().await.map_err(reqwest::Error::without_url);
        let answer = answer.context("--management-url does not answer")?;
        if !answer.status().is_success() {
            return Err(anyhow!("--management-url answers {} when it is asked for {queue}", answer.status()));
        }
        let body = answer.bytes().await.map_err(reqwest::Error::without_url)?;
        let told: Told =
            serde_json::from_slice(&body).context("--management-url is not that of RabbitMQ's management")?;
        Ok(told.messages_unacknowledged.unwrap_or(0))
    }
}
