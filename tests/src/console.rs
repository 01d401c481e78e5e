//! RabbitMQ's management API, used as its console uses it.

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::World;

/// The console, logged in as a user: that of the world's AMQP URL, or another one.
#[derive(Clone, Default)]
pub struct Console {
    api: String,
    user: String,
    password: String,
    /// The virtual host, as it stands in a path.
    vhost: String,
}

impl Console {
    /// The console of the world's broker.
    pub fn of(world: &World) -> anyhow::Result<Self> {
        let url = world.management_url.as_ref().context(
            "MANAGEMENT_URL is not set: set it to the URL of the broker's management API",
        )?;
        Self { api: format!("{url}/api"), ..Self::default() }.logged_in(&world.amqp_url)
    }

    /// The same console for the user and the virtual host of another AMQP URL.
    pub fn logged_in(&self, amqp_url: &str) -> anyhow::Result<Self> {
        let url: reqwest::Url = amqp_url.parse()?;
        Ok(Self {
            api: self.api.clone(),
            user: url.username().to_owned(),
            password: url.password().unwrap_or_default().to_owned(),
            vhost: url.path().trim_start_matches('/').to_owned(),
        })
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
            .basic_auth(&self.user, Some(&self.password))
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
        let path = format!("exchanges/{}/{exchange}/publish", self.vhost);
        let routed = self.call(Method::POST, &path, Some(message)).await?;
        ensure!(routed["routed"] == true, "the message was not routed: {routed}");
        Ok(())
    }

    /// Types a directive into the control stream.
    pub async fn direct(&self, prefix: &str, text: &str) -> anyhow::Result<()> {
        self.publish("amq.default", &format!("{prefix}.control"), text).await
    }

    /// The news of a fleet, the oldest first; none while their queue does not exist.
    pub async fn news(&self, prefix: &str) -> anyhow::Result<Vec<Value>> {
        let Ok(messages) = self.peek(&format!("{prefix}.news")).await else {
            return Ok(Vec::new());
        };
        let parse = |message: &Value| {
            let payload = message["payload"].as_str().context("no payload")?;
            let news = serde_json::from_str(payload)?;
            #[cfg(feature = "harness")]
            crate::schemas::validate("news", &news)?;
            Ok(news)
        };
        messages.iter().map(parse).collect()
    }

    /// "Move messages" on the page of a queue, which starts a shovel that ends by itself.
    pub async fn move_messages(&self, queue: &str, to: &str) -> anyhow::Result<()> {
        // As in a URI, where the name of the virtual host `/` is encoded.
        let broker = format!("amqp:///{}", self.vhost);
        let shovel = json!({ "component": "shovel", "vhost": self.vhost, "name": queue, "value": {
            "src-uri": broker, "src-queue": queue, "src-protocol": "amqp091",
            "src-prefetch-count": 1000, "src-delete-after": "queue-length",
            "dest-uri": broker, "dest-queue": to, "dest-protocol": "amqp091",
            "dest-add-forward-headers": false, "ack-mode": "on-confirm",
        } });
        let path = format!("parameters/shovel/{}/{queue}", self.vhost);
        self.call(Method::PUT, &path, Some(shovel)).await.map(drop)
    }

    /// "Get messages" on the page of a queue, which requeues them.
    pub async fn peek(&self, queue: &str) -> anyhow::Result<Vec<Value>> {
        let request = json!({ "count": 100, "ackmode": "ack_requeue_true", "encoding": "auto" });
        let messages = self
            .call(Method::POST, &format!("queues/{}/{queue}/get", self.vhost), Some(request))
            .await?;
        messages.as_array().cloned().context("the answer is not a list")
    }
}
