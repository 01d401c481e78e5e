//! Republications: a message that replaces another one is published with a confirm, and only then
//! is the original acked.
//!
//! Publishing has a connection of its own. A broker under an alarm does not read from a connection
//! that publishes, so acks on the same connection would be stuck behind the message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fetchline_nodes::Backoff;
use fetchline_queue::{
    Broker, ConfirmChannel, Confirmed, Death, DeferReason, Draft, Error, MAX_ROUND, RawMessage,
    Role, Round, Task, Tier, Verdict, Wait, list_lines,
};
use fetchline_store::Store;
use lapin::Connection;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::claim::Claim;
use super::settler::SettlerHandle;
use crate::control::news::{Fact, NewsHandle};
use crate::error_chain::chain;
use crate::observe::metrics::Metrics;
use crate::observe::trace::{Step, Trace};

/// A round without confirms for this long is logged.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends messages to the republisher; cheap to clone.
#[derive(Clone)]
pub(crate) struct RepublisherHandle {
    republications: mpsc::UnboundedSender<Republication>,
    worker: Arc<str>,
    store: Arc<Store>,
}

/// A message, and the one that it replaces.
struct Republication {
    draft: Draft,
    reason: Reason,
    original: Arc<Original>,
    since: Instant,
}

/// The claim on a message that one or more others replace. It is settled with the last of them.
struct Original {
    claim: Claim,
    /// Whether one of the others could not be published.
    has_failed: AtomicBool,
}

/// Why a message replaces another one.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Retry(Tier),
    Deferral,
    /// A dead letter, with its reason.
    Death(&'static str),
    /// A line of a list.
    Line,
}

impl RepublisherHandle {
    /// Republishes a task for another attempt.
    pub(crate) fn retry(
        &self,
        original: RawMessage,
        (tier, attempt): (Tier, u32),
        wait: &Wait,
        claim: Claim,
    ) {
        let draft = Draft::retry(original, tier, attempt, wait, &self.worker);
        self.send(draft, Reason::Retry(tier), claim);
    }

    /// Republishes a task that waits in a delay queue without costing an attempt.
    pub(crate) fn defer(
        &self,
        task: &Task,
        original: RawMessage,
        tier: Tier,
        reason: DeferReason,
        claim: Claim,
    ) {
        let draft = Draft::deferred(original, task, tier, reason, &self.worker);
        self.send(draft, Reason::Deferral, claim);
    }

    /// Publishes each line of a list as a message of its own, and acks the list after the last one.
    pub(crate) fn divide(&self, list: RawMessage, claim: Claim) {
        let lines = match list_lines(&list.body) {
            Ok(lines) => lines,
            Err(reason) => return self.dead(list, &Death::not_a_task(&reason), claim),
        };
        info!(lines = lines.len(), "a list is divided into tasks");
        let original = Arc::new(Original { claim, has_failed: AtomicBool::new(false) });
        for line in (1..).zip(lines) {
            let draft = Draft::of_list(&list, line, &self.worker, self.store.now());
            let (original, since) = (original.clone(), Instant::now());
            let republication = Republication { draft, reason: Reason::Line, original, since };
            // The republisher outlives all handles.
            _ = self.republications.send(republication);
        }
    }

    /// Publishes a dead letter. The task's row, if there is one, must be durable. The time of death
    /// is taken from the database's clock, like that of rows: a replay compares the two.
    pub(crate) fn dead(&self, original: RawMessage, death: &Death, claim: Claim) {
        let draft = Draft::dead(original, death, &self.worker, self.store.now());
        self.send(draft, Reason::Death(death.reason), claim);
    }

    fn send(&self, draft: Draft, reason: Reason, claim: Claim) {
        claim.enter(Step::Republish);
        // The new message continues the trace of the original.
        let draft = draft.within_trace(|| claim.trace().and_then(Trace::traceparent));
        let original = Arc::new(Original { claim, has_failed: AtomicBool::new(false) });
        let republication = Republication { draft, reason, original, since: Instant::now() };
        // The republisher outlives all handles.
        _ = self.republications.send(republication);
    }
}

/// Creates a republisher and its handle. The number of queued republications is bounded by the
/// deliveries that are out.
pub(crate) fn channel(
    (worker, store): (Arc<str>, Arc<Store>),
    broker: Broker,
    longer: Vec<Tier>,
    settle: SettlerHandle,
    metrics: Arc<Metrics>,
    (hold, news): (Duration, NewsHandle),
) -> (RepublisherHandle, Republisher) {
    let (republications, inbox) = mpsc::unbounded_channel();
    let has_warned = false;
    let broker = broker.with_role(Role::Publish);
    let republisher =
        Republisher { inbox, broker, longer, settle, metrics, hold, news, link: None, has_warned };
    (RepublisherHandle { republications, worker, store }, republisher)
}

/// Publishes republications.
pub(crate) struct Republisher {
    inbox: mpsc::UnboundedReceiver<Republication>,
    broker: Broker,
    /// The delays of deferred tasks that are not retry delays.
    longer: Vec<Tier>,
    settle: SettlerHandle,
    metrics: Arc<Metrics>,
    /// How long a republication waits for the broker before its original is requeued.
    hold: Duration,
    news: NewsHandle,
    link: Option<Link>,
    /// Whether missing delay queues have been logged.
    has_warned: bool,
}

/// A connection to publish on.
struct Link {
    connection: Connection,
    channel: ConfirmChannel,
    /// Whether the queues of the longer delays exist.
    has_longer: bool,
    /// Whether the broker has rejected a message on this channel.
    is_refused: bool,
}

impl Republisher {
    /// Runs until every [`RepublisherHandle`] is dropped. What cannot be published is repeated
    /// until the hold is over. Its original stays unacked, so nothing is lost if this worker ends.
    pub(crate) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut received = Vec::new();
        let mut backoff = Backoff::default();
        let mut is_failing = false;
        // After a failure, rounds of one message, since the faulty one is unknown; then larger and
        // larger rounds.
        let mut most = MAX_ROUND;
        loop {
            // New republications join those that wait, so a faulty one delays no other.
            if waiting.is_empty() {
                if self.inbox.recv_many(&mut received, MAX_ROUND).await == 0 {
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
            match self.publish_within_hold(&mut republications).await {
                Ok(()) => {
                    backoff.reset();
                    most = (2 * most).min(MAX_ROUND);
                    if waiting.is_empty() && std::mem::take(&mut is_failing) {
                        info!("retries and dead letters can be published again");
                    }
                }
                Err(problem) => {
                    most = 1;
                    waiting.extend(republications.into_iter().flatten());
                    if !std::mem::replace(&mut is_failing, true) {
                        let waiting = waiting.len();
                        warn!(
                            problem,
                            waiting,
                            "cannot publish retries or dead letters; retrying until it works"
                        );
                        let sentence = format!("retries or dead letters wait: {problem}");
                        self.news.report(Fact::new("cannot_publish", sentence.clone(), sentence));
                    }
                    waiting = self.requeue_old(waiting);
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    /// Requeues the originals of republications that have waited for the whole hold, since the
    /// broker limits how long a message may stay unacked. Returns the others. If the broker has
    /// accepted a republication after all, there are two messages, and the later one is handled as
    /// a duplicate.
    fn requeue_old(&self, waiting: VecDeque<Republication>) -> VecDeque<Republication> {
        let (old, young): (VecDeque<_>, VecDeque<_>) = waiting
            .into_iter()
            .partition(|republication| republication.since.elapsed() >= self.hold);
        if !old.is_empty() {
            warn!(
                messages = old.len(),
                "retries or dead letters could not be published for too long; their messages are \
                 requeued"
            );
        }
        for Republication { original, .. } in old {
            original.has_failed.store(true, Ordering::Relaxed);
            if let Some(Original { claim, .. }) = Arc::into_inner(original) {
                self.settle.requeue(claim);
            }
        }
        young
    }

    /// Publishes one round, logs a slow broker, and gives up when the oldest republication has
    /// waited for the whole hold. Confirmed messages are removed from `republications`.
    async fn publish_within_hold(
        &mut self,
        republications: &mut [Option<Republication>],
    ) -> Result<(), String> {
        let oldest = republications.iter().flatten().map(|republication| republication.since).min();
        let hold_ends = oldest.map_or_else(Instant::now, |oldest| oldest + self.hold);
        let mut round = std::pin::pin!(self.publish(republications));
        if let Ok(result) = timeout(PATIENCE, &mut round).await {
            return result;
        }
        warn!("the broker does not confirm; check it for a memory or disk alarm");
        let result = timeout_at(hold_ends, &mut round)
            .await
            .map_err(|_| "the broker does not confirm".to_owned())?;
        info!("the broker confirms again");
        result
    }

    /// Publishes one round. Confirmed messages are removed from `republications`.
    async fn publish(
        &mut self,
        republications: &mut [Option<Republication>],
    ) -> Result<(), String> {
        let link = match self.link.take().filter(|link| link.channel.is_open()) {
            Some(link) if link.is_refused => {
                self.renew_channel(link).await.map_err(|error| chain(&error))?
            }
            Some(link) => link,
            None => self.connect().await.map_err(|error| chain(&error))?,
        };
        let mut round = Round::default();
        let drafts = republications.iter().enumerate().filter_map(|(index, republication)| {
            let draft = republication.as_ref()?.draft.clone();
            Some((if link.has_longer { draft } else { self.shorten_delay(draft) }, index))
        });
        link.channel.send(&mut round, drafts).await;
        #[cfg(feature = "simulation")]
        if fetchline_store::planted::Fault::AckBeforeConfirm.is_planted() {
            let originals = republications.iter_mut().filter_map(Option::take);
            let claims = originals.filter_map(|sent| Some(Arc::into_inner(sent.original)?.claim));
            self.settle.committed(fetchline_store::Committed::planted(claims.collect()));
        }
        let mut problem = None;
        let (mut is_queue_missing, mut is_refused) = (false, false);
        for verdict in round.finish().await {
            problem = Some(match verdict {
                Verdict::Confirmed(proof) => {
                    let proof = proof.map(|index| republications[index].take()).transpose();
                    proof.into_iter().for_each(|proof| self.confirmed(proof));
                    continue;
                }
                Verdict::Unroutable(_) => {
                    is_queue_missing = true;
                    "no queue is bound to the routing key".to_owned()
                }
                Verdict::Nacked(_) => {
                    is_refused = true;
                    "the broker refused the message: the queue is full".to_owned()
                }
                Verdict::Unknown(_, error) => chain(&error),
            });
        }
        if is_queue_missing {
            let topology = self.broker.topology();
            // If it fails, a new connection declares a missing queue again.
            _ = topology.restore_bindings(&link.connection, &self.longer).await;
        }
        self.link = (!is_queue_missing).then_some(Link { is_refused, ..link });
        problem.map_or(Ok(()), Err)
    }

    fn confirmed(&self, proof: Confirmed<Republication>) {
        let proof = proof.map(|republication| {
            match republication.reason {
                Reason::Retry(tier) => self.metrics.retried(tier),
                Reason::Deferral => self.metrics.deferred(),
                Reason::Death(reason) => self.metrics.dead(reason),
                Reason::Line => {}
            }
            Arc::into_inner(republication.original)
        });
        // `None` for a line of a list with others that are not confirmed yet.
        let Some(proof) = proof.transpose() else { return };
        match proof.get().has_failed.load(Ordering::Relaxed) {
            true => self.settle.requeue(proof.into_inner().claim),
            false => self.settle.confirmed(proof.map(|original| original.claim)),
        }
    }

    /// Connects, and declares the queues: a message whose queue was deleted would wait for ever. If
    /// the queues of the longer delays cannot be declared, publishing continues without them.
    async fn connect(&mut self) -> Result<Link, Error> {
        let (connection, topology) = (self.broker.connect().await?, self.broker.topology());
        topology.declare(&connection).await?;
        let mut has_longer = true;
        for tier in &self.longer {
            match topology.declare_delay(&connection, *tier).await {
                Ok(()) => {}
                Err(error) if error.is_answer() => {
                    has_longer = false;
                    if !std::mem::replace(&mut self.has_warned, true) {
                        let (queue, cause) = (topology.queue(&tier.key()), chain(&error));
                        warn!(
                            queue,
                            cause,
                            "a delay queue cannot be declared; deferred tasks use the retry \
                             queues; grant this worker's user configure, write and read on it"
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let channel = ConfirmChannel::open(&connection, topology).await?;
        Ok(Link { connection, channel, has_longer, is_refused: false })
    }

    /// Opens another channel. A channel remembers that a queue was full until the queue says
    /// otherwise, and a queue whose maximum length is lifted never does.
    async fn renew_channel(&self, link: Link) -> Result<Link, Error> {
        let channel = ConfirmChannel::open(&link.connection, self.broker.topology()).await?;
        Ok(Link { channel, is_refused: false, ..link })
    }

    /// Replaces a longer delay by the longest retry delay.
    fn shorten_delay(&self, draft: Draft) -> Draft {
        let is_longer = self.longer.iter().any(|tier| tier.key() == draft.routing_key());
        match self.broker.topology().longest_tier().filter(|_| is_longer) {
            Some(longest) => draft.delayed_by(longest),
            None => draft,
        }
    }
}
