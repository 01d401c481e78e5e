//! Who works on which task: copies of a message join the work that is under way.
//!
//! After a reconnect the broker delivers again what this worker is still fetching, or has fetched and not committed yet.
//! Such a copy brings its receipt to the claim that exists, and both are settled together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fetchline_queue::{Key, Task};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::budget::MessageMemory;
use crate::trace::{Step, Trace};

/// The right to have a delivery settled. Dropping it means that the broker delivers the message again, when its channel
/// has ended.
#[derive(Debug)]
#[must_use = "dropping a receipt means that the message comes back"]
pub(crate) struct Receipt {
    /// The number of the session that it came in.
    pub(crate) channel: u64,
    pub(crate) tag: u64,
    pub(crate) delivered: Instant,
}

/// One try of a task. Only a message of the same try is a copy: a retry, a replay, or one that was put off *replaces* the message that it came
/// from, and may arrive while that one still waits for its confirm. Were it to join, both would be acked, and nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Try {
    key: Key,
    attempt: u32,
    parked: u32,
    failed_at: Option<OffsetDateTime>,
}

/// The tries that this worker is at work on, with the receipts of their copies; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tries: Mutex<HashMap<Try, Vec<Receipt>>>,
    /// The number of the session whose receipts can be settled; 0 for none.
    session: AtomicU64,
}

/// The right to settle every delivery of a task. Dropping it means that they all come back.
#[must_use = "dropping a claim means that the message comes back"]
pub(crate) struct Claim {
    receipt: Option<Receipt>,
    /// `None` for a message without an id: typed twice, it is fetched twice.
    this: Option<Try>,
    claims: Claims,
    /// Dropped when the claim ends, for the one who waits for that.
    ends: Option<oneshot::Sender<()>>,
    /// Absent where nobody wants to see it.
    trace: Option<Box<Trace>>,
    /// The memory of the message.
    memory: Option<MessageMemory>,
}

impl Claims {
    /// Claims a task, or joins the claim that exists: then there is nothing left to do with this delivery.
    pub(crate) fn take(&self, task: &Task, receipt: Receipt) -> Option<Claim> {
        if task.message_id.is_none() {
            return Some(self.without_task(receipt));
        }
        let Task { key, attempt, parked, failed_at, .. } = *task;
        let this = Try { key, attempt, parked, failed_at };
        match self.lock().entry(this) {
            Entry::Vacant(free) => {
                // No allocation while there is no copy.
                free.insert(Vec::new());
                Some(self.claim(receipt, Some(this)))
            }
            Entry::Occupied(mut taken) => {
                taken.get_mut().push(receipt);
                None
            }
        }
    }

    /// From now on only receipts of this session can be settled.
    pub(crate) fn session_begins(&self, number: u64) {
        self.0.session.store(number, Ordering::Relaxed);
    }

    /// Whatever came in so far is delivered again, here or elsewhere.
    pub(crate) fn session_is_lost(&self) {
        self.session_begins(0);
    }

    /// The claim on a message that is no task.
    pub(crate) fn without_task(&self, receipt: Receipt) -> Claim {
        self.claim(receipt, None)
    }

    fn claim(&self, receipt: Receipt, this: Option<Try>) -> Claim {
        Claim { receipt: Some(receipt), this, claims: self.clone(), ends: None, trace: None, memory: None }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Try, Vec<Receipt>>> {
        self.0.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether the delivery or a copy of it can still be settled. Where none can, the message is delivered again, maybe to
    /// another worker: what has not been begun is better left.
    pub(crate) fn is_live(&self) -> bool {
        let present = self.claims.0.session.load(Ordering::Relaxed);
        let of_session = |receipt: &Receipt| receipt.channel == present;
        self.receipt.as_ref().is_some_and(of_session)
            || self
                .this
                .is_some_and(|this| self.claims.lock().get(&this).is_some_and(|copies| copies.iter().any(of_session)))
    }

    /// Ends when the claim does, whether it is settled or dropped.
    pub(crate) fn end_of(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.ends = Some(sender);
        receiver
    }

    /// The memory of the message is held until the claim ends.
    pub(crate) fn with_memory(mut self, memory: MessageMemory) -> Self {
        self.memory = Some(memory);
        self
    }

    /// From here on it is traced what becomes of the task.
    pub(crate) fn traced(mut self, trace: Option<Box<Trace>>) -> Self {
        self.trace = trace;
        self
    }

    /// The trace, where there is one.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// Where there is a trace, it enters this step.
    pub(crate) fn enter(&self, step: Step) {
        if let Some(trace) = &self.trace {
            trace.enter(step);
        }
    }

    /// Takes the trace out, so that it goes on beyond the end of the claim.
    pub(crate) fn take_trace(&mut self) -> Option<Box<Trace>> {
        self.trace.take()
    }

    /// Ends the claim: the receipts of the delivery and of the copies that joined it.
    pub(crate) fn into_receipts(mut self) -> impl Iterator<Item = Receipt> {
        self.receipt.take().into_iter().chain(self.end())
    }

    fn end(&mut self) -> Vec<Receipt> {
        self.this.take().and_then(|this| self.claims.lock().remove(&this)).unwrap_or_default()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("receipt", &self.receipt).field("this", &self.this).finish()
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, Order};

    use super::*;

    fn receipt(channel: u64, tag: u64) -> Receipt {
        Receipt { channel, tag, delivered: Instant::now() }
    }

    fn task(path: &str) -> Task {
        let order = Order::get(Address::parse(&format!("http://a.example/{path}")).unwrap());
        let key = Key::of("run", "part", &order, 0);
        Task::new(order, "run".to_owned(), "part".to_owned(), key)
    }

    #[test]
    fn a_copy_joins_the_work_that_is_under_way() {
        let claims = Claims::default();
        let first = claims.take(&task("1"), receipt(1, 1)).unwrap();
        assert!(claims.take(&task("1"), receipt(2, 1)).is_none());
        let other = claims.take(&task("2"), receipt(2, 2)).unwrap();
        assert_eq!(first.into_receipts().count(), 2);
        assert_eq!(other.into_receipts().count(), 1);
        // The work is done: the next copy begins anew.
        assert!(claims.take(&task("1"), receipt(2, 3)).is_some());
    }

    #[test]
    fn a_claim_lives_with_the_session_of_its_receipt_or_of_a_copy() {
        let claims = Claims::default();
        claims.session_begins(1);
        let claim = claims.take(&task("1"), receipt(1, 1)).unwrap();
        assert!(claim.is_live());
        claims.session_is_lost();
        assert!(!claim.is_live());
        claims.session_begins(2);
        assert!(!claim.is_live());
        assert!(claims.take(&task("1"), receipt(2, 1)).is_none());
        assert!(claim.is_live());
    }

    #[test]
    fn what_replaces_a_message_does_not_join_it() {
        let claims = Claims::default();
        let first = claims.take(&task("1"), receipt(1, 1));
        let retry = Task { attempt: 2, ..task("1") };
        let replay = Task { failed_at: Some(OffsetDateTime::UNIX_EPOCH), ..task("1") };
        let parked = Task { parked: 1, ..task("1") };
        assert!(first.is_some());
        assert!(claims.take(&retry, receipt(1, 2)).is_some_and(|claim| claim.into_receipts().count() == 1));
        assert!(claims.take(&replay, receipt(1, 3)).is_some());
        assert!(claims.take(&parked, receipt(1, 4)).is_some());
    }

    #[test]
    fn a_claim_that_is_dropped_leaves_nothing_behind() {
        let claims = Claims::default();
        drop(claims.take(&task("1"), receipt(1, 1)));
        assert!(claims.lock().is_empty());
    }

    #[test]
    fn messages_without_an_id_never_join() {
        let claims = Claims::default();
        let typed = Task { message_id: None, ..task("1") };
        let first = claims.take(&typed, receipt(1, 1));
        assert!(first.is_some() && claims.take(&typed, receipt(1, 2)).is_some());
    }
}
