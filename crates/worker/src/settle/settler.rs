//! The only place where messages are settled.
//!
//! A message is acked only with a proof: [`Committed`] from the store, or [`Confirmed`] from the
//! broker. A ledger belongs to a channel and dies with it. A late result of an earlier channel is
//! committed like any other and not acked, since its tag means another message on the new channel.
#![expect(clippy::disallowed_methods, reason = "this is the one file that acks, nacks and rejects")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fetchline_queue::{Confirmed, Node};
use fetchline_store::Committed;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::claim::{Claim, Receipt};
use super::early_receipts::{EarlyReceipts, End};
use super::ledger::{Ack, Ledger};
use crate::observe::metrics::Metrics;
use crate::observe::trace::{Step, Trace};
use crate::timer::until;

/// How long a settled delivery waits for a lower tag that is still out, before it is acked alone.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How long the broker may take to confirm that the connection is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most commands that are handled together. More of them need fewer acks.
const COMMANDS_AT_ONCE: usize = 1024;

/// The value of the span attribute `fetchline.settled` for a requeue. A wire name, so it stays.
const REQUEUED: &str = "given back";

/// A channel that receives deliveries.
#[derive(Clone)]
pub(crate) struct Session {
    /// Counts the sessions of this worker.
    number: u64,
    opened: Instant,
    /// Whether an earlier session ended because its connection was lost.
    follows_loss: bool,
    channel: Channel,
    connection: Arc<Connection>,
    /// The node of the broker that the connection leads to.
    node: Arc<Node>,
    /// The number of deliveries that are not settled yet.
    held: Arc<AtomicUsize>,
    /// The most messages that the broker lets this worker hold unacked.
    prefetch: Arc<AtomicUsize>,
}

impl Session {
    pub(crate) fn new(
        number: u64,
        follows_loss: bool,
        channel: Channel,
        connection: Connection,
        node: Node,
    ) -> Self {
        let (connection, node) = (Arc::new(connection), Arc::new(node));
        let (held, prefetch) = (Arc::default(), Arc::default());
        let opened = Instant::now();
        Self { number, opened, follows_loss, channel, connection, node, held, prefetch }
    }

    pub(crate) fn follows_loss(&self) -> bool {
        self.follows_loss
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Records a new prefetch.
    pub(crate) fn set_prefetch(&self, prefetch: u16) {
        self.prefetch.store(prefetch.into(), Ordering::Relaxed);
    }

    /// How many settled deliveries may wait for a lower tag before they are acked alone: a quarter
    /// of the prefetch, so that the rest keeps the other fetches busy while one of them is slow. If
    /// deliveries are scarce, it is at most half of the free prefetch, since the broker counts a
    /// delivery until it is acked.
    fn max_pending(&self, is_scarce: bool) -> usize {
        let prefetch = self.prefetch.load(Ordering::Relaxed);
        let quarter = prefetch / 4;
        if is_scarce { quarter.min(prefetch.saturating_sub(self.held()) / 2) } else { quarter }
    }

    /// The number of deliveries that are not settled yet.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

enum Command {
    Open(Session),
    AckCommitted(Committed<Claim>),
    AckConfirmed(Confirmed<Claim>),
    Requeue(Claim),
    RequeueUnclaimed(Receipt),
}

/// Sends claims to the settler; cheap to clone. The settler ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct SettlerHandle {
    commands: mpsc::UnboundedSender<Command>,
}

impl SettlerHandle {
    /// Starts a new session. Receipts of earlier ones are void.
    pub(crate) fn open(&self, session: Session) {
        self.send(Command::Open(session));
    }

    /// Creates the receipt of a delivery.
    pub(crate) fn receipt(&self, session: &Session, tag: u64) -> Receipt {
        session.held.fetch_add(1, Ordering::Relaxed);
        Receipt { session: session.number, tag, delivered: Instant::now() }
    }

    /// Acks the messages of rows that are durable.
    pub(crate) fn committed(&self, proof: Committed<Claim>) {
        self.send(Command::AckCommitted(proof));
    }

    /// Acks a message whose republication is confirmed.
    pub(crate) fn confirmed(&self, proof: Confirmed<Claim>) {
        self.send(Command::AckConfirmed(proof));
    }

    /// Requeues a message without a result: another worker may take it.
    pub(crate) fn requeue(&self, claim: Claim) {
        self.send(Command::Requeue(claim));
    }

    /// Requeues a message that nobody has claimed.
    pub(crate) fn requeue_unclaimed(&self, receipt: Receipt) {
        self.send(Command::RequeueUnclaimed(receipt));
    }

    fn send(&self, command: Command) {
        // The settler outlives all handles.
        _ = self.commands.send(command);
    }
}

/// Creates a settler and its handle. The number of queued commands is bounded by the deliveries
/// that are out. `scarce`: the worker has free places and no task that could use them.
pub(crate) fn channel(metrics: Arc<Metrics>, scarce: Arc<AtomicBool>) -> (SettlerHandle, Settler) {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (early, traces) = (EarlyReceipts::default(), Vec::new());
    let settler = Settler { inbox, metrics, scarce, present: None, early, traces };
    (SettlerHandle { commands }, settler)
}

/// Settles claims.
pub(crate) struct Settler {
    inbox: mpsc::UnboundedReceiver<Command>,
    metrics: Arc<Metrics>,
    scarce: Arc<AtomicBool>,
    present: Option<(Session, Ledger)>,
    early: EarlyReceipts,
    /// Traces of the claims that are handled together. They end once the acks that are due have
    /// been sent.
    traces: Vec<Trace>,
}

impl Settler {
    /// Runs until every [`SettlerHandle`] is dropped, then sends the remaining acks and closes the
    /// connection.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::with_capacity(COMMANDS_AT_ONCE);
        loop {
            let wakes_at = self.present.as_ref().and_then(|(_, ledger)| ledger.wakes_at());
            let received = tokio::select! {
                received = self.inbox.recv_many(&mut commands, COMMANDS_AT_ONCE) => received,
                () = until(wakes_at) => usize::MAX,
            };
            if received == 0 {
                break;
            }
            #[cfg(feature = "simulation")]
            fetchline_store::planted::stall().await;
            let now = Instant::now();
            for command in commands.drain(..) {
                self.handle(command, now).await;
            }
            if let Some((session, ledger)) = &mut self.present {
                let max_pending = session.max_pending(self.scarce.load(Ordering::Relaxed));
                if !send_acks(session, ledger.due(now, max_pending)).await {
                    // Nothing can be settled before the next session.
                    self.present = None;
                }
            }
            self.traces.clear();
        }
        if let Some((session, mut ledger)) = self.present.take() {
            send_acks(&session, ledger.close(Instant::now())).await;
            // Closing waits for the broker's reply, so the acks have arrived. The broker
            // redelivers what is still out.
            let closing = session.connection.close(200, "drained".into());
            if !matches!(timeout(CLOSE_TIMEOUT, closing).await, Ok(Ok(()))) {
                debug!("the connection is already closed, or the broker does not answer");
            }
        }
    }

    async fn handle(&mut self, command: Command, now: Instant) {
        match command {
            Command::Open(session) => {
                let early = self.early.open(session.number);
                let ledger = Ledger::new(session.number, MAX_WAIT);
                self.present = Some((session, ledger));
                for (receipt, end) in early {
                    match end {
                        End::Ack => self.ack_receipt(receipt, now),
                        End::Requeue => self.requeue(receipt).await,
                    }
                }
            }
            Command::AckCommitted(proof) => {
                for claim in proof.into_receipts() {
                    self.ack(claim, now);
                }
            }
            Command::AckConfirmed(proof) => self.ack(proof.into_inner(), now),
            Command::Requeue(mut claim) => {
                self.end_trace(&mut claim, REQUEUED);
                for receipt in claim.into_receipts() {
                    self.requeue(receipt).await;
                }
            }
            Command::RequeueUnclaimed(receipt) => self.requeue(receipt).await,
        }
    }

    fn ack(&mut self, mut claim: Claim, now: Instant) {
        self.end_trace(&mut claim, "acked");
        #[cfg(feature = "simulation")]
        if let Some((session, _)) = &self.present
            && fetchline_store::planted::Fault::AckOnNewerChannel.is_planted()
        {
            claim.move_to(session.number);
        }
        for receipt in claim.into_receipts() {
            self.ack_receipt(receipt, now);
        }
    }

    fn ack_receipt(&mut self, receipt: Receipt, now: Instant) {
        let Some(receipt) = self.early.pass(receipt, End::Ack) else { return };
        let delivered = receipt.delivered;
        if let Some((session, ledger)) = &mut self.present
            && ledger.settle(receipt, now)
        {
            self.metrics.settled(now.saturating_duration_since(delivered));
            session.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records in the trace how the message ends. The ledger may delay the ack itself.
    fn end_trace(&mut self, claim: &mut Claim, how: &'static str) {
        let Some(trace) = claim.take_trace() else { return };
        trace.enter(Step::Settle);
        trace.settled(if claim.is_live() { how } else { "lost with its channel" });
        self.traces.push(*trace);
    }

    async fn requeue(&mut self, receipt: Receipt) {
        let Some(receipt) = self.early.pass(receipt, End::Requeue) else { return };
        if let Some((session, ledger)) = &mut self.present
            && let Some(tag) = ledger.requeue(receipt)
        {
            self.metrics.requeued();
            session.held.fetch_sub(1, Ordering::Relaxed);
            // Not multiple: lower tags may belong to fetches in flight.
            let options = BasicNackOptions { multiple: false, requeue: true };
            if let Err(error) = session.channel.basic_nack(tag, options).await {
                debug!(%error, "cannot requeue a message on a closed channel; it is redelivered");
            }
        }
    }
}

/// Sends acks, and returns whether the channel still works.
async fn send_acks(session: &Session, acks: Vec<Ack>) -> bool {
    for ack in acks {
        let (tag, multiple) = match ack {
            Ack::UpTo(tag) => (tag, true),
            Ack::One(tag) => (tag, false),
        };
        if let Err(error) = session.channel.basic_ack(tag, BasicAckOptions { multiple }).await {
            // The rows exist already, so the redeliveries are acked as duplicates.
            warn!(%error, "cannot ack messages; the broker redelivers them");
            return false;
        }
    }
    true
}
