//! Which permissions of a worker a user lacks, without changing anything on the broker.
//!
//! A permission is tried by a request that the broker cannot carry out: it checks the permission
//! first (403), and only then the rest. A channel that was refused is closed, so each trial has a
//! channel of its own.

use std::fmt;

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ErrorKind, ExchangeKind};

use super::channel::open_channel;
use super::deadline::within;
use super::topology::Topology;
use crate::Error;

/// A routing key that nothing is bound to.
const UNBOUND: &str = "fetchline.check";
/// The context of errors of a trial.
const TRIAL: &str = "cannot try a permission";
/// The purposes of permissions without which a worker does nothing.
const CONSUMING: &str = "consuming";
const PUBLISHING: &str = "publishing retries and dead letters";

/// A permission that a worker needs and the user lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPermission {
    /// `configure`, `write` or `read`.
    pub kind: &'static str,
    /// The exchange or the queue.
    pub name: String,
    /// What it is for.
    pub purpose: &'static str,
}

impl fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({})", self.kind, self.name, self.purpose)
    }
}

impl Topology {
    /// Checks that what a producer publishes gets to where it belongs, and that it may publish.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] and [`Error::MayNotPublish`].
    pub async fn check_publishing(&self, connection: &Connection) -> Result<(), Error> {
        self.inspect(connection).await?.without_harm()?;
        let trial = Trial { topology: self, connection };
        match within("trying to publish", trial.publish()).await? {
            true => Ok(()),
            false => Err(Error::MayNotPublish(self.exchange().to_owned())),
        }
    }

    /// Fails with [`Error::MayNotWork`] if the user may not consume, or not publish.
    pub(super) async fn check_working(&self, connection: &Connection) -> Result<(), Error> {
        let missing = self.missing_permissions(connection).await?;
        let needed = missing.iter().filter(|it| [CONSUMING, PUBLISHING].contains(&it.purpose));
        let needed: Vec<String> = needed.map(ToString::to_string).collect();
        if needed.is_empty() { Ok(()) } else { Err(Error::MayNotWork(needed.join("; "))) }
    }

    /// The permissions that the user lacks for what a worker does with these names.
    pub(crate) async fn missing_permissions(
        &self,
        connection: &Connection,
    ) -> Result<Vec<MissingPermission>, Error> {
        within("trying the permissions", async {
            let trial = Trial { topology: self, connection };
            let mut missing = trial.exchange().await?;
            for key in self.keys() {
                missing.extend(trial.queue(&key).await?);
            }
            if self.counts(connection, Self::CONTROL).await.is_ok_and(|counts| counts.is_some()) {
                let name = self.queue(Self::CONTROL);
                let may_read = trial.consume(&name).await?;
                missing.extend(lacks(may_read, "read", &name, "reading directives"));
            }
            let mut seen = Vec::new();
            missing.retain(|lacking: &MissingPermission| {
                let is_new = !seen.contains(lacking);
                seen.extend(is_new.then(|| lacking.clone()));
                is_new
            });
            Ok(missing)
        })
        .await
    }
}

fn lacks(
    has: bool,
    kind: &'static str,
    name: &str,
    purpose: &'static str,
) -> Option<MissingPermission> {
    (!has).then(|| MissingPermission { kind, name: name.to_owned(), purpose })
}

pub(super) struct Trial<'a> {
    pub(super) topology: &'a Topology,
    pub(super) connection: &'a Connection,
}

impl Trial<'_> {
    async fn exchange(&self) -> Result<Vec<MissingPermission>, Error> {
        let name = self.topology.exchange();
        let exists = self.topology.declare_exchange(self.connection, true).await;
        let missing = if may_exist(exists)? {
            lacks(self.publish().await?, "write", name, PUBLISHING)
        } else {
            lacks(self.declare_exchange().await?, "configure", name, "declaring the exchange")
        };
        Ok(missing.into_iter().collect())
    }

    async fn queue(&self, key: &str) -> Result<Vec<MissingPermission>, Error> {
        let name = self.topology.queue(key);
        let exists = self.topology.declare_queue(self.connection, key, None).await;
        let mut missing = Vec::new();
        if may_exist(exists)? {
            missing.extend(self.bind(&name).await?);
            if key == Topology::URLS || key == Topology::RUNS {
                missing.extend(lacks(self.consume(&name).await?, "read", &name, CONSUMING));
            }
        } else {
            missing.extend(self.declaration(key).await?);
        }
        Ok(missing)
    }

    /// Publishes within a transaction that is rolled back.
    async fn publish(&self) -> Result<bool, Error> {
        let channel = self.channel().await?;
        let published = async {
            channel.tx_select().await?;
            let (exchange, options) = (self.topology.exchange(), BasicPublishOptions::default());
            let properties = BasicProperties::default();
            channel
                .basic_publish(exchange.into(), UNBOUND.into(), options, b"", properties)
                .await?;
            channel.tx_rollback().await
        };
        let published = published.await;
        // The broker refuses the message by closing the channel, maybe before the rollback is sent.
        if published.as_ref().is_err_and(was_not_sent) && self.connection.status().connected() {
            return Ok(false);
        }
        permitted(published)
    }

    /// Consumes with a priority that is no number.
    async fn consume(&self, queue: &str) -> Result<bool, Error> {
        let channel = self.channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongString("none".into()));
        let options = BasicConsumeOptions::default();
        permitted(channel.basic_consume(queue.into(), "".into(), options, arguments).await)
    }

    /// Removes a binding that does not exist, for which the same permissions are needed as for
    /// adding one.
    async fn bind(&self, queue: &str) -> Result<Option<MissingPermission>, Error> {
        let channel = self.channel().await?;
        let exchange = self.topology.exchange();
        let unbound = channel
            .queue_unbind(queue.into(), exchange.into(), UNBOUND.into(), FieldTable::default())
            .await
            .map_err(Error::amqp(TRIAL));
        match unbound {
            Err(error) if error.is_access_refused() => {
                let purpose = "binding the queues";
                Ok(match error.is_about_exchange() {
                    true => lacks(false, "read", exchange, purpose),
                    false => lacks(false, "write", queue, purpose),
                })
            }
            Err(error) if !error.is_answer() => Err(error),
            _ => Ok(None),
        }
    }

    /// The permission that is lacking to declare a missing queue. Its dead-letter exchange needs to
    /// read the queue and to write to the exchange, and the broker does not name the kind.
    pub(super) async fn declaration(&self, key: &str) -> Result<Option<MissingPermission>, Error> {
        let (name, purpose) = (self.topology.queue(key), "declaring the queue");
        if key != Topology::DEAD {
            let refusal = match self.declare_queue(&name, true).await {
                Err(error) if error.is_access_refused() => error,
                declared => return declared.map(|()| None),
            };
            if refusal.is_about_exchange() {
                return Ok(lacks(false, "write", self.topology.exchange(), purpose));
            }
        }
        match self.declare_queue(&name, false).await {
            Err(error) if error.is_access_refused() => {
                Ok(lacks(false, "configure", &name, purpose))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(lacks(key == Topology::DEAD, "read", &name, purpose)),
        }
    }

    /// Declares a missing queue with a negative time to live, and maybe with a dead-letter
    /// exchange. Fails if it is refused or not answered.
    async fn declare_queue(&self, name: &str, has_dead_letters: bool) -> Result<(), Error> {
        let channel = self.channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(-1));
        if has_dead_letters {
            let exchange = AMQPValue::LongString(self.topology.exchange().into());
            arguments.insert("x-dead-letter-exchange".into(), exchange);
        }
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared = channel.queue_declare(name.into(), options, arguments).await;
        if declared.is_ok() {
            // Not the RabbitMQ that we know: leave nothing behind.
            let options = QueueDeleteOptions { if_empty: true, if_unused: true, nowait: false };
            return channel
                .queue_delete(name.into(), options)
                .await
                .map(drop)
                .map_err(Error::amqp(TRIAL));
        }
        match declared.map_err(Error::amqp(TRIAL)) {
            Err(error) if error.is_access_refused() || !error.is_answer() => Err(error),
            _ => Ok(()),
        }
    }

    /// Declares a missing exchange with an alternate exchange whose name is a number.
    async fn declare_exchange(&self) -> Result<bool, Error> {
        let channel = self.channel().await?;
        let name = self.topology.exchange();
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), AMQPValue::LongLongInt(1));
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared =
            channel.exchange_declare(name.into(), ExchangeKind::Direct, options, arguments).await;
        if declared.is_ok() {
            let options = ExchangeDeleteOptions { if_unused: true, nowait: false };
            return permitted(channel.exchange_delete(name.into(), options).await);
        }
        permitted(declared)
    }

    async fn channel(&self) -> Result<Channel, Error> {
        open_channel(self.connection).await
    }
}

/// Whether a passive declaration found something, or was refused: newer brokers do not show users
/// whether something exists that they may not use.
pub(super) fn may_exist<T>(declared: Result<T, Error>) -> Result<bool, Error> {
    match declared {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) if error.is_access_refused() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether a request was not sent because its channel is closed, or is being closed.
fn was_not_sent(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidChannelState(..))
}

/// Whether the broker did not refuse a request for lack of a permission, whatever else it said.
fn permitted<T>(result: lapin::Result<T>) -> Result<bool, Error> {
    match result.map_err(Error::amqp(TRIAL)) {
        Err(error) if error.is_access_refused() => Ok(false),
        Err(error) if !error.is_answer() => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    #[test]
    fn what_the_broker_hides_from_a_user_may_exist() {
        let refused = |code, text: &str| {
            let error = AMQPError::from_id(code, text.into()).unwrap();
            Err::<(), _>(Error::amqp(TRIAL)(ErrorKind::ProtocolError(error).into()))
        };
        assert!(may_exist(Ok(())).unwrap());
        assert!(may_exist(refused(403, "ACCESS_REFUSED - access to queue 'q'")).unwrap());
        assert!(!may_exist(refused(404, "NOT_FOUND - no queue 'q' in vhost '/'")).unwrap());
        assert!(may_exist(refused(404, "NOT_FOUND - queue 'q' is down")).is_err());
    }
}
