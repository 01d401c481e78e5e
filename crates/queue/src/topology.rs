//! The exchange and the queues: their names, and how they come into being.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};

use crate::Error;
use crate::broker::within;

/// The broker counts a time to live in milliseconds, in 32 bits.
const MAX_TIER_S: u32 = u32::MAX / 1000;

/// How often a message may come back before the broker drops it. Newer brokers default to 20, which would drop a dead
/// letter that was looked at twenty times; a policy can only lower it.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// The names that one fleet uses on the broker.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    tiers: Vec<Tier>,
}

/// A delay that the broker keeps: a queue of its own, since a time to live per message would block behind the queue's
/// head. Whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(u32);

impl Tier {
    /// The tier of a delay; `None` for one that is no number of whole seconds, or is longer than the broker can keep it.
    pub fn of(delay: Duration) -> Option<Self> {
        let seconds = u32::try_from(delay.as_secs()).ok().filter(|seconds| (1..=MAX_TIER_S).contains(seconds))?;
        (delay.subsec_nanos() == 0).then_some(Self(seconds))
    }

    /// The delay.
    pub fn delay(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }

    /// The routing key of its queue.
    pub fn key(self) -> String {
        format!("retry.{}s", self.0)
    }
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
    /// The routing key of what is told of runs. It has a queue of its own, since it must not wait behind the tasks.
    pub const RUNS: &'static str = "runs";
    /// Ends the name of the stream of what operators tell all workers. Nothing is bound to it: it is written to by its name.
    pub const CONTROL: &'static str = "control";
    /// The routing key of what a person has to look at.
    pub const DEAD: &'static str = "dead";

    /// The topology of the fleet that is called `prefix`, without retry queues.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), tiers: Vec::new() }
    }

    /// The same with a retry queue per tier.
    pub fn with_tiers(mut self, mut tiers: Vec<Tier>) -> Self {
        tiers.sort_unstable();
        tiers.dedup();
        self.tiers = tiers;
        self
    }

    /// The routing keys of every queue, in the order in which a message may meet them.
    pub fn keys(&self) -> Vec<String> {
        self.queues().into_iter().map(|(key, _)| key).collect()
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
    fn queues(&self) -> Vec<(String, FieldTable)> {
        let work = |key: &str| (key.to_owned(), limited(self.dead_lettering_to(Self::DEAD)));
        let mut queues = vec![work(Self::RUNS), work(Self::URLS)];
        queues.extend(self.tiers.iter().map(|tier| (tier.key(), self.delaying(*tier))));
        queues.push((Self::DEAD.to_owned(), limited(quorum())));
        queues
    }

    fn delaying(&self, tier: Tier) -> FieldTable {
        // A time to live that came by policy would be missing without the policy, and messages would wait for ever.
        let mut arguments = self.dead_lettering_to(Self::URLS);
        let ttl_ms = i64::from(tier.0) * 1000;
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl_ms));
        arguments
    }

    /// A quorum queue that passes what leaves it on to another one, at least once: the default hop can lose a message.
    /// At least once needs reject-publish, and the key, since the queue's own name would not lead back.
    fn dead_lettering_to(&self, key: &str) -> FieldTable {
        let mut arguments = quorum();
        put(&mut arguments, "x-dead-letter-exchange", self.exchange());
        put(&mut arguments, "x-dead-letter-routing-key", key);
        put(&mut arguments, "x-dead-letter-strategy", "at-least-once");
        put(&mut arguments, "x-overflow", "reject-publish");
        arguments
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
                self.declare_bound(connection, &key, arguments).await?;
            }
            Ok(())
        })
        .await
    }

    /// Makes a delay queue beside those of [`Self::with_tiers`], where it is missing.
    pub async fn declare_delay(&self, connection: &Connection, tier: Tier) -> Result<(), Error> {
        within("declaring a delay queue", self.declare_bound(connection, &tier.key(), self.delaying(tier))).await
    }

    /// The longest delay of [`Self::with_tiers`].
    pub fn longest_tier(&self) -> Option<Tier> {
        self.tiers.last().copied()
    }

    async fn declare_bound(&self, connection: &Connection, key: &str, arguments: FieldTable) -> Result<(), Error> {
        let existing = self.declare_queue(connection, key, None).await;
        if existing.as_ref().is_err_and(Error::is_not_found) {
            self.declare_queue(connection, key, Some(arguments)).await?;
        } else {
            existing?;
        }
        self.bind(connection, key).await
    }

    /// Makes the stream of what operators tell all workers, where it is missing.
    pub(crate) async fn declare_control(&self, connection: &Connection) -> Result<(), Error> {
        within("declaring the control stream", async {
            let existing = self.declare_queue(connection, Self::CONTROL, None).await;
            if existing.as_ref().is_err_and(Error::is_not_found) {
                let mut arguments = FieldTable::default();
                put(&mut arguments, "x-queue-type", "stream");
                self.declare_queue(connection, Self::CONTROL, Some(arguments)).await?;
            } else {
                existing?;
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
    arguments
}

fn limited(mut arguments: FieldTable) -> FieldTable {
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments
}

fn put(arguments: &mut FieldTable, name: &'static str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_whole_seconds() {
        assert_eq!(Tier::of(Duration::from_secs(90)).map(Tier::key).as_deref(), Some("retry.90s"));
        for delay in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(1 << 40)] {
            assert_eq!(Tier::of(delay), None, "{delay:?}");
        }
    }

    #[test]
    fn what_leaves_a_retry_queue_goes_back_to_work_and_what_leaves_work_stays_dead() {
        let tier = |seconds| Tier(seconds);
        let topology = Topology::new("p").with_tiers(vec![tier(60), tier(10), tier(60)]);
        assert_eq!(topology.keys(), ["runs", "urls", "retry.10s", "retry.60s", "dead"]);
        let target = |arguments: &FieldTable| match arguments.inner().get("x-dead-letter-routing-key") {
            Some(AMQPValue::LongString(key)) => Some(key.to_string()),
            _ => None,
        };
        let targets: Vec<_> = topology.queues().iter().map(|(_, arguments)| target(arguments)).collect();
        let expected = [Some("dead"), Some("dead"), Some("urls"), Some("urls"), None];
        assert_eq!(targets, expected.map(|key| key.map(str::to_owned)));
    }
}
