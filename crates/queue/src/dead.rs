//! Going through the dead letters: looking at them, replaying them, purging them.
//!
//! Every letter is got without an ack and stays held until the walk ends. Only what was purged, or has a confirmed copy
//! in the work queue, is acked; the end gives back all others, and so does the broker when this process or its connection
//! dies. So a letter that the filter does not name cannot be lost. What died between a confirm and its ack
//! is there twice, and has one row.
#![expect(
    clippy::disallowed_methods,
    reason = "an operator's tool, not a worker: it has no rows that an ack waits for"
)]

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::ShortString;
use lapin::{Channel, Connection};

use crate::broker::within;
use crate::{Broker, Draft, Error, Filter, Lane, Letter, Original, Round, Topology, Verdict};

/// Letters that are got at once, each on a channel of its own: a get waits for the disk of a quorum queue, and those that
/// wait together wait once.
const CHANNELS: usize = 32;
/// Copies that are confirmed together: so many, or so many bytes.
const ROUND: usize = 256;
const ROUND_BYTES: usize = 4 * 1024 * 1024;
/// How long the broker may take to confirm a round. A person is waiting, so this ends where a worker would wait on.
const CONFIRMS: Duration = Duration::from_secs(60);

const BLOCKED: &str = "publishing; does an alarm make it block publishers?";

/// Which dead letters are meant, and how many of them at most.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// What a letter has to fit.
    pub filter: Filter,
    /// How many letters that fit are enough.
    pub limit: Option<u64>,
}

/// How far a walk came; true also where it ended with an error.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Letters that were looked at.
    pub seen: u64,
    /// Those of them that are meant.
    pub matched: u64,
    /// Those that are no longer in the dead queue.
    pub done: u64,
}

/// Shows the letters that are meant, in the order of the queue, and changes nothing.
pub async fn look(
    broker: &Broker,
    search: &Search,
    tally: &mut Tally,
    mut show: impl FnMut(Letter),
) -> Result<(), Error> {
    let mut walk = Walk::begin(broker, search, tally).await?;
    let result = async {
        while let Some(found) = walk.next().await? {
            show(found.letter);
        }
        Ok(())
    }
    .await;
    walk.end(result).await
}

/// Drops the letters that are meant.
pub async fn purge(broker: &Broker, search: &Search, tally: &mut Tally) -> Result<(), Error> {
    let mut walk = Walk::begin(broker, search, tally).await?;
    let result = async {
        while let Some(found) = walk.next().await? {
            walk.ack(found.held).await?;
        }
        Ok(())
    }
    .await;
    walk.end(result).await
}

/// Publishes the letters that are meant as first tries, and drops each when its copy is confirmed. It ends at the first
/// round that the broker did not take whole: what stands in the way of one letter stands in the way of the next.
/// `stays` is told which letters of that round stay in the queue.
pub async fn replay(
    broker: &Broker,
    search: &Search,
    tally: &mut Tally,
    mut stays: impl FnMut(Letter),
) -> Result<(), Error> {
    // Its own connection: a broker under an alarm does not read from one that publishes, and acks would be stuck.
    let publisher = broker.connect().await?;
    let lane = Lane::open(&publisher, broker.topology()).await?;
    let mut walk = Walk::begin(broker, search, tally).await?;
    let result = async {
        let (mut round, mut bytes) = (Round::default(), 0);
        while let Some(Found { letter, original, held }) = walk.next().await? {
            bytes += original.body.len();
            let send = lane.send(&mut round, [(Draft::replay(original), (letter, held))]);
            tokio::time::timeout(CONFIRMS, send).await.map_err(|_| Error::Deadline(CONFIRMS.as_secs(), BLOCKED))?;
            if round.len() >= ROUND || bytes >= ROUND_BYTES {
                walk.confirmed(std::mem::take(&mut round), &mut stays).await?;
                bytes = 0;
            }
        }
        walk.confirmed(round, &mut stays).await
    }
    .await;
    let result = walk.end(result).await;
    close(&publisher).await;
    result
}

/// A letter that is held unacked. Dropping this leaves it in the queue.
#[must_use = "a letter that is not settled stays in the queue"]
struct Held {
    channel: usize,
    tag: u64,
}

/// A letter that is meant.
struct Found {
    letter: Letter,
    original: Original,
    held: Held,
}

/// Once through the letters that were ready at the beginning: what arrives meanwhile, or comes back, is not met again.
struct Walk<'a> {
    connection: Connection,
    channels: Vec<Channel>,
    queue: ShortString,
    /// How many letters are still to be got.
    left: usize,
    /// Got, and not looked at yet.
    got: VecDeque<(Original, Held)>,
    search: &'a Search,
    tally: &'a mut Tally,
}

impl<'a> Walk<'a> {
    async fn begin(broker: &Broker, search: &'a Search, tally: &'a mut Tally) -> Result<Self, Error> {
        let connection = broker.connect().await?;
        let queue = broker.topology().queue(Topology::DEAD);
        let Some(depth) = broker.topology().depth(&connection, Topology::DEAD).await? else {
            return Err(Error::NoQueue(queue));
        };
        let left = depth.ready as usize;
        let channels = within("opening channels", async {
            let opened = try_join_all((0..left.min(CHANNELS)).map(|_| connection.create_channel()));
            opened.await.map_err(Error::amqp("cannot open a channel"))
        });
        let channels = channels.await?;
        Ok(Self { connection, channels, queue: queue.into(), left, got: VecDeque::new(), search, tally })
    }

    /// The next letter that is meant. All that are got on the way stay held.
    async fn next(&mut self) -> Result<Option<Found>, Error> {
        while self.search.limit.is_none_or(|limit| self.tally.matched < limit) {
            let Some((original, held)) = self.got.pop_front() else {
                if self.get().await? == 0 {
                    break;
                }
                continue;
            };
            self.tally.seen += 1;
            let letter = Letter::read(&original.properties, &original.body);
            if self.search.filter.matches(&letter) {
                self.tally.matched += 1;
                return Ok(Some(Found { letter, original, held }));
            }
        }
        Ok(None)
    }

    /// Gets one letter on each channel; returns how many there were.
    async fn get(&mut self) -> Result<usize, Error> {
        let channels = &self.channels[..self.left.min(self.channels.len())];
        self.left -= channels.len();
        let gets = channels.iter().map(|channel| channel.basic_get(self.queue.clone(), BasicGetOptions::default()));
        let gets = within("getting dead letters", async {
            try_join_all(gets).await.map_err(Error::amqp("cannot get dead letters"))
        });
        let letters = gets.await?.into_iter().enumerate().filter_map(|(channel, got)| {
            let delivery = got?.delivery;
            let original = Original { properties: Box::new(delivery.properties), body: delivery.data.into() };
            Some((original, Held { channel, tag: delivery.delivery_tag }))
        });
        self.got.extend(letters);
        Ok(self.got.len())
    }

    /// Waits for the confirms of a round, and settles what was confirmed.
    async fn confirmed(&mut self, round: Round<(Letter, Held)>, stays: &mut impl FnMut(Letter)) -> Result<(), Error> {
        let verdicts = tokio::time::timeout(CONFIRMS, round.finish());
        let Ok(verdicts) = verdicts.await else {
            return Err(Error::Deadline(CONFIRMS.as_secs(), BLOCKED));
        };
        let mut problem = None;
        for verdict in verdicts {
            let ((letter, _), error) = match verdict {
                Verdict::Confirmed(proof) => {
                    self.ack(proof.into_inner().1).await?;
                    continue;
                }
                Verdict::Returned(token) => (token, Error::Unroutable),
                Verdict::Nacked(token) => (token, Error::Refused),
                Verdict::Unknown(token, error) => (token, error),
            };
            stays(letter);
            // The first error says why; those after it may only say that the channel is closed.
            problem.get_or_insert(error);
        }
        problem.map_or(Ok(()), Err)
    }

    /// Takes a letter out of the queue for good.
    async fn ack(&mut self, Held { channel, tag }: Held) -> Result<(), Error> {
        let acked = self.channels[channel].basic_ack(tag, BasicAckOptions { multiple: false }).await;
        acked.map_err(Error::amqp("cannot take a letter out of the dead queue"))?;
        self.tally.done += 1;
        Ok(())
    }

    /// Gives back whatever is still held. That the channels close in order proves that the acks arrived.
    async fn end(self, result: Result<(), Error>) -> Result<(), Error> {
        let closed = within("giving back dead letters", async {
            for channel in &self.channels {
                // Tag 0 and multiple: all that the channel holds. Closing alone would do; a nack spends less of the
                // delivery limit on newer brokers.
                let options = BasicNackOptions { multiple: true, requeue: true };
                channel.basic_nack(0, options).await.map_err(Error::amqp("cannot give back dead letters"))?;
            }
            let closes = self.channels.iter().map(|channel| channel.close(200, "done".into()));
            try_join_all(closes).await.map_err(Error::amqp("cannot close a channel"))
        });
        let closed = closed.await.map(|_| ());
        close(&self.connection).await;
        result.and(closed)
    }
}

/// In order, so that the broker's log shows no client that broke off. Everything has been answered before.
async fn close(connection: &Connection) {
    let closed =
        async { connection.close(200, "done".into()).await.map_err(Error::amqp("cannot close the connection")) };
    _ = within("closing the connection", closed).await;
}
