//! RabbitMQ's management API, used as its console uses it.

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::World;

/// The console, logged in as the user of the world's AMQP URL.
#[derive(Clone)]
pub struct Console {
    api: String,
    broker: reqwest::Url,
}

impl Console {
    /// The console of the world's broker.
    pub fn of(world: &World) -> anyhow::Result<Self> {
        let url = world.management_url.as_ref().context(
            "MANAGEMENT_URL is not set: set it to the URL of the broker's management API",
        )?;
        Ok(Self { api: format!("{url}/api"), broker: world.amqp_url.parse()? })
    }

    /// Calls the API and returns the answer, `null` for an empty one.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = reqwest::Client::new()
            .request(method, format!("{}/{path}", self.api))
            .basic_auth(self.broker.username(), self.broker.password())
            .header("content-type", "application/json");
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// "Publish message" on the page of an exchange, with only a routing key and a payload.
    pub async fn publish(&self, exchange: &str, key: &str, payload: &str) -> anyhow::Result<()> {
        let message = json!({
            "properties": {}, "routing_key": key, "payload": payload, "payload_encoding": "string",
        });
        let path = format!("exchanges/%2f/{exchange}/publish");
        let routed = self.call(Method::POST, &path, Some(message)).await?;
        ensure!(routed["routed"] == true, "the message was not routed: {routed}");
        Ok(())
    }

    /// "Get messages" on the page of a queue, which requeues them.
    pub async fn peek(&self, queue: &str) -> anyhow::Result<Vec<Value>> {
        let request = json!({ "count": 100, "ackmode": "ack_requeue_true", "encoding": "auto" });
        let messages =
            self.call(Method::POST, &format!("queues/%2f/{queue}/get"), Some(request)).await?;
        messages.as_array().cloned().context("the answer is not a list")
    }
}
