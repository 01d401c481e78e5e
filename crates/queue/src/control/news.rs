//! The news of a fleet: what the workers report to the operator, one fact per message.

use lapin::Connection;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::publish::{ConfirmChannel, Draft};
use crate::{Error, Topology};

/// A fact.
#[derive(Clone, Debug, Serialize)]
pub struct News {
    /// What has happened, in a sentence for people.
    pub news: String,
    /// The kind of the fact, such as `refused` or `run_complete`.
    pub kind: &'static str,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The worker that reports it.
    pub reported_by: String,
    /// What a program would look at.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Publishes news, and returns when the broker has confirmed them.
pub async fn publish_news(
    connection: &Connection,
    topology: &Topology,
    news: &News,
) -> Result<(), Error> {
    let channel = ConfirmChannel::open(connection, topology).await?;
    // Indented: people read it in the console.
    let json = serde_json::to_vec_pretty(news).unwrap_or_default();
    channel.publish(Draft::news(json)).await
}
