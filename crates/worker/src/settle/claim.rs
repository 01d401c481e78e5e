//! Claims on tasks: duplicate deliveries join the claim that is in progress.
//!
//! After a reconnect the broker redelivers what this worker is still fetching, or has fetched and
//! not committed yet. Such a duplicate adds its receipt to the claim, and all receipts of a claim
//! are settled together.

#[cfg(test)]
mod copy;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fetchline_queue::{Key, Task};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::memory_budget::MessageReservation;
use crate::observe::trace::{Step, Trace};

/// The right to settle a delivery. If it is dropped, the broker redelivers the message once the
/// channel has closed.
#[derive(Debug)]
#[must_use = "a dropped receipt means a redelivery"]
pub(crate) struct Receipt {
    /// The number of the session that received the delivery.
    pub(crate) session: u64,
    pub(crate) tag: u64,
    pub(crate) delivered: Instant,
}

/// Identifies one attempt of a task. Only a message of the same attempt is a duplicate: a retry, a
/// replay or a deferred task *replaces* its original, and may arrive while the original still
/// waits for its confirm. If it joined the claim, both would be acked and the task would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AttemptId {
    key: Key,
    attempt: u32,
    deferrals: u32,
    failed_at: Option<OffsetDateTime>,
}

/// The claims of this worker; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The attempts in progress, each with the receipts of its duplicates.
    attempts: Mutex<HashMap<AttemptId, Vec<Receipt>>>,
    /// The number of the session whose receipts can be settled; 0 for none.
    session: AtomicU64,
}

/// The right to settle every delivery of an attempt. If it is dropped, all are redelivered.
#[must_use = "a dropped claim means a redelivery"]
pub(crate) struct Claim {
    receipt: Option<Receipt>,
    /// `None` for a message without an id: each delivery of it is fetched.
    attempt: Option<AttemptId>,
    claims: Claims,
    /// Dropped when the claim ends.
    on_end: Option<oneshot::Sender<()>>,
    /// `None` if traces are off or this one is not sampled.
    trace: Option<Box<Trace>>,
    memory: Option<MessageReservation>,
}

impl Claims {
    /// Claims a task. Returns `None` if the delivery joins a claim in progress: nothing is left to
    /// do with it.
    pub(crate) fn claim(&self, task: &Task, receipt: Receipt) -> Option<Claim> {
        if task.message_id.is_none() {
            return Some(self.without_task(receipt));
        }
        let Task { key, attempt, deferrals, failed_at, .. } = *task;
        let attempt = AttemptId { key, attempt, deferrals, failed_at };
        match self.lock().entry(attempt) {
            Entry::Vacant(vacant) => {
                // An empty vector does not allocate.
                vacant.insert(Vec::new());
                Some(self.new_claim(receipt, Some(attempt)))
            }
            Entry::Occupied(mut duplicates) => {
                duplicates.get_mut().push(receipt);
                None
            }
        }
    }

    /// Records that only receipts of this session can be settled from now on.
    pub(crate) fn session_opened(&self, number: u64) {
        self.0.session.store(number, Ordering::Relaxed);
    }

    /// Records that the broker redelivers everything that is unsettled.
    pub(crate) fn session_lost(&self) {
        self.session_opened(0);
    }

    /// Claims a message that is not a task.
    pub(crate) fn without_task(&self, receipt: Receipt) -> Claim {
        self.new_claim(receipt, None)
    }

    fn new_claim(&self, receipt: Receipt, attempt: Option<AttemptId>) -> Claim {
        Claim {
            receipt: Some(receipt),
            attempt,
            claims: self.clone(),
            on_end: None,
            trace: None,
            memory: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, Vec<Receipt>>> {
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether the delivery or a duplicate of it can still be settled. If not, the message is
    /// redelivered, maybe to another worker, and a task that has not started should not start.
    pub(crate) fn is_live(&self) -> bool {
        let present = self.claims.0.session.load(Ordering::Relaxed);
        let is_live = |receipt: &Receipt| receipt.session == present;
        self.receipt.as_ref().is_some_and(is_live)
            || self.attempt.is_some_and(|attempt| {
                let attempts = self.claims.lock();
                attempts.get(&attempt).is_some_and(|duplicates| duplicates.iter().any(is_live))
            })
    }

    /// Whether the delivery itself can still be settled. If only a duplicate of it can, what was
    /// looked up for the delivery may be outdated.
    pub(crate) fn is_of_present_session(&self) -> bool {
        let present = self.claims.0.session.load(Ordering::Relaxed);
        self.receipt.as_ref().is_some_and(|receipt| receipt.session == present)
    }

    /// Moves the receipt to another session.
    #[cfg(feature = "simulation")]
    pub(crate) fn move_to(&mut self, session: u64) {
        if let Some(receipt) = &mut self.receipt {
            receipt.session = session;
        }
    }

    /// Returns a receiver that closes when the claim ends, whether it is settled or dropped.
    pub(crate) fn end_signal(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.on_end = Some(sender);
        receiver
    }

    /// Attaches the memory of the message, which is held until the claim ends.
    pub(crate) fn with_memory(mut self, memory: MessageReservation) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Attaches a trace.
    pub(crate) fn with_trace(mut self, trace: Option<Box<Trace>>) -> Self {
        self.trace = trace;
        self
    }

    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// Records in the trace, if there is one, that the task enters a step.
    pub(crate) fn enter(&self, step: Step) {
        if let Some(trace) = &self.trace {
            trace.enter(step);
        }
    }

    /// Detaches the trace, so that it outlives the claim.
    pub(crate) fn take_trace(&mut self) -> Option<Box<Trace>> {
        self.trace.take()
    }

    /// Ends the claim and returns the receipts of the delivery and of its duplicates.
    pub(crate) fn into_receipts(mut self) -> impl Iterator<Item = Receipt> {
        self.receipt.take().into_iter().chain(self.remove_duplicates())
    }

    fn remove_duplicates(&mut self) -> Vec<Receipt> {
        let attempt = self.attempt.take();
        #[cfg(feature = "simulation")]
        if fetchline_store::planted::Fault::DuplicateLost.is_planted() {
            _ = attempt.and_then(|attempt| self.claims.lock().remove(&attempt));
            return Vec::new();
        }
        attempt.and_then(|attempt| self.claims.lock().remove(&attempt)).unwrap_or_default()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.remove_duplicates());
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("receipt", &self.receipt)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, FetchRequest};

    use super::*;

    fn receipt(session: u64, tag: u64) -> Receipt {
        Receipt { session, tag, delivered: Instant::now() }
    }

    fn task(path: &str) -> Task {
        let request =
            FetchRequest::get(Address::parse(&format!("http://a.example/{path}")).unwrap());
        let key = Key::of_other_program("run", request.address.as_str());
        Task::new(request, "run".to_owned(), "part".to_owned(), key)
    }

    #[test]
    fn a_duplicate_delivery_joins_the_claim_in_progress() {
        let claims = Claims::default();
        let first = claims.claim(&task("1"), receipt(1, 1)).unwrap();
        assert!(claims.claim(&task("1"), receipt(2, 1)).is_none());
        let other = claims.claim(&task("2"), receipt(2, 2)).unwrap();
        assert_eq!(first.into_receipts().count(), 2);
        assert_eq!(other.into_receipts().count(), 1);
        // The claim has ended, so the next duplicate delivery takes a new one.
        assert!(claims.claim(&task("1"), receipt(2, 3)).is_some());
    }

    #[test]
    fn a_claim_is_live_with_the_session_of_its_receipt_or_of_a_duplicate() {
        let claims = Claims::default();
        claims.session_opened(1);
        let claim = claims.claim(&task("1"), receipt(1, 1)).unwrap();
        assert!(claim.is_live() && claim.is_of_present_session());
        claims.session_lost();
        assert!(!claim.is_live());
        claims.session_opened(2);
        assert!(!claim.is_live());
        assert!(claims.claim(&task("1"), receipt(2, 1)).is_none());
        assert!(claim.is_live() && !claim.is_of_present_session());
    }

    #[test]
    fn a_message_that_replaces_another_does_not_join_its_claim() {
        let claims = Claims::default();
        let first = claims.claim(&task("1"), receipt(1, 1));
        let retry = Task { attempt: 2, ..task("1") };
        let replay = Task { failed_at: Some(OffsetDateTime::UNIX_EPOCH), ..task("1") };
        let deferred = Task { deferrals: 1, ..task("1") };
        assert!(first.is_some());
        assert!(
            claims
                .claim(&retry, receipt(1, 2))
                .is_some_and(|claim| claim.into_receipts().count() == 1)
        );
        assert!(claims.claim(&replay, receipt(1, 3)).is_some());
        assert!(claims.claim(&deferred, receipt(1, 4)).is_some());
    }

    #[test]
    fn a_dropped_claim_leaves_nothing_behind() {
        let claims = Claims::default();
        drop(claims.claim(&task("1"), receipt(1, 1)));
        assert!(claims.lock().is_empty());
    }

    #[test]
    fn messages_without_an_id_never_join() {
        let claims = Claims::default();
        let without_id = Task { message_id: None, ..task("1") };
        let first = claims.claim(&without_id, receipt(1, 1));
        assert!(first.is_some() && claims.claim(&without_id, receipt(1, 2)).is_some());
    }
}
