//! The exchange and the queues: their names, and how they come into being.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};

use crate::Error;
use crate::broker::within;

/// How often a message may come back before the broker drops it. Newer brokers default to 20, which would drop a dead
/// letter that was looked at twenty times; a policy can only lower it.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// The names that one fleet uses on the broker.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
}

/// What a passive declare tells of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait; those held unacked by a consumer are not among them.
    pub ready: u32,
    /// Consumers of the queue.
    pub consumers: u32,
}

impl Topology {
    /// The routing key of work.
    pub const URLS: &'static str = "urls";
    /// The routing key of what a person has to look at.
    pub const DEAD: &'static str = "dead";

    /// The topology of the fleet that is called `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The one exchange.
    pub fn exchange(&self) -> &str {
        &self.prefix
    }

    /// The queue that is bound to a routing key.
    pub fn queue(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    /// Every queue as routing key and arguments. Structure stands in arguments; what an operator tunes comes by policy.
    fn queues(&self) -> [(&'static str, FieldTable); 2] {
        let mut urls = quorum();
        // At least once: the default hop from queue to dead-letter exchange can lose a message. It needs reject-publish.
        put(&mut urls, "x-dead-letter-exchange", self.exchange());
        put(&mut urls, "x-dead-letter-routing-key", Self::DEAD);
        put(&mut urls, "x-dead-letter-strategy", "at-least-once");
        put(&mut urls, "x-overflow", "reject-publish");
        [(Self::URLS, urls), (Self::DEAD, quorum())]
    }

    /// Makes what is missing. What exists is left as it is, whatever its arguments: an operator may have made it.
    pub async fn declare(&self, connection: &Connection) -> Result<(), Error> {
        within("declaring the topology", async {
            let existing = self.declare_exchange(connection, true).await;
            if existing.as_ref().is_err_and(Error::is_not_found) {
                self.declare_exchange(connection, false).await?;
            } else {
                existing?;
            }
            for (key, arguments) in self.queues() {
                let existing = self.declare_queue(connection, key, None).await;
                if existing.as_ref().is_err_and(Error::is_not_found) {
                    self.declare_queue(connection, key, Some(arguments)).await?;
                } else {
                    existing?;
                }
                self.bind(connection, key).await?;
            }
            Ok(())
        })
        .await
    }

    /// Ready messages and consumers of a queue; `None` where it does not exist.
    pub async fn depth(&self, connection: &Connection, key: &str) -> Result<Option<Depth>, Error> {
        within("asking for a queue's depth", async {
            match self.declare_queue(connection, key, None).await {
                Ok(depth) => Ok(Some(depth)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Each declaration has a channel of its own, since a refused one closes it.
    async fn declare_exchange(&self, connection: &Connection, passive: bool) -> Result<(), Error> {
        let channel = connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))?;
        let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
        channel
            .exchange_declare(self.exchange().into(), ExchangeKind::Direct, options, FieldTable::default())
            .await
            .map_err(Error::amqp("cannot declare the exchange"))
    }

    /// Passive without arguments.
    async fn declare_queue(
        &self,
        connection: &Connection,
        key: &str,
        arguments: Option<FieldTable>,
    ) -> Result<Depth, Error> {
        let channel = connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))?;
        let options = QueueDeclareOptions { passive: arguments.is_none(), durable: true, ..Default::default() };
        let queue = channel
            .queue_declare(self.queue(key).into(), options, arguments.unwrap_or_default())
            .await
            .map_err(Error::amqp("cannot declare a queue"))?;
        Ok(Depth { ready: queue.message_count(), consumers: queue.consumer_count() })
    }

    /// Binding again changes nothing, and mends what a crash between declaring and binding left.
    async fn bind(&self, connection: &Connection, key: &str) -> Result<(), Error> {
        let channel = connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))?;
        let (queue, exchange) = (self.queue(key), self.exchange());
        channel
            .queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default())
            .await
            .map_err(Error::amqp("cannot bind a queue"))
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    put(&mut arguments, "x-queue-type", "quorum");
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments
}

fn put(arguments: &mut FieldTable, name: &'static str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}
