//! What operators tell all workers: words in a stream, which each worker reads from its beginning.

use std::fmt;

use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use tokio_stream::StreamExt;

use crate::broker::within;
use crate::{Broker, Error, Topology};

/// Words that are on their way at once. A stream is not read without such a limit.
const PREFETCH: u16 = 100;
/// The longest word that is read, in bytes.
const LONGEST: usize = 100;

/// A word to all workers, and to every worker that comes later. The newest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Take no messages, and give back what was not begun.
    Pause,
    /// Take messages again.
    Resume,
    /// Fetch so many at once.
    Concurrency(usize),
}

/// A message that is no word. Its text is not repeated: anything may have been typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of `pause`, `resume` and `concurrency N` (with N from 1 to {max})", max = u16::MAX)]
pub struct NotAWord;

impl Word {
    /// Reads a message; white space around the word does not matter, nor do capitals.
    pub fn read(data: &[u8]) -> Result<Self, NotAWord> {
        let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= LONGEST).ok_or(NotAWord)?;
        let text = text.to_ascii_lowercase();
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["pause"] => Ok(Self::Pause),
            ["resume"] => Ok(Self::Resume),
            ["concurrency", number] => {
                let number = number.parse::<u16>().ok().filter(|number| *number > 0).ok_or(NotAWord)?;
                Ok(Self::Concurrency(number.into()))
            }
            _ => Err(NotAWord),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Concurrency(number) => write!(f, "concurrency {number}"),
        }
    }
}

/// Tells all workers, and waits until the broker has confirmed it.
pub async fn tell(broker: &Broker, word: Word) -> Result<(), Error> {
    let connection = broker.connect().await?;
    broker.topology().declare_control(&connection).await?;
    within("telling the workers", async {
        let channel = connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(Error::amqp("cannot ask for confirms"))?;
        // By the default exchange: whoever may only write to the fleet's exchange cannot tell workers anything.
        let (queue, options) =
            (broker.topology().queue(Topology::CONTROL), BasicPublishOptions { mandatory: true, ..Default::default() });
        let properties = BasicProperties::default().with_content_type("text/plain".into()).with_delivery_mode(2);
        let confirm = channel
            .basic_publish("".into(), queue.into(), options, word.to_string().as_bytes(), properties)
            .await
            .map_err(Error::amqp("publishing failed"))?;
        match confirm.await.map_err(Error::amqp("publishing failed"))? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(Error::Unroutable),
            _ => Err(Error::Refused),
        }
    })
    .await
}

/// The words, from the first one that was ever said.
pub struct Words {
    consumer: Consumer,
    channel: Channel,
    /// What was handed on, and not acked yet.
    unread: Option<u64>,
    said_before: u32,
}

impl Words {
    /// Begins to read.
    pub async fn listen(connection: &Connection, topology: &Topology, tag: &str) -> Result<Self, Error> {
        topology.declare_control(connection).await?;
        let said_before = topology.depth(connection, Topology::CONTROL).await?.map_or(0, |depth| depth.ready);
        within("reading the control stream", async {
            let channel = connection.create_channel().await.map_err(Error::amqp("cannot open a channel"))?;
            let failed = Error::amqp("cannot read the control stream");
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(&failed)?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
            let queue = topology.queue(Topology::CONTROL);
            let consumer = channel
                .basic_consume(queue.into(), tag.into(), BasicConsumeOptions::default(), arguments)
                .await
                .map_err(&failed)?;
            Ok(Self { consumer, channel, unread: None, said_before })
        })
        .await
    }

    /// How many messages there were when reading began.
    pub fn said_before(&self) -> u32 {
        self.said_before
    }

    /// The next message, read as a word; `None` when the connection is lost, or the stream deleted. Nothing is lost where
    /// this is dropped.
    pub async fn next(&mut self) -> Option<Result<Word, NotAWord>> {
        if let Some(tag) = self.unread.take() {
            self.read(tag).await.ok()?;
        }
        let Delivery { data, delivery_tag, .. } = self.consumer.next().await?.ok()?;
        self.unread = Some(delivery_tag);
        Some(Word::read(&data))
    }

    #[expect(clippy::disallowed_methods, reason = "in a stream, an ack settles nothing: it only asks for more")]
    async fn read(&self, tag: u64) -> Result<(), lapin::Error> {
        self.channel.basic_ack(tag, lapin::options::BasicAckOptions::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_a_person_types_it() {
        for (typed, word) in [
            ("pause", Word::Pause),
            (" Resume\n", Word::Resume),
            ("concurrency 50", Word::Concurrency(50)),
            ("CONCURRENCY\t7 ", Word::Concurrency(7)),
        ] {
            assert_eq!(Word::read(typed.as_bytes()), Ok(word), "{typed}");
            assert_eq!(Word::read(word.to_string().as_bytes()), Ok(word));
        }
        for wrong in
            ["", "stop", "concurrency", "concurrency 0", "concurrency -1", "concurrency 70000", "pause now", "\u{0}"]
        {
            assert_eq!(Word::read(wrong.as_bytes()), Err(NotAWord), "{wrong}");
        }
    }
}
