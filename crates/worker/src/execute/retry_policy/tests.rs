use fetchline_queue::dead::Filter;
use fetchline_queue::{Address, DeferCounts, Key};
use http::Method;
use time::OffsetDateTime;

use super::*;

fn tier(seconds: u64) -> Tier {
    Tier::of(Duration::from_secs(seconds)).unwrap()
}

fn policy() -> RetryPolicy {
    let delays = vec![tier(10), tier(60), tier(600)];
    RetryPolicy { deferral: Deferral::new(&delays), delays, max_attempts: 4 }
}

fn task(method: Method, attempt: u32) -> Task {
    let request =
        FetchRequest { method, ..FetchRequest::get(Address::parse("http://a.example/").unwrap()) };
    let key = Key::of_other_program("run", request.address.as_str());
    Task { attempt, ..Task::new(request, "run".to_owned(), "part".to_owned(), key) }
}

fn answer(outcome: Outcome, status: Option<u16>, retry_after_s: Option<u64>) -> Answer {
    let retry_after = retry_after_s.map(Duration::from_secs);
    Answer { status, retry_after, ..Answer::without_response(outcome, String::new()) }
}

#[test]
fn transient_failures_are_retried_and_all_else_is_final() {
    use Outcome::{
        Blocked, Connect, Decode, Dns, HttpError, Ok, Protocol, Redirect, Timeout, Tls, TooLarge,
    };
    let decide =
        |outcome, status| policy().decide(&task(Method::GET, 1), &answer(outcome, status, None));
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
fn what_is_ours_costs_no_attempt_and_waits_longer_and_longer() {
    let of = |fault, outcome| Answer { fault, ..answer(outcome, None, None) };
    let full = of(Fault::NoMemory, Outcome::Timeout);
    let without_sockets = of(Fault::NoSockets, Outcome::Connect);
    for (answer, reason, last) in [
        // Deferred for at least a day, for at least an hour, and for ever.
        (&of(Fault::NameServers, Outcome::Dns), DeferReason::Dns, Some(32)),
        (&of(Fault::Unanswered, Outcome::Dns), DeferReason::Dns, Some(32)),
        (&of(Fault::Proxy, Outcome::Dns), DeferReason::Dns, Some(32)),
        (&of(Fault::HostUnanswered, Outcome::Dns), DeferReason::Host, Some(9)),
        (&full, DeferReason::Memory, None),
        (&without_sockets, DeferReason::Sockets, None),
        (&of(Fault::Crowded, Outcome::Dns), DeferReason::Lookups, None),
    ] {
        let mut deferred = task(Method::GET, 4);
        let waits = [10, 10, 60, 60, 60, 60, 600, 600, 3600, 3600, 3600, 3600];
        let waits = waits.into_iter().chain(std::iter::repeat(3600));
        for (before, wait) in (0..last.unwrap_or(100)).zip(waits) {
            // What else the task waits for does not matter.
            let text = format!("slot 1, {} {before}", reason.as_str());
            deferred.deferred = DeferCounts::read(&text);
            let expected = Decision::Defer(tier(wait), reason);
            assert_eq!(policy().decide(&deferred, answer), expected, "{before} {:?}", answer.fault);
        }
        for before in [last.unwrap_or(100), 1_000, u32::MAX - 1] {
            deferred.deferred = DeferCounts::read(&format!("{} {before}", reason.as_str()));
            let expected = match last {
                None => Decision::Defer(tier(3600), reason),
                Some(_) => Decision::GiveUp,
            };
            assert_eq!(policy().decide(&deferred, answer), expected, "{before} {:?}", answer.fault);
        }
    }
    // A site that has sent a part of its answer has acted on the request.
    assert_eq!(policy().decide(&task(Method::POST, 1), &full), Decision::GiveUp);
    assert_eq!(
        policy().decide(&task(Method::POST, 1), &without_sockets),
        Decision::Defer(tier(10), DeferReason::Sockets)
    );
    // The name servers say that the host does not exist.
    let absent = answer(Outcome::Dns, None, None);
    assert_eq!(policy().decide(&task(Method::GET, 1), &absent), Decision::Retry(tier(10)));
}

#[test]
fn a_wait_for_what_the_worker_lacks_grows_to_the_longest_delay() {
    let day = 86_400;
    let delays = vec![tier(day), tier(40 * day)];
    let policy = RetryPolicy { deferral: Deferral::new(&delays), delays, max_attempts: 4 };
    let crowded = Answer { fault: Fault::Crowded, ..answer(Outcome::Dns, None, None) };
    for (before, wait) in [(0, 1), (4, 1), (5, 40), (31, 40), (u32::MAX, 40)] {
        let deferred = DeferCounts::read(&format!("lookups {before}"));
        let waiting = Task { deferred, ..task(Method::GET, 1) };
        let expected = Decision::Defer(tier(wait * day), DeferReason::Lookups);
        assert_eq!(policy.decide(&waiting, &crowded), expected, "{before}");
    }
}

#[test]
fn patience_with_a_host_begins_after_an_outage_of_the_name_servers() {
    let cold = Answer { fault: Fault::HostUnanswered, ..answer(Outcome::Dns, None, None) };
    let mut waited = task(Method::GET, 1);
    waited.deferred = DeferCounts::read("memory 90, sockets 90, dns 20, lookups 90");
    assert_eq!(policy().decide(&waited, &cold), Decision::Defer(tier(10), DeferReason::Host));
    // And the other way round.
    let outage = Answer { fault: Fault::NameServers, ..answer(Outcome::Dns, None, None) };
    waited.deferred = DeferCounts::read("host 90, lookups 90");
    assert_eq!(policy().decide(&waited, &outage), Decision::Defer(tier(10), DeferReason::Dns));
}

#[test]
fn a_failure_after_a_wait_for_memory_counts_after_a_day() {
    let slow = Answer { delayed_by_memory: true, ..answer(Outcome::Timeout, None, None) };
    let decide = |attempt, before: u32| {
        let deferred = DeferCounts::read(&format!("memory {before}"));
        policy().decide(&Task { deferred, ..task(Method::GET, attempt) }, &slow)
    };
    assert_eq!(decide(1, 0), Decision::Defer(tier(10), DeferReason::Memory));
    assert_eq!(decide(4, 31), Decision::Defer(tier(3600), DeferReason::Memory));
    assert_eq!(decide(1, 32), Decision::Retry(tier(10)));
    assert_eq!(decide(4, 32), Decision::GiveUp);
    // A lookup without an answer says so, whatever the fetch waited for before.
    let unanswered = Answer {
        fault: Fault::NameServers,
        delayed_by_memory: true,
        ..answer(Outcome::Dns, None, None)
    };
    assert_eq!(
        policy().decide(&task(Method::GET, 1), &unanswered),
        Decision::Defer(tier(10), DeferReason::Dns)
    );
}

#[test]
fn what_never_reached_the_site_for_a_reason_of_ours_is_no_attempt() {
    for (fault, outcome, status, attempts) in [
        (Fault::Site, Outcome::Dns, None, 3),
        (Fault::Unprocessed, Outcome::Protocol, None, 3),
        (Fault::NameServers, Outcome::Dns, None, 2),
        (Fault::HostUnanswered, Outcome::Dns, None, 2),
        (Fault::NoSockets, Outcome::Connect, None, 2),
        // The site has acted on the request, or has redirected it.
        (Fault::NoMemory, Outcome::Timeout, Some(200), 3),
        (Fault::NameServers, Outcome::Dns, Some(302), 3),
        (Fault::Site, Outcome::Cancelled, None, 2),
    ] {
        let answer = Answer { fault, ..answer(outcome, status, None) };
        assert_eq!(answer.attempts(&task(Method::GET, 3)), attempts, "{fault:?} {status:?}");
    }
}

#[test]
fn attempts_wait_longer_and_longer_and_end() {
    let decide = |attempt| {
        policy().decide(&task(Method::GET, attempt), &answer(Outcome::Timeout, None, None))
    };
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
fn a_site_gets_the_time_that_it_asks_for_where_a_tier_is_long_enough() {
    let decide = |attempt, requested| {
        policy().decide(
            &task(Method::GET, attempt),
            &answer(Outcome::HttpError, Some(429), Some(requested)),
        )
    };
    assert_eq!(decide(1, 5), Decision::Retry(tier(10)));
    assert_eq!(decide(1, 11), Decision::Retry(tier(60)));
    assert_eq!(decide(1, 86_400), Decision::Retry(tier(600)));
    assert_eq!(decide(2, 5), Decision::Retry(tier(60)));
}

#[test]
fn an_unsafe_request_is_repeated_only_when_the_site_has_not_acted_on_it() {
    let decide =
        |task: &Task, outcome, status| policy().decide(task, &answer(outcome, status, None));
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let unsafe_task = task(method.clone(), 1);
        for (outcome, status) in [
            (Outcome::Connect, None),
            (Outcome::Dns, None),
            (Outcome::HttpError, Some(429)),
            (Outcome::HttpError, Some(503)),
        ] {
            assert_eq!(
                decide(&unsafe_task, outcome, status),
                Decision::Retry(tier(10)),
                "{method} {outcome}"
            );
        }
        for (outcome, status) in
            [(Outcome::Timeout, None), (Outcome::Protocol, None), (Outcome::HttpError, Some(500))]
        {
            assert_eq!(
                decide(&unsafe_task, outcome, status),
                Decision::GiveUp,
                "{method} {outcome}"
            );
        }
        let redirected_to = Some(unsafe_task.request.address.clone());
        let redirected = Answer { redirected_to, ..answer(Outcome::HttpError, Some(503), None) };
        assert_eq!(
            policy().decide(&unsafe_task, &redirected),
            Decision::GiveUp,
            "{method} acted on"
        );
        let mut keyed = unsafe_task;
        keyed.request.headers.insert("idempotency-key", http::HeaderValue::from_static("17"));
        assert_eq!(decide(&keyed, Outcome::Timeout, None), Decision::Retry(tier(10)));
    }
}

#[test]
fn the_row_decides_what_a_duplicate_delivery_means() {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000);
    let known = |outcome, status| StoredFetch {
        outcome: Some(outcome),
        status,
        attempts: 4,
        fetched_at: now,
    };
    let duplicate = task(Method::GET, 1);
    assert_eq!(row_state(&duplicate, &known(Outcome::Unchanged, Some(304))), RowState::Final);
    assert_eq!(row_state(&duplicate, &known(Outcome::Ok, Some(200))), RowState::Final);
    assert_eq!(row_state(&duplicate, &known(Outcome::HttpError, Some(404))), RowState::Final);
    assert_eq!(row_state(&duplicate, &known(Outcome::TooLarge, Some(200))), RowState::Final);
    assert_eq!(row_state(&duplicate, &known(Outcome::Blocked, None)), RowState::Final);
    for (outcome, status) in [
        (Outcome::HttpError, Some(500)),
        (Outcome::Timeout, None),
        (Outcome::Refused, Some(200)),
        (Outcome::Poison, None),
    ] {
        let given_up = RowState::GivenUp(outcome);
        assert_eq!(row_state(&duplicate, &known(outcome, status)), given_up, "{outcome}");
        let replayed = Task { failed_at: Some(now + Duration::from_secs(1)), ..duplicate.clone() };
        assert_eq!(row_state(&replayed, &known(outcome, status)), RowState::Outdated, "{outcome}");
        let failed_again =
            Task { failed_at: Some(now - Duration::from_secs(1)), ..duplicate.clone() };
        assert_eq!(row_state(&failed_again, &known(outcome, status)), given_up, "{outcome}");
    }
}

#[test]
fn dead_letters_are_found_by_each_outcome_that_is_a_failure() {
    for outcome in Outcome::ALL {
        let is_failure = !outcome.is_success() && outcome != Outcome::Cancelled;
        assert_eq!(Filter::parse_reason(outcome.as_str()).is_ok(), is_failure, "{outcome}");
    }
}
