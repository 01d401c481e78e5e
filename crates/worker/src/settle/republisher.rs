//! Messages that replace others: published with a confirm, and only then is the original acked.
//!
//! Publishing has a connection of its own. A broker under an alarm does not read from a connection that publishes, and
//! acks would be stuck behind the message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Broker, Death, DeferReason, Draft, Error, Lane, Original, Round, Task, Tier, Verdict};
use fetchline_store::Store;
use lapin::Connection;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::claim::Claim;
use super::settler::Settle;
use crate::backoff::Backoff;
use crate::failure::chain;
use crate::meters::Meters;
use crate::trace::{Step, Trace};

/// Messages that are confirmed together.
const ROUND: usize = 256;
/// After this long without confirms it is said that the broker lets us wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes messages that replace others; cheap to clone.
#[derive(Clone)]
pub(crate) struct Republish {
    republications: mpsc::UnboundedSender<Republication>,
    worker: Arc<str>,
    store: Arc<Store>,
}

/// A message and the claim on the one that it replaces.
struct Republication {
    draft: Draft,
    why: Why,
    claim: Claim,
    since: Instant,
}

/// Why a message replaces another.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Its task is tried again.
    Retry(Tier),
    /// Its task waits for its host.
    Deferred,
    /// It is given up, for this reason.
    Dead(&'static str),
}

impl Republish {
    /// The task is tried again later.
    pub(crate) fn retry(&self, original: Original, tier: Tier, attempt: u32, claim: Claim) {
        self.send(Draft::retry(original, tier, attempt), Why::Retry(tier), claim);
    }

    /// The task waits for its host, and that is no try.
    pub(crate) fn defer(&self, task: &Task, original: Original, tier: Tier, reason: DeferReason, claim: Claim) {
        self.send(Draft::parked(original, task, tier, reason), Why::Deferred, claim);
    }

    /// The message is given up. Its row, where there is one, has to be durable. The time of its death is the database's,
    /// as that of rows is: the two are compared when it is replayed.
    pub(crate) fn dead(&self, original: Original, death: &Death, claim: Claim) {
        let draft = Draft::dead(original, death, &self.worker, self.store.now());
        self.send(draft, Why::Dead(death.reason), claim);
    }

    fn send(&self, draft: Draft, why: Why, claim: Claim) {
        claim.enter(Step::HandOver);
        // What comes of the copy belongs to the same trace.
        let draft = draft.within_trace(|| claim.trace().and_then(Trace::traceparent));
        // The publisher lives until nobody is left who could send.
        _ = self.republications.send(Republication { draft, why, claim, since: Instant::now() });
    }
}

/// The two ends of republishing. There are never more republications under way than deliveries that are out.
pub(crate) fn channel(
    (worker, store): (Arc<str>, Arc<Store>),
    broker: Broker,
    longer: Vec<Tier>,
    settle: Settle,
    meters: Arc<Meters>,
    hold: Duration,
) -> (Republish, Republisher) {
    let (republications, inbox) = mpsc::unbounded_channel();
    let republisher = Republisher { inbox, broker, longer, settle, meters, hold, link: None, reported: false };
    (Republish { republications, worker, store }, republisher)
}

/// Publishes.
pub(crate) struct Republisher {
    inbox: mpsc::UnboundedReceiver<Republication>,
    broker: Broker,
    /// Delays beside the retry delays, for tasks that are deferred.
    longer: Vec<Tier>,
    settle: Settle,
    meters: Arc<Meters>,
    /// How long a republication waits for the broker before its original is requeued.
    hold: Duration,
    link: Option<Link>,
    /// Whether it was said that there are no queues for longer delays.
    reported: bool,
}

/// A connection to publish on.
struct Link {
    _connection: Connection,
    lane: Lane,
    /// Whether there are queues for the longer delays.
    has_longer: bool,
}

impl Republisher {
    /// Publishes until nobody is left who could ask for it. What cannot be published is tried again until the hold is
    /// over; its original stays unacked, so nothing is lost should this worker end first.
    pub(crate) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut received = Vec::new();
        let mut backoff = Backoff::default();
        let mut failing = false;
        // After a failure one by one, in turn, since the one that is the cause is not known; then more and more.
        let mut most = ROUND;
        loop {
            // What waits does not keep out what comes: one republication that is refused holds up no other.
            if waiting.is_empty() {
                if self.inbox.recv_many(&mut received, ROUND).await == 0 {
                    return;
                }
            } else {
                while let Ok(republication) = self.inbox.try_recv() {
                    received.push(republication);
                }
            }
            waiting.extend(received.drain(..));
            let round = most.min(waiting.len());
            let mut republications = waiting.drain(..round).map(Some).collect::<Vec<_>>();
            match self.noticing(&mut republications).await {
                Ok(()) => {
                    backoff.reset();
                    most = (2 * most).min(ROUND);
                    if waiting.is_empty() && std::mem::take(&mut failing) {
                        info!("retries and dead letters are published again");
                    }
                }
                Err(problem) => {
                    most = 1;
                    waiting.extend(republications.into_iter().flatten());
                    if !std::mem::replace(&mut failing, true) {
                        let waiting = waiting.len();
                        warn!(problem, waiting, "cannot publish retries or dead letters; trying again until it works");
                    }
                    waiting = self.requeue_old(waiting);
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    /// Requeues the originals of republications that have waited for the whole hold; the others go on waiting. The broker
    /// does not like messages that are held for long. A copy that it took all the same is a copy like any other.
    fn requeue_old(&self, waiting: VecDeque<Republication>) -> VecDeque<Republication> {
        let (old, young): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|republication| republication.since.elapsed() >= self.hold);
        if !old.is_empty() {
            warn!(messages = old.len(), "retries or dead letters could not be published for too long: given back");
        }
        for republication in old {
            self.settle.requeue(republication.claim);
        }
        young
    }

    /// One round; says so when the broker lets us wait. Confirmed messages are taken out of the republications.
    async fn noticing(&mut self, republications: &mut [Option<Republication>]) -> Result<(), String> {
        let oldest = republications.iter().flatten().map(|republication| republication.since).min();
        let hold_ends = oldest.map_or_else(Instant::now, |oldest| oldest + self.hold);
        let mut round = std::pin::pin!(self.publish(republications));
        if let Ok(result) = timeout(PATIENCE, &mut round).await {
            return result;
        }
        warn!("the broker does not confirm: is it under a memory or disk alarm?");
        let result = timeout_at(hold_ends, &mut round).await.map_err(|_| "the broker does not confirm".to_owned())?;
        info!("the broker confirms again");
        result
    }

    /// One round. Confirmed messages are taken out of the republications.
    async fn publish(&mut self, republications: &mut [Option<Republication>]) -> Result<(), String> {
        let link = match self.link.take().filter(|link| link.lane.is_open()) {
            Some(link) => link,
            None => self.open().await.map_err(|error| chain(&error))?,
        };
        let mut round = Round::default();
        let drafts = republications.iter().enumerate();
        let drafts = drafts.filter_map(|(index, republication)| {
            let draft = republication.as_ref()?.draft.clone();
            Some((if link.has_longer { draft } else { self.without_longer(draft) }, index))
        });
        link.lane.send(&mut round, drafts).await;
        let mut problem = None;
        let mut deleted = false;
        for verdict in round.finish().await {
            problem = Some(match verdict {
                Verdict::Confirmed(proof) => {
                    if let Some(proof) = proof.map(|index| republications[index].take()).transpose() {
                        self.settle.confirmed(proof.map(|republication| {
                            match republication.why {
                                Why::Retry(tier) => self.meters.retried(tier),
                                Why::Deferred => self.meters.parked(),
                                Why::Dead(reason) => self.meters.dead(reason),
                            }
                            republication.claim
                        }));
                    }
                    continue;
                }
                Verdict::Returned(_) => {
                    deleted = true;
                    "no queue is bound to the routing key".to_owned()
                }
                Verdict::Nacked(_) => "the broker refused the message: the queue is full".to_owned(),
                Verdict::Unknown(_, error) => chain(&error),
            });
        }
        // Where the queue was deleted, opening anew makes it again.
        self.link = (!deleted).then_some(link);
        problem.map_or(Ok(()), Err)
    }

    /// A queue that was deleted is made again: what has to go into it would wait for ever. That the longer delays have none
    /// stops nothing else.
    async fn open(&mut self) -> Result<Link, Error> {
        let (connection, topology) = (self.broker.connect().await?, self.broker.topology());
        topology.declare(&connection).await?;
        let mut has_longer = true;
        for tier in &self.longer {
            match topology.declare_delay(&connection, *tier).await {
                Ok(()) => {}
                Err(error) if error.is_answer() => {
                    has_longer = false;
                    if !std::mem::replace(&mut self.reported, true) {
                        let (queue, cause) = (topology.queue(&tier.key()), chain(&error));
                        warn!(
                            queue,
                            cause,
                            "a delay queue cannot be declared: deferred tasks use the retry queues; grant this worker's \
                             user configure, write and read on it"
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let lane = Lane::open(&connection, topology).await?;
        Ok(Link { _connection: connection, lane, has_longer })
    }

    /// The message for the longest retry delay, where it was to wait for longer.
    fn without_longer(&self, draft: Draft) -> Draft {
        let waits_longer = self.longer.iter().any(|tier| tier.key() == draft.routing_key());
        match self.broker.topology().longest_tier().filter(|_| waits_longer) {
            Some(longest) => draft.delayed_by(longest),
            None => draft,
        }
    }
}
