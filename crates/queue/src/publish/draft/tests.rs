use std::time::Duration;

use lapin::types::AMQPValue;
use time::macros::datetime;

use super::*;
use crate::MAX_MESSAGE_BYTES;

fn failed_at() -> OffsetDateTime {
    datetime!(2026-03-01 11:30 +01:30)
}

fn timeout() -> Death {
    Death { reason: "timeout", error: "no answer".to_owned(), status: None, attempts: 4 }
}

fn failed() -> Wait {
    let error = "the site answered 503".to_owned();
    Wait { reason: "http_error", error, status: Some(503) }
}

#[test]
fn a_waiting_message_says_why_and_until_when_and_a_dead_letter_forgets_it() {
    let original =
        RawMessage { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
    let raw =
        |draft: Draft| RawMessage { properties: Box::new(draft.properties), body: draft.body };
    let tier = |seconds| Tier::of(Duration::from_secs(seconds)).unwrap();
    let seconds_left = |message: &RawMessage| {
        let until = message.header(header::UNTIL).unwrap();
        let until = OffsetDateTime::parse(&until, &Rfc3339).unwrap();
        (until - OffsetDateTime::now_utc()).whole_seconds()
    };
    let retried = Draft::retry(original, tier(600), 2, &failed(), "pod-1");
    let shortened = raw(retried.clone().delayed_by(tier(60)));
    let retried = raw(retried);
    for (name, value) in [
        (header::REASON, "http_error"),
        (header::ERROR, "the site answered 503"),
        (header::WORKER, "pod-1"),
    ] {
        assert_eq!(retried.header(name).as_deref(), Some(value));
    }
    assert_eq!(header::number(&retried.properties, header::STATUS), Some(503));
    assert!((590..=600).contains(&seconds_left(&retried)));
    assert!((50..=60).contains(&seconds_left(&shortened)));

    let task = Task::read(&retried.properties, &retried.body).unwrap();
    let deferred = raw(Draft::deferred(retried, &task, tier(3600), DeferReason::Pause, "pod-2"));
    assert_eq!(deferred.header(header::REASON).as_deref(), Some("pause"));
    assert_eq!(deferred.header(header::ERROR).as_deref(), Some("its host is paused"));
    assert_eq!(deferred.header(header::WORKER).as_deref(), Some("pod-2"));
    assert_eq!(header::number(&deferred.properties, header::STATUS), None);
    assert!((3590..=3600).contains(&seconds_left(&deferred)));

    let dead = raw(Draft::dead(deferred, &timeout(), "pod-3", failed_at()));
    assert_eq!(dead.header(header::REASON).as_deref(), Some("timeout"));
    assert_eq!(dead.header(header::WORKER).as_deref(), Some("pod-3"));
    assert_eq!(dead.header(header::UNTIL), None);
    // The number of attempts is said once; a letter that is moved back is a first attempt.
    assert_eq!(header::number(&dead.properties, header::ATTEMPTS), Some(4));
    assert_eq!(header::number(&dead.properties, header::ATTEMPT), None);
    assert_eq!(Task::read(&dead.properties, &dead.body).unwrap().attempt, 1);
}

#[test]
fn a_dead_letter_describes_its_latest_death_only() {
    let mut headers = FieldTable::default();
    put_number(&mut headers, header::STATUS, 503);
    put(&mut headers, header::RUN, "nightly");
    let properties = Box::new(BasicProperties::default().with_headers(headers));
    let draft = Draft::dead(
        RawMessage { properties, body: Bytes::new() },
        &timeout(),
        "pod-1",
        failed_at(),
    );
    assert_eq!(header::number(&draft.properties, header::STATUS), None);
    assert_eq!(header::text(&draft.properties, header::RUN).as_deref(), Some("nightly"));
    assert_eq!(header::text(&draft.properties, header::REASON).as_deref(), Some("timeout"));
}

#[test]
fn a_dead_letter_has_the_given_time() {
    let original =
        RawMessage { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
    let dead = Draft::dead(original, &timeout(), "pod-1", failed_at());
    assert_eq!(
        header::text(&dead.properties, header::FAILED_AT).as_deref(),
        Some("2026-03-01T10:00:00Z")
    );
    let again = Task::read(&dead.properties, &dead.body).unwrap();
    assert_eq!(again.failed_at, Some(failed_at()));
}

#[test]
fn copies_share_the_body_and_keep_damaged_properties() {
    let mut inner = FieldTable::default();
    inner.insert("in\u{1a}ner".into(), AMQPValue::Void);
    let mut headers = FieldTable::default();
    headers.insert("x-\u{1a}".into(), AMQPValue::FieldTable(inner));
    headers.insert("x-status".into(), AMQPValue::LongLongInt(503));
    let properties =
        BasicProperties::default().with_message_id("\u{1a}".into()).with_type("\u{1a}t".into());
    let properties = Box::new(properties.with_headers(headers));
    let original = RawMessage { properties, body: Bytes::from_static(b"https://a.example/") };
    let tier = Tier::of(Duration::from_secs(10)).unwrap();
    let dead = Draft::dead(original.clone(), &timeout(), "pod-1", failed_at());
    let replayed = Draft::replay(RawMessage {
        properties: Box::new(dead.properties.clone()),
        body: dead.body.clone(),
    });
    let retried = Draft::retry(original.clone(), tier, 2, &failed(), "pod-1");
    let task = Task::read(&BasicProperties::default(), &original.body).unwrap();
    let deferred = Draft::deferred(original.clone(), &task, tier, DeferReason::Slot, "pod-1");
    for draft in [dead, replayed, retried, deferred] {
        let (new, old) = (&draft.properties, &original.properties);
        assert_eq!((new.message_id(), new.kind()), (old.message_id(), old.kind()));
        let table =
            |of: &BasicProperties| of.headers().clone().unwrap().inner().get("x-\u{1a}").cloned();
        assert_eq!(table(new), table(old));
        assert_eq!(draft.body.as_ptr(), original.body.as_ptr());
        let read = Task::read(new, &draft.body);
        assert_eq!(read, Err(NotATask::NotUtf8("the property message_id".to_owned())));
    }
}

#[test]
fn a_task_may_be_deferred_for_an_hour() {
    let hour = Tier::of(Duration::from_secs(3600)).unwrap();
    let original =
        RawMessage { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
    let known = Task {
        deferrals: 6,
        redeliveries: 2,
        ..Task::read(&original.properties, &original.body).unwrap()
    };
    let draft = Draft::deferred(original, &known, hour, DeferReason::Slot, "pod-1");
    let topology =
        Topology::new("p").with_tiers(vec![Tier::of(Duration::from_secs(600)).unwrap(), hour]);
    assert_eq!(draft.routing_key, "retry.3600s");
    assert!(topology.keys().contains(&draft.routing_key.into_owned()));
    let task = Task::read(&draft.properties, &draft.body).unwrap();
    assert_eq!((task.deferrals, task.redeliveries, task.attempt), (7, 2, 1));
}

#[test]
fn deferrals_count_in_a_row_for_a_slot_and_until_the_next_attempt_for_a_shortage() {
    use DeferReason::{Delay, Dns, Memory, Pause, Slot};
    let tier = Tier::of(Duration::from_secs(10)).unwrap();
    let mut original =
        RawMessage { properties: Box::default(), body: Bytes::from_static(b"https://a.example/") };
    let counts = |of: &RawMessage| {
        let task = Task::read(&of.properties, &of.body).unwrap();
        (task.deferrals, header::text(&of.properties, header::PARKED_FOR).unwrap_or_default())
    };
    for (deferrals, reason, expected) in [
        (1, Slot, "slot 1"),
        (2, Slot, "slot 2"),
        (3, Dns, "dns 1"),
        // A host with a backlog has no slot between two look-ups, and may be paused.
        (4, Slot, "slot 1, dns 1"),
        (5, Dns, "dns 2"),
        (6, Pause, "pause 1, dns 2"),
        (7, Memory, "memory 1, dns 2"),
        (8, Delay, "memory 1, delay 1, dns 2"),
        (9, Dns, "memory 1, dns 3"),
    ] {
        let task = Task::read(&original.properties, &original.body).unwrap();
        let draft = Draft::deferred(original, &task, tier, reason, "pod-1");
        original = RawMessage { properties: Box::new(draft.properties), body: draft.body };
        assert_eq!(counts(&original), (deferrals, expected.to_owned()));
    }
    let draft = Draft::retry(original, tier, 2, &failed(), "pod-1");
    let retried = RawMessage { properties: Box::new(draft.properties), body: draft.body };
    assert_eq!(counts(&retried), (9, String::new()), "an attempt ends the waits");
}

#[test]
fn a_request_of_another_service_is_a_task_without_a_part() {
    let request = FetchRequest::get_url("https://a.example/#x").unwrap();
    for id in [None, Some("order-17")] {
        let draft = Draft::request(&request, "orders", id).unwrap();
        let task = Task::read(&draft.properties, &draft.body).unwrap();
        assert_eq!(draft.routing_key, "urls");
        assert_eq!((&task.request, task.run.as_str()), (&request, "orders"));
        assert_eq!((task.message_id.as_deref(), task.part, task.attempt), (id, None, 1));
    }
}

#[test]
fn a_request_that_no_worker_would_accept_is_not_published() {
    let plain = FetchRequest::get_url("https://a.example/").unwrap();
    let mut reserved = plain.clone();
    reserved.headers.insert(http::header::HOST, http::HeaderValue::from_static("b.example"));
    let binary = FetchRequest { body: Some(Bytes::from_static(b"\xff")), ..plain.clone() };
    let large = vec![b'x'; MAX_MESSAGE_BYTES];
    let large = FetchRequest { body: Some(large.into()), ..plain.clone() };
    let error = |request, run, id| Draft::request(request, run, id).unwrap_err();
    assert_eq!(error(&plain, "", None), NotATask::Run);
    assert!(matches!(error(&plain, "run", Some("a\u{1a}")), NotATask::NotUtf8(_)));
    let long = "x".repeat(256);
    assert_eq!(error(&plain, "run", Some(&long)), NotATask::MessageIdTooLong(256));
    assert!(matches!(error(&reserved, "run", None), NotATask::Header(..)));
    assert_eq!(error(&binary, "run", None), NotATask::Lossy);
    let mut repeated = plain.clone();
    repeated.headers.append("cookie", http::HeaderValue::from_static("a=1"));
    repeated.headers.append("cookie", http::HeaderValue::from_static("b=2"));
    assert_eq!(error(&repeated, "run", None), NotATask::Lossy);
    let mut latin = plain.clone();
    let value = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
    latin.headers.insert("x-name", value);
    assert_eq!(error(&latin, "run", None), NotATask::Lossy);
    assert!(matches!(error(&large, "run", None), NotATask::TooLarge(_)));
}

#[test]
fn a_line_of_a_list_that_may_hold_more_than_a_url_becomes_a_dead_letter() {
    let body = Bytes::from_static(b"https://a.example/1,shoes\nhttps://a.example/2,bags\n");
    let lines = crate::list_lines(&body).unwrap();
    let list = RawMessage { properties: Box::default(), body };
    let now = OffsetDateTime::now_utc();
    for line in (1..).zip(lines) {
        let text = line.1.text.clone();
        let (key, properties, body) = Draft::of_list(&list, line, "blue-1", now).into_parts();
        assert_eq!((&*key, body), (Topology::DEAD, text));
        let error = header::text(&properties, header::ERROR).unwrap();
        assert!(error.contains("not clear where the URL ends: `,` may separate"), "{error}");
    }
}
