//! A walk through the dead letters that holds all of them until it ends.
#![expect(
    clippy::disallowed_methods,
    reason = "an operator's tool, not a worker: it has no rows that an ack would have to wait for"
)]

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::ShortString;
use lapin::{Channel, Connection};

use super::letter::DeadLetter;
use super::search::Search;
use crate::connection::{open_channel, within};
use crate::{Broker, Error, RawMessage, Topology};

/// The number of letters that are got at once, each on a channel of its own. A get waits for the
/// disk of a quorum queue, and concurrent gets wait only once.
const CHANNELS: usize = 32;

/// The progress of a walk.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Letters that were ready at the beginning.
    pub total: u64,
    /// Letters that were read. A limit ends the reading.
    pub examined: u64,
    /// Letters that matched.
    pub matched: u64,
    /// Letters that were removed from the dead queue.
    pub removed: u64,
}

/// A letter that is held unacked. Dropping this leaves it in the queue.
#[must_use = "a letter that is not removed stays in the queue"]
pub(super) struct Held {
    channel: usize,
    tag: u64,
}

/// A matching letter.
pub(super) struct Found {
    pub(super) letter: DeadLetter,
    pub(super) original: RawMessage,
    pub(super) held: Held,
}

/// One pass over the letters that were ready at the beginning: a letter that arrives or comes back
/// meanwhile is not visited.
pub(super) struct Walk<'a> {
    connection: Connection,
    channels: Vec<Channel>,
    queue: ShortString,
    /// How many letters are still to be got.
    left: usize,
    /// Letters that were got and not examined yet.
    fetched: VecDeque<(RawMessage, Held)>,
    search: &'a Search,
    counts: &'a mut Counts,
}

impl<'a> Walk<'a> {
    pub(super) async fn begin(
        broker: &Broker,
        search: &'a Search,
        counts: &'a mut Counts,
    ) -> Result<Self, Error> {
        let connection = broker.connect().await?;
        let queue = broker.topology().queue(Topology::DEAD);
        let Some(queue_counts) = broker.known_counts(&connection, Topology::DEAD).await? else {
            return Err(Error::NoQueue(queue));
        };
        let left = queue_counts.ready as usize;
        counts.total = u64::from(queue_counts.ready);
        let opening = try_join_all((0..left.min(CHANNELS)).map(|_| open_channel(&connection)));
        let channels = within("opening channels", opening).await?;
        Ok(Self {
            connection,
            channels,
            queue: queue.into(),
            left,
            fetched: VecDeque::new(),
            search,
            counts,
        })
    }

    /// The next matching letter. All letters that are got on the way stay held.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, Error> {
        while self.search.limit.is_none_or(|limit| self.counts.matched < limit) {
            let Some((original, held)) = self.fetched.pop_front() else {
                if self.get().await? == 0 {
                    break;
                }
                continue;
            };
            self.counts.examined += 1;
            let letter = DeadLetter::read(&original.properties, &original.body);
            if self.search.filter.matches(&letter) {
                self.counts.matched += 1;
                return Ok(Some(Found { letter, original, held }));
            }
        }
        Ok(None)
    }

    /// Gets one letter on each channel; returns how many letters arrived.
    async fn get(&mut self) -> Result<usize, Error> {
        let channels = &self.channels[..self.left.min(self.channels.len())];
        self.left -= channels.len();
        let gets = channels
            .iter()
            .map(|channel| channel.basic_get(self.queue.clone(), BasicGetOptions::default()));
        let gets = within("getting dead letters", async {
            try_join_all(gets).await.map_err(Error::amqp("cannot get dead letters"))
        });
        let letters = gets.await?.into_iter().enumerate().filter_map(|(channel, got)| {
            let delivery = got?.delivery;
            let held = Held { channel, tag: delivery.delivery_tag };
            Some((RawMessage::from(delivery), held))
        });
        self.fetched.extend(letters);
        Ok(self.fetched.len())
    }

    /// Removes a letter from the queue for good.
    pub(super) async fn remove(&mut self, Held { channel, tag }: Held) -> Result<(), Error> {
        let acked =
            self.channels[channel].basic_ack(tag, BasicAckOptions { multiple: false }).await;
        acked.map_err(Error::amqp("cannot remove a letter from the dead queue"))?;
        self.counts.removed += 1;
        Ok(())
    }

    /// Requeues every letter that is still held. An orderly close of the channels proves that the
    /// acks have arrived.
    pub(super) async fn end(self, result: Result<(), Error>) -> Result<(), Error> {
        let closed = within("requeueing dead letters", async {
            for channel in &self.channels {
                // Tag 0 and multiple: everything that the channel holds. Closing alone would be
                // enough; a nack uses up less of the delivery limit on newer brokers.
                let options = BasicNackOptions { multiple: true, requeue: true };
                channel
                    .basic_nack(0, options)
                    .await
                    .map_err(Error::amqp("cannot requeue dead letters"))?;
            }
            let closes = self.channels.iter().map(|channel| channel.close(200, "done".into()));
            try_join_all(closes).await.map_err(Error::amqp("cannot close a channel"))
        });
        let closed = closed.await.map(|_| ());
        close(&self.connection).await;
        result.and(closed)
    }
}

/// Closes a connection in order, so that the broker does not log an aborted client. Its error does
/// not matter: everything was answered before.
pub(super) async fn close(connection: &Connection) {
    let closed = async {
        connection
            .close(200, "done".into())
            .await
            .map_err(Error::amqp("cannot close the connection"))
    };
    _ = within("closing the connection", closed).await;
}
