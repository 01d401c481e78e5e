//! The control stream: how directives are read from it.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use time::OffsetDateTime;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::directive::Directive;
use super::refusal::Refusal;
use crate::connection::{open_channel, within};
use crate::message::header;
use crate::{Error, RawMessage, Topology};

/// The prefetch of the stream; the broker does not deliver a stream without one.
const PREFETCH: u16 = 100;
/// How long the next message may take that the broker has counted.
const COUNTED: Duration = Duration::from_secs(5);
/// How long a message may take that the broker has not counted yet: it counts those of a stream up
/// to some seconds late.
const UNCOUNTED: Duration = Duration::from_millis(300);

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest message.
    First,
    /// With the first message that the broker received at this time or later, by its clock. A few
    /// older ones may come first.
    At(OffsetDateTime),
}

/// A message of the control stream.
#[derive(Clone, Debug)]
pub struct TypedWord {
    /// Its place in the stream.
    pub offset: u64,
    /// What was typed.
    pub body: bytes::Bytes,
    /// Who published it with `fetchline control`; `None` for a message of the console.
    pub by: Option<String>,
    /// When, in that case.
    pub at: Option<OffsetDateTime>,
    /// What it says.
    pub directive: Result<Directive, Refusal>,
}

/// The messages of the control stream.
pub struct ControlStream {
    consumer: Consumer,
    channel: Channel,
    /// The delivery that was returned last and is not acked yet.
    unacked: Option<u64>,
    /// How many messages are left of those that the broker counted when the stream was opened.
    counted: u32,
    is_new: bool,
}

impl ControlStream {
    /// Starts to read the stream.
    pub async fn open(
        connection: &Connection,
        topology: &Topology,
        consumer_tag: &str,
        begin: Begin,
    ) -> Result<Self, Error> {
        let is_new = topology.declare_control(connection).await?;
        let counted =
            topology.counts(connection, Topology::CONTROL).await?.map_or(0, |counts| counts.ready);
        within("reading the control stream", async {
            let channel = open_channel(connection).await?;
            let failed = Error::amqp("cannot read the control stream");
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(&failed)?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), offset(begin));
            let (queue, options) =
                (topology.queue(Topology::CONTROL), BasicConsumeOptions::default());
            let consumer = channel
                .basic_consume(queue.as_str().into(), consumer_tag.into(), options, arguments)
                .await
                .map_err(&failed)
                .map_err(|error| match error.takes_no_offset() {
                    true => Error::NotAStream(queue),
                    false => error,
                })?;
            Ok(Self { consumer, channel, unacked: None, counted, is_new })
        })
        .await
    }

    /// Whether the stream was missing, and was declared when it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Like [`Self::next`], for messages from before the stream was opened.
    ///
    /// # Errors
    ///
    /// There are no more of them.
    pub async fn next_old(&mut self) -> Result<Option<TypedWord>, Elapsed> {
        let patience = match self.counted {
            0 if self.is_new => Duration::ZERO,
            0 => UNCOUNTED,
            _ => COUNTED,
        };
        let next = timeout(patience, self.next()).await;
        self.counted = self.counted.saturating_sub(1);
        next
    }

    /// The next message; `None` if the connection is lost or the stream is deleted. Safe to cancel.
    pub async fn next(&mut self) -> Option<TypedWord> {
        if let Some(tag) = self.unacked.take() {
            self.ack(tag).await.ok()?;
        }
        let delivery: Delivery = self.consumer.next().await?.ok()?;
        self.unacked = Some(delivery.delivery_tag);
        let message = RawMessage::from(delivery);
        Some(TypedWord {
            offset: header::number(&message.properties, header::STREAM_OFFSET).unwrap_or(0),
            by: message.header(header::BY),
            at: message.properties.timestamp().and_then(|seconds| {
                OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
            }),
            directive: Directive::read(&message.body),
            body: message.body,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an ack in a stream settles nothing: it only requests more messages"
    )]
    async fn ack(&self, tag: u64) -> Result<(), lapin::Error> {
        self.channel.basic_ack(tag, BasicAckOptions::default()).await
    }
}

fn offset(begin: Begin) -> AMQPValue {
    match begin {
        Begin::First => AMQPValue::LongString("first".into()),
        Begin::At(time) => {
            AMQPValue::Timestamp(u64::try_from(time.unix_timestamp()).unwrap_or_default())
        }
    }
}
