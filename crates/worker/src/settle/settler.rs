//! The only place where messages are settled.
//!
//! What may be acked arrives here as proof: [`Committed`] from the store, or [`Confirmed`] from the broker. Nothing else
//! opens this door. A ledger belongs to a channel and dies with it: a late result of an older channel is committed like
//! any other, and is not acked, since its tag would mean another message on the new channel.
#![expect(clippy::disallowed_methods, reason = "this is the one file that acks, nacks and rejects")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fetchline_queue::Confirmed;
use fetchline_store::Committed;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::claim::{Claim, Receipt};
use super::ledger::{Ack, Ledger};
use crate::job::{Finished, Job};
use crate::meters::Meters;
use crate::trace::{Step, Trace};

/// How long a settled delivery may wait for a lower one that is still out, before it is acked on its own.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How long the broker may take to answer that the connection is closed.
const CLOSING: Duration = Duration::from_secs(5);
/// Notes that are taken together: the more, the fewer acks.
const NOTES_AT_ONCE: usize = 1024;

/// A channel on which deliveries come in.
#[derive(Clone)]
pub(crate) struct Session {
    /// Numbers the sessions of this worker.
    number: u64,
    channel: Channel,
    connection: Arc<Connection>,
    /// Deliveries that are not settled yet.
    held: Arc<AtomicUsize>,
    /// How many the broker lets us hold unacked.
    prefetch: Arc<AtomicUsize>,
}

impl Session {
    pub(crate) fn new(number: u64, channel: Channel, connection: Arc<Connection>) -> Self {
        Self { number, channel, connection, held: Arc::default(), prefetch: Arc::default() }
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

    /// The broker lets us hold so many unacked from now on.
    pub(crate) fn set_prefetch(&self, prefetch: u16) {
        self.prefetch.store(prefetch.into(), Ordering::Relaxed);
    }

    /// How many settled deliveries may wait for a lower one before they are acked on their own. A quarter of the
    /// prefetch: the rest keeps the fetches busy while one of them is slow. Where deliveries are `scarce`, half of what is
    /// free of the prefetch, since the broker counts them until they are acked.
    fn may_wait(&self, scarce: bool) -> usize {
        let prefetch = self.prefetch.load(Ordering::Relaxed);
        let quarter = prefetch / 4;
        if scarce { quarter.min(prefetch.saturating_sub(self.held()) / 2) } else { quarter }
    }

    /// Deliveries that are not settled yet.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

enum Note {
    Opened(Session),
    Committed(Committed<Finished>),
    Duplicates(Committed<Box<Job>>),
    Confirmed(Confirmed<Claim>),
    Requeued(Claim),
    Unclaimed(Receipt),
}

/// Brings receipts to the place where they are settled; cheap to clone. When the last one is dropped, settling ends.
#[derive(Clone)]
pub(crate) struct Settle {
    notes: mpsc::UnboundedSender<Note>,
}

impl Settle {
    /// A new channel: earlier receipts are void.
    pub(crate) fn opened(&self, session: Session) {
        self.note(Note::Opened(session));
    }

    /// The receipt of a delivery.
    pub(crate) fn receipt(&self, session: &Session, tag: u64) -> Receipt {
        session.held.fetch_add(1, Ordering::Relaxed);
        Receipt { channel: session.number, tag, delivered: Instant::now() }
    }

    /// Rows are durable: their messages are acked.
    pub(crate) fn committed(&self, proof: Committed<Finished>) {
        self.note(Note::Committed(proof));
    }

    /// The rows were durable already: the copies of their messages are acked.
    pub(crate) fn duplicates(&self, proof: Committed<Box<Job>>) {
        self.note(Note::Duplicates(proof));
    }

    /// The broker has the message that replaces this one: it is acked.
    pub(crate) fn confirmed(&self, proof: Confirmed<Claim>) {
        self.note(Note::Confirmed(proof));
    }

    /// Nothing came of the message: another worker may have it.
    pub(crate) fn requeue(&self, claim: Claim) {
        self.note(Note::Requeued(claim));
    }

    /// Nothing was begun with the message: another worker may have it.
    pub(crate) fn requeue_unclaimed(&self, receipt: Receipt) {
        self.note(Note::Unclaimed(receipt));
    }

    fn note(&self, note: Note) {
        // The other end lives until every sender is gone.
        _ = self.notes.send(note);
    }
}

/// The two ends of settling. There are never more notes under way than deliveries that are out.
/// `scarce` says whether the worker has free places and no task that it could fetch.
pub(crate) fn channel(meters: Arc<Meters>, scarce: Arc<AtomicBool>) -> (Settle, Settling) {
    let (notes, inbox) = mpsc::unbounded_channel();
    (Settle { notes }, Settling { inbox, meters, scarce, present: None, traces: Vec::new() })
}

/// Settles what it is told to, until nobody is left who could tell.
pub(crate) struct Settling {
    inbox: mpsc::UnboundedReceiver<Note>,
    meters: Arc<Meters>,
    scarce: Arc<AtomicBool>,
    present: Option<(Session, Ledger)>,
    /// Of what was settled just now: they end when what is due has been sent.
    traces: Vec<Trace>,
}

impl Settling {
    /// Runs until every [`Settle`] is dropped, acks what is still to be acked, and closes the connection.
    pub(crate) async fn run(mut self) {
        let mut notes = Vec::with_capacity(NOTES_AT_ONCE);
        loop {
            let patience_ends = self.present.as_ref().and_then(|(_, ledger)| ledger.patience_ends());
            let received = tokio::select! {
                received = self.inbox.recv_many(&mut notes, NOTES_AT_ONCE) => received,
                () = until(patience_ends) => usize::MAX,
            };
            if received == 0 {
                break;
            }
            let now = Instant::now();
            for note in notes.drain(..) {
                self.take(note, now).await;
            }
            if let Some((session, ledger)) = &mut self.present
                && !send(session, ledger.due(now, session.may_wait(self.scarce.load(Ordering::Relaxed)))).await
            {
                // Nothing more can be settled before there is another channel.
                self.present = None;
            }
            self.traces.clear();
        }
        if let Some((session, mut ledger)) = self.present.take() {
            send(&session, ledger.close(Instant::now())).await;
            // Closing waits for the broker's answer, so the acks have arrived. Whatever is still out comes back.
            let closing = session.connection.close(200, "drained".into());
            if !matches!(timeout(CLOSING, closing).await, Ok(Ok(()))) {
                debug!("the connection was closed already, or the broker does not answer");
            }
        }
    }

    async fn take(&mut self, note: Note, now: Instant) {
        match note {
            Note::Opened(session) => self.present = Some((session, Ledger::new(MAX_WAIT))),
            Note::Committed(proof) => {
                for finished in proof.into_receipts() {
                    self.settle(finished.claim, now);
                }
            }
            Note::Duplicates(proof) => {
                for job in proof.into_receipts() {
                    self.settle(job.claim, now);
                }
            }
            Note::Confirmed(proof) => self.settle(proof.into_inner(), now),
            Note::Requeued(mut claim) => {
                self.end_trace(&mut claim, "given back");
                for receipt in claim.into_receipts() {
                    self.requeue(receipt).await;
                }
            }
            Note::Unclaimed(receipt) => self.requeue(receipt).await,
        }
    }

    fn settle(&mut self, mut claim: Claim, now: Instant) {
        self.end_trace(&mut claim, "acked");
        for receipt in claim.into_receipts() {
            if let Some((session, ledger)) = &mut self.present
                && session.number == receipt.channel
            {
                self.meters.settled(now.saturating_duration_since(receipt.delivered));
                ledger.settle(receipt.tag, now);
                session.held.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Says how the message ends. An ack may wait for a lower tag for a while yet; that is the ledger's affair.
    fn end_trace(&mut self, claim: &mut Claim, how: &'static str) {
        let Some(trace) = claim.take_trace() else { return };
        trace.enter(Step::Settle);
        trace.settled(if claim.is_live() { how } else { "lost with its channel" });
        self.traces.push(*trace);
    }

    async fn requeue(&mut self, receipt: Receipt) {
        if let Some((session, ledger)) = &mut self.present
            && session.number == receipt.channel
        {
            self.meters.given_back();
            ledger.give_back(receipt.tag);
            session.held.fetch_sub(1, Ordering::Relaxed);
            // Not multiple: lower tags may be with a fetch.
            let options = BasicNackOptions { multiple: false, requeue: true };
            if let Err(error) = session.channel.basic_nack(receipt.tag, options).await {
                debug!(%error, "the channel was closed before a message was given back");
            }
        }
    }
}

/// Whether the channel is still there.
async fn send(session: &Session, acks: Vec<Ack>) -> bool {
    for ack in acks {
        let (tag, multiple) = match ack {
            Ack::UpTo(tag) => (tag, true),
            Ack::One(tag) => (tag, false),
        };
        if let Err(error) = session.channel.basic_ack(tag, BasicAckOptions { multiple }).await {
            // The messages come back; their rows are there already.
            warn!(%error, "messages could not be acked, and will be delivered again");
            return false;
        }
    }
    true
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
