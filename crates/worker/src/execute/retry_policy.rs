//! The retry policy: whether an attempt is final, retried, deferred, or given up.

use std::time::Duration;

use fetchline_queue::{DeferReason, FetchRequest, Task, Tier};
use fetchline_store::{Outcome, StoredFetch};

use crate::fetch::answer::Answer;
use crate::fetch::failure::Fault;
use crate::schedule::Deferral;

/// Statuses of transient failures. All others are final.
const TRANSIENT: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];
/// Statuses of a site that has not acted on the request.
const NOT_ACTED_ON: [u16; 2] = [429, 503];
/// How long a task waits for its host while the name servers answer for other hosts: those of the
/// host are probably down. A run with such a host has to end, too.
const HOST_PATIENCE: Duration = Duration::from_secs(3_600);
/// How long a task waits while the name servers answer for no host, or not for the proxy.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(86_400);
/// How long a task is deferred because its fetch failed after a wait for memory. After that, the
/// failure counts as one of the site.
const DELAYED_PATIENCE: Duration = Duration::from_secs(86_400);
/// A longer wait takes the longest delay.
const MAX_WAIT: Duration = Duration::from_secs(100 * 86_400);

/// Decides what follows an attempt.
#[derive(Clone, Debug)]
pub(crate) struct RetryPolicy {
    /// The retry queues: attempt n waits in the n-th tier, and the last one repeats. Never empty.
    pub(crate) delays: Vec<Tier>,
    /// Attempts of a task, the first one included.
    pub(crate) max_attempts: u32,
    /// The delays of deferred tasks.
    pub(crate) deferral: Deferral,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is recorded, and the message is acked.
    Final,
    /// It is not recorded. The next attempt waits in this tier.
    Retry(Tier),
    /// It is recorded, and the message becomes a dead letter.
    GiveUp,
    /// It is not recorded, and waits in this tier. The attempt does not count, since the worker may
    /// be why it failed.
    Defer(Tier, DeferReason),
}

impl RetryPolicy {
    pub(crate) fn decide(&self, task: &Task, answer: &Answer) -> Decision {
        if !is_transient(answer.outcome, answer.status) {
            return Decision::Final;
        }
        if !may_repeat(&task.request, answer) {
            return Decision::GiveUp;
        }
        if let Some((reason, patience)) = shortage(answer) {
            if let Some(tier) = self.deferral(task, reason, patience) {
                return Decision::Defer(tier, reason);
            }
            // The name servers have never answered, so there was no attempt. A site that was
            // delayed has had one.
            if answer.fault.is_not_of_site() {
                return Decision::GiveUp;
            }
        }
        if task.attempt >= self.max_attempts {
            return Decision::GiveUp;
        }
        self.tier(task.attempt, answer.retry_after).map_or(Decision::GiveUp, Decision::Retry)
    }

    /// Defers a task, each time for twice as long as before for the same reason, for at least
    /// `patience` in all. `None` once that is over.
    fn deferral(&self, task: &Task, reason: DeferReason, patience: Duration) -> Option<Tier> {
        let shortest = self.deferral.shortest();
        let tier = |before: u32| {
            let wait = shortest.saturating_mul(2_u32.saturating_pow(before));
            self.deferral.for_wait(wait.min(MAX_WAIT), before)
        };
        let before = task.deferred_for(reason);
        let mut waited = Duration::ZERO;
        let is_over = patience < Duration::MAX
            && (0..before).any(|nth| {
                waited = waited.saturating_add(tier(nth).delay());
                waited >= patience
            });
        (!is_over).then(|| tier(before))
    }

    /// The tier of an attempt, or a longer one where the site asks for more time: the shortest that
    /// is long enough, else the longest.
    fn tier(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Tier> {
        let index = (attempt.max(1) as usize - 1).min(self.delays.len().checked_sub(1)?);
        let own = *self.delays.get(index)?;
        let Some(requested) = retry_after else { return Some(own) };
        let longest = self.delays.iter().max().copied();
        let enough = self.delays.iter().filter(|tier| tier.delay() >= requested).min().copied();
        enough.or(longest).map(|tier| tier.max(own))
    }
}

/// What the worker lacked, if that may be why the fetch failed, and how long the task waits for it.
fn shortage(answer: &Answer) -> Option<(DeferReason, Duration)> {
    match answer.fault {
        // Nothing of the site can cause these three. Memory suffices for any body within the limit.
        Fault::NoSockets => Some((DeferReason::Sockets, Duration::MAX)),
        Fault::Crowded => Some((DeferReason::Lookups, Duration::MAX)),
        Fault::NoMemory => Some((DeferReason::Memory, Duration::MAX)),
        // A site may be slow enough to fail at any time, and its own tasks may hold the memory.
        Fault::Site | Fault::Unprocessed if answer.delayed_by_memory => {
            Some((DeferReason::Memory, DELAYED_PATIENCE))
        }
        Fault::NameServers | Fault::Unanswered | Fault::Proxy => {
            Some((DeferReason::Dns, OUTAGE_PATIENCE))
        }
        Fault::HostUnanswered => Some((DeferReason::Host, HOST_PATIENCE)),
        Fault::Site | Fault::Unprocessed => None,
    }
}

/// Whether another attempt may succeed.
fn is_transient(outcome: Outcome, status: Option<u16>) -> bool {
    match outcome {
        Outcome::Timeout | Outcome::Dns | Outcome::Connect | Outcome::Tls | Outcome::Protocol => {
            true
        }
        Outcome::HttpError => status.is_some_and(|status| TRANSIENT.contains(&status)),
        Outcome::Ok
        | Outcome::Unchanged
        | Outcome::Redirect
        | Outcome::TooLarge
        | Outcome::Decode
        | Outcome::Blocked
        | Outcome::Robots
        | Outcome::Cancelled
        | Outcome::Refused
        | Outcome::Poison => false,
    }
}

/// Whether the request may be sent again: it is safe to repeat, or the site has not acted on it.
fn may_repeat(request: &FetchRequest, answer: &Answer) -> bool {
    if request.is_safe_to_repeat() {
        return true;
    }
    // A site that redirects has acted on the request.
    if answer.redirected_to.is_some() {
        return false;
    }
    if answer.fault.is_before_request() {
        return true;
    }
    match answer.outcome {
        Outcome::Dns | Outcome::Connect | Outcome::Tls => true,
        Outcome::HttpError => answer.status.is_some_and(|status| NOT_ACTED_ON.contains(&status)),
        Outcome::Ok
        | Outcome::Unchanged
        | Outcome::Redirect
        | Outcome::Timeout
        | Outcome::Protocol
        | Outcome::TooLarge
        | Outcome::Decode
        | Outcome::Blocked
        | Outcome::Robots
        | Outcome::Cancelled
        | Outcome::Refused
        | Outcome::Poison => false,
    }
}

/// What the row of a task means for a delivery that may be a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    /// The task needs nothing more.
    Final,
    /// The task was given up with this outcome, and its dead letter may be missing.
    GivenUp(Outcome),
    /// The row is older than the replay that this delivery belongs to.
    Outdated,
}

/// The state of a task that has a row.
pub(crate) fn row_state(task: &Task, known: &StoredFetch) -> RowState {
    let given_up = known.outcome.filter(|outcome| {
        matches!(outcome, Outcome::Refused | Outcome::Poison)
            || is_transient(*outcome, known.status)
    });
    match (given_up, task.failed_at) {
        (None, _) => RowState::Final,
        (_, Some(failed_at)) if known.fetched_at <= failed_at => RowState::Outdated,
        (Some(outcome), _) => RowState::GivenUp(outcome),
    }
}

#[cfg(test)]
mod tests;
