use fetchline_queue::{Address, Key};
use http::Method;
use time::OffsetDateTime;

use super::*;

fn tier(seconds: u64) -> Tier {
    Tier::of(Duration::from_secs(seconds)).unwrap()
}

fn policy() -> RetryPolicy {
    RetryPolicy { delays: vec![tier(10), tier(60), tier(600)], max_attempts: 4 }
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
fn what_is_ours_costs_no_attempt_for_a_while() {
    let without_dns = Answer { fault: Fault::NameServers, ..answer(Outcome::Dns, None, None) };
    let slow = Answer { delayed_by_memory: true, ..answer(Outcome::Timeout, None, None) };
    let of = |fault, outcome| Answer { fault, ..answer(outcome, None, None) };
    let (full, crowded) = (of(Fault::NoMemory, Outcome::Timeout), of(Fault::Crowded, Outcome::Dns));
    let without_sockets = of(Fault::NoSockets, Outcome::Connect);
    for (answer, reason, is_surely_ours) in [
        (&without_dns, DeferReason::Dns, false),
        (&slow, DeferReason::Memory, false),
        (&full, DeferReason::Memory, false),
        (&without_sockets, DeferReason::Sockets, true),
        (&crowded, DeferReason::Dns, true),
    ] {
        let mut deferred = task(Method::GET, 4);
        for (before, wait) in (0..).zip([10, 10, 60, 60, 60, 60, 600, 600, 600, 600]) {
            // What counts is how often something was lacking, not what.
            deferred.last_deferral = Some((DeferReason::Sockets, before));
            assert_eq!(policy().decide(&deferred, answer), Decision::Defer(tier(wait), reason));
        }
        for before in [10, 11, 100, u32::MAX - 1] {
            deferred.last_deferral = Some((reason, before));
            let expected = match is_surely_ours {
                true => Decision::Defer(tier(600), reason),
                false => Decision::GiveUp,
            };
            assert_eq!(policy().decide(&deferred, answer), expected, "{reason:?} {before}");
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
fn a_task_without_a_slot_waits_in_the_nearest_tier() {
    let nearest = |seconds| policy().nearest(Duration::from_secs(seconds));
    assert_eq!((nearest(20), nearest(50)), (Some(tier(10)), Some(tier(60))));
    assert_eq!((nearest(500), policy().nearest(Duration::MAX)), (Some(tier(600)), Some(tier(600))));
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
        assert_eq!(row_state(&duplicate, &known(outcome, status)), RowState::GivenUp, "{outcome}");
        let replayed = Task { failed_at: Some(now + Duration::from_secs(1)), ..duplicate.clone() };
        assert_eq!(row_state(&replayed, &known(outcome, status)), RowState::Outdated, "{outcome}");
        let failed_again =
            Task { failed_at: Some(now - Duration::from_secs(1)), ..duplicate.clone() };
        assert_eq!(
            row_state(&failed_again, &known(outcome, status)),
            RowState::GivenUp,
            "{outcome}"
        );
    }
}
