//! The retry policy: whether an answer is final, is tried again later, or ends the tries.

use std::time::Duration;

use fetchline_queue::{DeferReason, Order, Task, Tier};
use fetchline_store::{Known, Outcome};
use http::Method;

use super::answer::Answer;

/// Statuses that may be another one later. All others are results.
const PASSING: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];
/// Statuses that say that the request was not acted on.
const NOT_ACTED_ON: [u16; 2] = [429, 503];
/// The header that makes any request safe to repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A task that was deferred for our memory this often in a row is decided on all the same: it might be deferred for ever.
const HINDERED_AT_MOST: u32 = 10;

/// How failures are tried again.
#[derive(Clone, Debug)]
pub(crate) struct RetryPolicy {
    /// Attempt n waits in the n-th tier; the last one repeats. Never empty.
    pub(crate) delays: Vec<Tier>,
    /// Tries in all.
    pub(crate) max_attempts: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The answer is recorded, and the message is acked.
    Final,
    /// Nothing is recorded yet; the message waits in the tier.
    Retry(Tier),
    /// The answer is recorded, and the message goes to the dead letters.
    GiveUp,
    /// Nothing is recorded, the message waits for a while, and the try does not count: it may have failed for us.
    Defer,
}

impl RetryPolicy {
    pub(crate) fn decide(&self, task: &Task, answer: &Answer) -> Decision {
        if !may_pass(answer.outcome, answer.status) {
            return Decision::Final;
        }
        if !may_repeat(&task.order, answer) {
            return Decision::GiveUp;
        }
        if answer.hindered && task.deferred_for(DeferReason::Memory) < HINDERED_AT_MOST {
            return Decision::Defer;
        }
        if task.attempt >= self.max_attempts {
            return Decision::GiveUp;
        }
        self.tier(task.attempt, answer.retry_after).map_or(Decision::GiveUp, Decision::Retry)
    }

    /// Where a task waits that has no turn for about so long: in the tier that is nearest to it.
    pub(crate) fn nearest(&self, wait: Duration) -> Option<Tier> {
        self.delays.iter().min_by_key(|tier| tier.delay().abs_diff(wait)).copied()
    }

    /// The later of the attempt's own tier and the first that is long enough; the longest where none is.
    fn tier(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Tier> {
        let index = (attempt.max(1) as usize - 1).min(self.delays.len().checked_sub(1)?);
        let own = *self.delays.get(index)?;
        let Some(asked) = retry_after else { return Some(own) };
        let longest = self.delays.iter().max().copied();
        let enough = self.delays.iter().filter(|tier| tier.delay() >= asked).min().copied();
        enough.or(longest).map(|tier| tier.max(own))
    }
}

/// Whether a failure may be over when it is tried again.
fn may_pass(outcome: Outcome, status: Option<u16>) -> bool {
    match outcome {
        Outcome::Timeout | Outcome::Dns | Outcome::Connect | Outcome::Tls | Outcome::Protocol => true,
        Outcome::HttpError => status.is_some_and(|status| PASSING.contains(&status)),
        _ => false,
    }
}

/// Whether the request may be sent any number of times.
pub(crate) fn is_safe_to_repeat(order: &Order) -> bool {
    matches!(order.method, Method::GET | Method::HEAD | Method::OPTIONS) || order.headers.contains_key(IDEMPOTENCY_KEY)
}

/// Whether the request may be sent again: it is safe to repeat, or the site has not acted on it.
fn may_repeat(order: &Order, answer: &Answer) -> bool {
    if is_safe_to_repeat(order) {
        return true;
    }
    // A site that redirects has acted on the request, whatever comes after.
    if answer.redirected_to.is_some() {
        return false;
    }
    matches!(answer.outcome, Outcome::Dns | Outcome::Connect | Outcome::Tls)
        || (answer.outcome == Outcome::HttpError && answer.status.is_some_and(|status| NOT_ACTED_ON.contains(&status)))
}

/// What a row that is there already means for a copy of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It needs nothing more.
    Done,
    /// Its dead letter may be missing.
    GivenUp,
    /// It is from before the message was given up and put back to work.
    Outdated,
}

/// What the row of a task means for a delivery that may be a duplicate.
pub(crate) fn seen(task: &Task, known: &Known) -> Seen {
    let given_up = match known.outcome {
        Some(Outcome::Refused | Outcome::Poison) => true,
        Some(outcome) => may_pass(outcome, known.status),
        None => false,
    };
    match task.failed_at {
        _ if !given_up => Seen::Done,
        Some(failed_at) if known.fetched_at <= failed_at => Seen::Outdated,
        _ => Seen::GivenUp,
    }
}

#[cfg(test)]
mod tests {
    use fetchline_queue::{Address, Key};
    use time::OffsetDateTime;

    use super::*;

    fn tier(seconds: u64) -> Tier {
        Tier::of(Duration::from_secs(seconds)).unwrap()
    }

    fn policy() -> RetryPolicy {
        RetryPolicy { delays: vec![tier(10), tier(60), tier(600)], max_attempts: 4 }
    }

    fn task(method: Method, attempt: u32) -> Task {
        let order = Order { method, ..Order::get(Address::parse("http://a.example/").unwrap()) };
        let key = Key::of("run", "part", &order, 0);
        Task { attempt, ..Task::new(order, "run".to_owned(), "part".to_owned(), key) }
    }

    fn answer(outcome: Outcome, status: Option<u16>, retry_after_s: Option<u64>) -> Answer {
        let retry_after = retry_after_s.map(Duration::from_secs);
        Answer { status, retry_after, ..Answer::without(outcome, String::new()) }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_all_else_is_a_result() {
        use Outcome::{Blocked, Connect, Decode, Dns, HttpError, Ok, Protocol, Redirect, Timeout, Tls, TooLarge};
        let decide = |outcome, status| policy().decide(&task(Method::GET, 1), &answer(outcome, status, None));
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(decide(HttpError, Some(status)), Decision::Retry(tier(10)), "{status}");
        }
        for status in [400, 401, 403, 404, 410, 418, 451, 501] {
            assert_eq!(decide(HttpError, Some(status)), Decision::Final, "{status}");
        }
        for outcome in [Timeout, Dns, Connect, Tls, Protocol] {
            assert_eq!(decide(outcome, None), Decision::Retry(tier(10)), "{outcome}");
        }
        for outcome in [Ok, Redirect, Blocked, TooLarge, Decode] {
            assert_eq!(decide(outcome, Some(200)), Decision::Final, "{outcome}");
        }
    }

    #[test]
    fn tries_wait_longer_and_longer_and_end() {
        let decide = |attempt| policy().decide(&task(Method::GET, attempt), &answer(Outcome::Timeout, None, None));
        assert_eq!(decide(1), Decision::Retry(tier(10)));
        assert_eq!(decide(2), Decision::Retry(tier(60)));
        assert_eq!(decide(3), Decision::Retry(tier(600)));
        assert_eq!(decide(4), Decision::GiveUp);
        assert_eq!(decide(5), Decision::GiveUp);
        let patient = RetryPolicy { max_attempts: 9, ..policy() };
        let fifth = patient.decide(&task(Method::GET, 5), &answer(Outcome::Timeout, None, None));
        assert_eq!(fifth, Decision::Retry(tier(600)));
    }

    #[test]
    fn a_site_that_asks_for_time_gets_at_least_that_where_there_is_such_a_tier() {
        let decide = |attempt, asked| {
            policy().decide(&task(Method::GET, attempt), &answer(Outcome::HttpError, Some(429), Some(asked)))
        };
        assert_eq!(decide(1, 5), Decision::Retry(tier(10)));
        assert_eq!(decide(1, 11), Decision::Retry(tier(60)));
        assert_eq!(decide(1, 86_400), Decision::Retry(tier(600)));
        assert_eq!(decide(2, 5), Decision::Retry(tier(60)));
    }

    #[test]
    fn what_waits_for_its_host_waits_in_the_nearest_tier_and_a_paused_hosts_in_the_longest() {
        let nearest = |seconds| policy().nearest(Duration::from_secs(seconds));
        assert_eq!((nearest(20), nearest(50)), (Some(tier(10)), Some(tier(60))));
        assert_eq!((nearest(500), policy().nearest(Duration::MAX)), (Some(tier(600)), Some(tier(600))));
    }

    #[test]
    fn what_is_not_safe_to_repeat_is_repeated_only_when_nothing_can_have_happened() {
        let decide = |task: &Task, outcome, status| policy().decide(task, &answer(outcome, status, None));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let unsafe_task = task(method.clone(), 1);
            for (outcome, status) in [
                (Outcome::Connect, None),
                (Outcome::Dns, None),
                (Outcome::HttpError, Some(429)),
                (Outcome::HttpError, Some(503)),
            ] {
                assert_eq!(decide(&unsafe_task, outcome, status), Decision::Retry(tier(10)), "{method} {outcome}");
            }
            for (outcome, status) in
                [(Outcome::Timeout, None), (Outcome::Protocol, None), (Outcome::HttpError, Some(500))]
            {
                assert_eq!(decide(&unsafe_task, outcome, status), Decision::GiveUp, "{method} {outcome}");
            }
            let redirected_to = Some(unsafe_task.order.address.clone());
            let redirected = Answer { redirected_to, ..answer(Outcome::HttpError, Some(503), None) };
            assert_eq!(policy().decide(&unsafe_task, &redirected), Decision::GiveUp, "{method} acted on");
            let mut keyed = unsafe_task;
            keyed.order.headers.insert(IDEMPOTENCY_KEY, http::HeaderValue::from_static("17"));
            assert_eq!(decide(&keyed, Outcome::Timeout, None), Decision::Retry(tier(10)));
        }
    }

    #[test]
    fn a_copy_is_judged_by_the_row_of_its_task() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000);
        let known = |outcome, status| Known { outcome: Some(outcome), status, attempts: 4, fetched_at: now };
        let copy = task(Method::GET, 1);
        assert_eq!(seen(&copy, &known(Outcome::Ok, Some(200))), Seen::Done);
        assert_eq!(seen(&copy, &known(Outcome::HttpError, Some(404))), Seen::Done);
        assert_eq!(seen(&copy, &known(Outcome::TooLarge, Some(200))), Seen::Done);
        assert_eq!(seen(&copy, &known(Outcome::Blocked, None)), Seen::Done);
        for (outcome, status) in [
            (Outcome::HttpError, Some(500)),
            (Outcome::Timeout, None),
            (Outcome::Refused, Some(200)),
            (Outcome::Poison, None),
        ] {
            assert_eq!(seen(&copy, &known(outcome, status)), Seen::GivenUp, "{outcome}");
            let replayed = Task { failed_at: Some(now + Duration::from_secs(1)), ..copy.clone() };
            assert_eq!(seen(&replayed, &known(outcome, status)), Seen::Outdated, "{outcome}");
            let failed_anew = Task { failed_at: Some(now - Duration::from_secs(1)), ..copy.clone() };
            assert_eq!(seen(&failed_anew, &known(outcome, status)), Seen::GivenUp, "{outcome}");
        }
    }
}
