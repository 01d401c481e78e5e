//! The exchange and the queues: their names, and how they are declared.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};

use super::arguments::{limited, news, put, quorum, stream};
use super::channel::open_channel;
use super::counts::QueueCounts;
use super::deadline::within;
use super::tier::Tier;
use crate::Error;

/// The names that one fleet uses on the broker.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    tiers: Vec<Tier>,
}

impl Topology {
    /// The routing key of tasks.
    pub const URLS: &'static str = "urls";
    /// The routing key of lists, with one task per line. They wait in the same queue as tasks.
    pub const LIST: &'static str = "list";
    /// The routing key of part reports. They have a queue of their own, since they must not wait
    /// behind tasks.
    pub const RUNS: &'static str = "runs";
    /// The end of the name of the control stream. Nothing is bound to it: directives are published
    /// to it by its name.
    pub const CONTROL: &'static str = "control";
    /// The routing key of news. Their queue is not part of the flow of tasks.
    pub const NEWS: &'static str = "news";
    /// The routing key of dead letters.
    pub const DEAD: &'static str = "dead";

    /// The topology of the fleet `prefix`, without retry queues.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), tiers: Vec::new() }
    }

    /// The same topology with a retry queue per tier.
    pub fn with_tiers(mut self, mut tiers: Vec<Tier>) -> Self {
        tiers.sort_unstable();
        tiers.dedup();
        self.tiers = tiers;
        self
    }

    /// The routing keys of all queues, in the order in which a message may pass them.
    pub fn keys(&self) -> Vec<String> {
        self.queues().into_iter().map(|(key, _)| key).collect()
    }

    /// The name of the exchange.
    pub fn exchange(&self) -> &str {
        &self.prefix
    }

    /// The name of the queue that is bound to a routing key.
    pub fn queue(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    /// The longest delay of [`Self::with_tiers`].
    pub fn longest_tier(&self) -> Option<Tier> {
        self.tiers.last().copied()
    }

    /// Declares what is missing, and returns its names. What exists stays as it is, whatever its
    /// arguments: an operator may have declared it. It binds only what it has declared: a binding
    /// is a transaction of the whole cluster, which a single frozen node holds up. See
    /// [`Self::restore_bindings`].
    pub async fn declare(&self, connection: &Connection) -> Result<Vec<String>, Error> {
        let mut created = Vec::new();
        let declaring = self.declare_missing_exchange(connection);
        let is_new_exchange = within("declaring the exchange", declaring).await?;
        if is_new_exchange {
            created.push(format!("the exchange {}", self.exchange()));
        }
        for (key, arguments) in self.queues() {
            let declaring = async {
                let is_new = self.declare_missing(connection, &key, arguments).await?;
                if is_new || is_new_exchange {
                    self.bind_all(connection, &key).await?;
                }
                Ok(is_new)
            };
            if within("declaring a queue", declaring).await? {
                created.push(format!("the queue {}", self.queue(&key)));
            }
        }
        Ok(created)
    }

    /// Binds every queue again. This repairs what an operator, or a crash between a declaration and
    /// its binding, left behind.
    /// A queue that is missing does not keep the others from being bound.
    pub async fn restore_bindings(
        &self,
        connection: &Connection,
        longer: &[Tier],
    ) -> Result<(), Error> {
        let news = [Self::NEWS.to_owned()];
        let longer = longer.iter().map(|tier| tier.key());
        for key in self.keys().into_iter().chain(news).chain(longer) {
            match within("binding a queue", self.bind_all(connection, &key)).await {
                Err(error) if !error.is_answer() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Declares the queue of news if it is missing, and returns whether it was.
    pub async fn declare_news(&self, connection: &Connection) -> Result<bool, Error> {
        let declaring = self.declare_bound(connection, Self::NEWS, news());
        within("declaring the queue of news", declaring).await
    }

    /// Declares the queue of news and the control stream if they are missing, and returns the names
    /// of those that were. They are not part of the flow of tasks.
    pub async fn declare_sides(&self, connection: &Connection) -> Result<Vec<String>, Error> {
        let mut created = Vec::new();
        if self.declare_news(connection).await? {
            created.push(format!("the queue {}", self.queue(Self::NEWS)));
        }
        if self.declare_control(connection).await? {
            created.push(format!("the queue {}", self.queue(Self::CONTROL)));
        }
        Ok(created)
    }

    /// Declares a delay queue in addition to those of [`Self::with_tiers`], if it is missing.
    pub async fn declare_delay(&self, connection: &Connection, tier: Tier) -> Result<(), Error> {
        within(
            "declaring a delay queue",
            self.declare_bound(connection, &tier.key(), self.delaying(tier)),
        )
        .await
        .map(drop)
    }

    /// Declares the control stream if it is missing, and returns whether it was.
    pub(crate) async fn declare_control(&self, connection: &Connection) -> Result<bool, Error> {
        within(
            "declaring the control stream",
            self.declare_missing(connection, Self::CONTROL, stream()),
        )
        .await
    }

    /// The ready messages and consumers of a queue; `None` if it does not exist. A node that does
    /// not reach the leader of the queue within a quarter of a second reports zeros.
    pub async fn counts(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<QueueCounts>, Error> {
        within("reading the counts of a queue", async {
            match self.declare_queue(connection, key, None).await {
                Ok(counts) => Ok(Some(counts)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Every queue of the flow as routing key and arguments. Arguments hold the structure;
    /// operators tune the rest by policies.
    pub(crate) fn queues(&self) -> Vec<(String, FieldTable)> {
        let work = |key: &str| (key.to_owned(), limited(self.dead_lettering_to(Self::DEAD)));
        let mut queues = vec![work(Self::RUNS), work(Self::URLS)];
        queues.extend(self.tiers.iter().map(|tier| (tier.key(), self.delaying(*tier))));
        let mut dead = limited(quorum());
        // A policy with a maximum length would drop dead letters without it.
        put(&mut dead, "x-overflow", "reject-publish");
        queues.push((Self::DEAD.to_owned(), dead));
        queues
    }

    /// Every queue that is compared with what a worker declares: those of the flow, the news, and
    /// the control stream.
    pub(super) fn compared(&self) -> Vec<(String, FieldTable)> {
        let mut queues = self.queues();
        queues.push((Self::NEWS.to_owned(), news()));
        queues.push((Self::CONTROL.to_owned(), stream()));
        queues
    }

    /// Whether the key is that of a delay queue.
    pub(super) fn is_delay(&self, key: &str) -> bool {
        self.tiers.iter().any(|tier| tier.key() == key)
    }

    fn delaying(&self, tier: Tier) -> FieldTable {
        // A time to live from a policy would be missing without the policy, and messages would wait
        // for ever.
        let mut arguments = self.dead_lettering_to(Self::URLS);
        let ttl_ms = i64::try_from(tier.delay().as_millis()).unwrap_or(i64::MAX);
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl_ms));
        arguments
    }

    /// A quorum queue that dead-letters to another queue at least once: the default strategy can
    /// lose a message. At-least-once needs reject-publish, and the routing key, since the queue's
    /// own name would not lead back.
    fn dead_lettering_to(&self, key: &str) -> FieldTable {
        let mut arguments = quorum();
        put(&mut arguments, "x-dead-letter-exchange", self.exchange());
        put(&mut arguments, "x-dead-letter-routing-key", key);
        put(&mut arguments, "x-dead-letter-strategy", "at-least-once");
        put(&mut arguments, "x-overflow", "reject-publish");
        arguments
    }

    async fn declare_bound(
        &self,
        connection: &Connection,
        key: &str,
        arguments: FieldTable,
    ) -> Result<bool, Error> {
        let is_new = self.declare_missing(connection, key, arguments).await?;
        if is_new {
            self.bind_all(connection, key).await?;
        }
        Ok(is_new)
    }

    async fn declare_missing_exchange(&self, connection: &Connection) -> Result<bool, Error> {
        let existing = self.declare_exchange(connection, true).await;
        if !existing.as_ref().is_err_and(Error::is_not_found) {
            return existing.map(|()| false);
        }
        let declared = self.declare_exchange(connection, false).await;
        declared.map_err(missing(format!("the exchange {}", self.exchange())))?;
        Ok(true)
    }

    /// The routing keys that a queue is bound by.
    pub fn routing_keys(&self, key: &str) -> Vec<String> {
        // A person at the console may take the name of the queue for its key.
        let mut keys = vec![key.to_owned(), self.queue(key)];
        keys.extend((key == Self::URLS).then(|| Self::LIST.to_owned()));
        keys
    }

    /// Binds a queue by each of its routing keys.
    pub(super) async fn bind_all(&self, connection: &Connection, key: &str) -> Result<(), Error> {
        for routing_key in self.routing_keys(key) {
            self.bind(connection, key, &routing_key).await?;
        }
        Ok(())
    }

    async fn declare_missing(
        &self,
        connection: &Connection,
        key: &str,
        arguments: FieldTable,
    ) -> Result<bool, Error> {
        let existing = self.declare_queue(connection, key, None).await;
        let is_missing = existing.as_ref().is_err_and(Error::is_not_found);
        if is_missing {
            let declared = self.declare_queue(connection, key, Some(arguments)).await;
            declared.map_err(missing(format!("the queue {}", self.queue(key))))?;
        } else {
            existing?;
        }
        Ok(is_missing)
    }

    /// Each declaration has a channel of its own, since a refused one closes its channel.
    pub(super) async fn declare_exchange(
        &self,
        connection: &Connection,
        passive: bool,
    ) -> Result<(), Error> {
        let channel = open_channel(connection).await?;
        let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
        channel
            .exchange_declare(
                self.exchange().into(),
                ExchangeKind::Direct,
                options,
                FieldTable::default(),
            )
            .await
            .map_err(Error::amqp("cannot declare the exchange"))
    }

    /// The declaration is passive without arguments.
    pub(super) async fn declare_queue(
        &self,
        connection: &Connection,
        key: &str,
        arguments: Option<FieldTable>,
    ) -> Result<QueueCounts, Error> {
        let channel = open_channel(connection).await?;
        let options = QueueDeclareOptions {
            passive: arguments.is_none(),
            durable: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare(self.queue(key).into(), options, arguments.unwrap_or_default())
            .await
            .map_err(Error::amqp("cannot declare a queue"))?;
        Ok(QueueCounts { ready: queue.message_count(), consumers: queue.consumer_count() })
    }

    /// Binding is idempotent, and repairs what a crash between declaring and binding left behind.
    async fn bind(
        &self,
        connection: &Connection,
        key: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        let channel = open_channel(connection).await?;
        let (queue, exchange) = (self.queue(key), self.exchange());
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                routing_key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(Error::amqp("cannot bind a queue"))
    }
}

/// The error of a declaration that the user may not make.
fn missing(what: String) -> impl FnOnce(Error) -> Error {
    move |error| match error.is_access_refused() {
        true => Error::Missing(what),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_queues_lead_back_to_work_and_work_queues_lead_to_dead_letters() {
        let tier = |seconds| Tier::of(Duration::from_secs(seconds)).unwrap();
        let topology = Topology::new("p").with_tiers(vec![tier(60), tier(10), tier(60)]);
        assert_eq!(topology.keys(), ["runs", "urls", "retry.10s", "retry.60s", "dead"]);
        let target =
            |arguments: &FieldTable| match arguments.inner().get("x-dead-letter-routing-key") {
                Some(AMQPValue::LongString(key)) => Some(key.to_string()),
                _ => None,
            };
        let targets: Vec<_> =
            topology.queues().iter().map(|(_, arguments)| target(arguments)).collect();
        let expected = [Some("dead"), Some("dead"), Some("urls"), Some("urls"), None];
        assert_eq!(targets, expected.map(|key| key.map(str::to_owned)));
    }
}
