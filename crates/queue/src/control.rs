//! Directives of operators to all workers, in a stream that each worker reads from its beginning.

use std::fmt;

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use tokio_stream::StreamExt;

use crate::connection::{open_channel, open_confirm_channel, within};
use crate::{Broker, Error, Topology};

/// The prefetch of the stream; the broker does not deliver a stream without one.
const PREFETCH: u16 = 100;
/// The longest message that is parsed, in bytes.
const MAX_DIRECTIVE_BYTES: usize = 100;

/// An instruction to all workers, also to those that start later. The newest of each kind is in
/// force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Take no messages, and requeue what has not begun.
    Pause,
    /// Take messages again.
    Resume,
    /// Fetch this many tasks at once in each worker.
    Concurrency(usize),
}

/// A message that is not a directive. Its text is not repeated: it may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not one of `pause`, `resume` and `concurrency N` (with N from 1 to {max})",
    max = u16::MAX
)]
pub struct NotADirective;

impl Directive {
    /// Parses a message; case and white space do not matter.
    pub fn read(data: &[u8]) -> Result<Self, NotADirective> {
        let text = std::str::from_utf8(data)
            .ok()
            .filter(|text| text.len() <= MAX_DIRECTIVE_BYTES)
            .ok_or(NotADirective)?;
        let text = text.to_ascii_lowercase();
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["pause"] => Ok(Self::Pause),
            ["resume"] => Ok(Self::Resume),
            ["concurrency", number] => {
                let number =
                    number.parse::<u16>().ok().filter(|number| *number > 0).ok_or(NotADirective)?;
                Ok(Self::Concurrency(number.into()))
            }
            _ => Err(NotADirective),
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Concurrency(number) => write!(f, "concurrency {number}"),
        }
    }
}

/// Publishes a directive, and returns when the broker has confirmed it.
pub async fn publish(broker: &Broker, directive: Directive) -> Result<(), Error> {
    let connection = broker.connect().await?;
    broker.topology().declare_control(&connection).await?;
    within("publishing a directive", async {
        let channel = open_confirm_channel(&connection).await?;
        // The default exchange: a user who may only write to the fleet's exchange cannot direct the
        // workers.
        let queue = broker.topology().queue(Topology::CONTROL);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties =
            BasicProperties::default().with_content_type("text/plain".into()).with_delivery_mode(2);
        let body = directive.to_string();
        let failed = Error::amqp("publishing failed");
        let confirm = channel
            .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
            .await
            .map_err(&failed)?;
        match confirm.await.map_err(&failed)? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(Error::Unroutable),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Nacked),
        }
    })
    .await
}

/// The directives in the control stream, beginning with the oldest one.
pub struct ControlStream {
    consumer: Consumer,
    channel: Channel,
    /// The delivery that was returned last and is not acked yet.
    unacked: Option<u64>,
    backlog: u32,
}

impl ControlStream {
    /// Starts to read the stream.
    pub async fn open(
        connection: &Connection,
        topology: &Topology,
        consumer_tag: &str,
    ) -> Result<Self, Error> {
        topology.declare_control(connection).await?;
        let backlog =
            topology.counts(connection, Topology::CONTROL).await?.map_or(0, |counts| counts.ready);
        within("reading the control stream", async {
            let channel = open_channel(connection).await?;
            let failed = Error::amqp("cannot read the control stream");
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(&failed)?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
            let (queue, options) =
                (topology.queue(Topology::CONTROL), BasicConsumeOptions::default());
            let consumer = channel
                .basic_consume(queue.into(), consumer_tag.into(), options, arguments)
                .await
                .map_err(&failed)?;
            Ok(Self { consumer, channel, unacked: None, backlog })
        })
        .await
    }

    /// How many messages the stream held when it was opened.
    pub fn backlog(&self) -> u32 {
        self.backlog
    }

    /// The next message, parsed; `None` if the connection is lost or the stream is deleted. Safe to
    /// cancel.
    pub async fn next(&mut self) -> Option<Result<Directive, NotADirective>> {
        if let Some(tag) = self.unacked.take() {
            self.ack(tag).await.ok()?;
        }
        let Delivery { data, delivery_tag, .. } = self.consumer.next().await?.ok()?;
        self.unacked = Some(delivery_tag);
        Some(Directive::read(&data))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an ack in a stream settles nothing: it only requests more messages"
    )]
    async fn ack(&self, tag: u64) -> Result<(), lapin::Error> {
        self.channel.basic_ack(tag, BasicAckOptions::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_is_parsed_as_an_operator_types_it() {
        for (typed, directive) in [
            ("pause", Directive::Pause),
            (" Resume\n", Directive::Resume),
            ("concurrency 50", Directive::Concurrency(50)),
            ("CONCURRENCY\t7 ", Directive::Concurrency(7)),
        ] {
            assert_eq!(Directive::read(typed.as_bytes()), Ok(directive), "{typed}");
            assert_eq!(Directive::read(directive.to_string().as_bytes()), Ok(directive));
        }
        for wrong in [
            "",
            "stop",
            "concurrency",
            "concurrency 0",
            "concurrency -1",
            "concurrency 70000",
            "pause now",
            "\u{0}",
        ] {
            assert_eq!(Directive::read(wrong.as_bytes()), Err(NotADirective), "{wrong}");
        }
    }
}
