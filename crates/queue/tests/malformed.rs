//! Messages that end a connection of the plain client library, or its process. None of them ends a
//! connection of [`Broker::connect`].
#![expect(
    clippy::disallowed_methods,
    reason = "a test, not a worker: no rows have to be committed first"
)]

mod fleet;
mod raw;

use anyhow::{Context, ensure};
use bytes::Bytes;
use fetchline_queue::dead::{self, Counts, Search};
use fetchline_queue::{
    ConfirmChannel, Death, Draft, Message, NotATask, RawMessage, Round, Verdict,
};
use fleet::{DEADLINE, Fleet, amqp_url, next};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::{Connection, ConnectionProperties};
use raw::{Properties, RawPublisher, entry, long, short};
use time::OffsetDateTime;
use tokio_stream::StreamExt;

/// Damaged properties that no copy takes over, so a replay of such a message is a task.
const NOT_COPIED: [&str; 2] = ["reply_to", "app_id"];
const BODY: &str = "https://shop.example/p/1";

async fn set_up(name: &str) -> anyhow::Result<(Fleet, RawPublisher)> {
    Ok((Fleet::new(name).await?, RawPublisher::open(&amqp_url()?)?))
}

fn read(delivery: Delivery) -> (Result<Message, NotATask>, RawMessage) {
    let original = RawMessage::from(delivery);
    (Message::read(&original.properties, &original.body), original)
}

/// Checks that the messages do end a connection of the plain library.
async fn expect_to_end_a_plain_connection(fleet: &Fleet) -> anyhow::Result<()> {
    let plain = Connection::connect(&amqp_url()?, ConnectionProperties::default()).await?;
    let mut consumer = fleet.consumer(&plain).await?;
    let ended = async { while let Some(Ok(_)) = consumer.next().await {} };
    tokio::time::timeout(DEADLINE, ended)
        .await
        .context("the plain library has not ended its connection")?;
    ensure!(!plain.status().connected(), "the plain library reads the message");
    Ok(())
}

/// Damaged properties and the error for each.
fn damaged() -> Vec<(Properties, NotATask)> {
    let property = |name: &str| NotATask::NotUtf8(format!("the property {name}"));
    let header = |shown: &str| NotATask::NotUtf8(format!("the name of the header `{shown}`"));
    let none = Properties::default;
    let deep = entry(b"outer", b'F', &long(&entry(b"k\xe9y", b'S', &long(b"value"))));
    let in_array = entry(
        b"list",
        b'A',
        &long(&[b"F", &long(&entry(b"\xed\xa0\x80", b't', &[1]))[..]].concat()),
    );
    let mut cases = vec![
        (none().message_id(b"order-\xff"), property("message_id")),
        (none().headers(&entry(b"\xff", b'V', b"")), header("\u{fffd}")),
        (none().kind(b"tea \xf0\x9f\x8d"), property("type")),
        (none().headers(&deep), header("k\u{fffd}y")),
        (none().headers(&in_array), header("\u{fffd}\u{fffd}\u{fffd}")),
        (none().content_type(b"text/plain; name=caf\xe9"), property("content_type")),
        (none().message_id(b"a/../\xc0\xaf"), property("message_id")),
    ];
    for (bit, name) in
        [(14, "content_encoding"), (10, "correlation_id"), (9, "reply_to"), (3, "app_id")]
    {
        cases.push((none().with(bit, short(b"\x80")), property(name)));
    }
    cases
}

#[tokio::test]
async fn a_message_that_is_not_utf8_stops_neither_the_connection_nor_other_messages()
-> anyhow::Result<()> {
    let (fleet, mut raw) = set_up("utf8").await?;
    let cases = damaged();
    for (properties, _) in &cases {
        raw.publish(fleet.broker.topology(), properties, BODY)?;
        raw.publish(
            fleet.broker.topology(),
            &Properties::default().message_id(b"neighbour"),
            BODY,
        )?;
    }
    expect_to_end_a_plain_connection(&fleet).await?;

    let connection = fleet.broker.connect().await?;
    let publishing = fleet.broker.connect().await?;
    let channel = ConfirmChannel::open(&publishing, fleet.broker.topology()).await?;
    let mut consumer = fleet.consumer(&connection).await?;
    let (mut expected, mut tasks): (Vec<_>, _) =
        (cases.iter().map(|(_, error)| error.to_string()).collect(), 0);
    for _ in 0..cases.len() * 2 {
        let delivery = next(&mut consumer).await?;
        let acker = delivery.acker.clone();
        let (message, original) = read(delivery);
        match message {
            Ok(_) => tasks += 1,
            Err(error) => {
                let place = expected.iter().position(|text| *text == error.to_string());
                expected.swap_remove(place.with_context(|| format!("{error} was not expected"))?);
                let dead = Draft::dead(
                    original,
                    &Death::not_a_task(&error),
                    "test",
                    OffsetDateTime::now_utc(),
                );
                let mut round = Round::default();
                channel.send(&mut round, [(dead, ())]).await;
                ensure!(
                    matches!(round.finish().await[..], [Verdict::Confirmed(_)]),
                    "the letter is not confirmed"
                );
            }
        }
        ensure!(acker.ack(BasicAckOptions::default()).await?, "the ack failed");
    }
    assert_eq!((expected, tasks), (vec![], cases.len()));
    ensure!(
        connection.status().connected() && publishing.status().connected(),
        "a connection is lost"
    );

    // The tools of operators cope with such letters too. A replay leads to the same death.
    let (mut letters, mut counts) = (Vec::new(), Counts::default());
    dead::list(&fleet.broker, &Search::default(), &mut counts, |letter| letters.push(letter))
        .await?;
    assert_eq!(letters.len(), cases.len());
    for letter in &letters {
        let error = letter.error.as_deref().unwrap_or_default();
        assert!(cases.iter().any(|(_, expected)| error == expected.to_string()), "{letter:?}");
        let is_dropped = NOT_COPIED.iter().any(|name| error.contains(name));
        let excerpt = (!is_dropped).then_some(BODY);
        assert_eq!(
            (letter.reason.as_deref(), letter.excerpt.as_deref()),
            (Some("not_a_task"), excerpt)
        );
    }
    let mut counts = Counts::default();
    dead::replay(&fleet.broker, &Search::default(), &mut counts, |letter| {
        panic!("{letter:?} remains")
    })
    .await?;
    assert_eq!(counts.removed, cases.len() as u64);
    let mut tasks = 0;
    for _ in &cases {
        let (message, original) = read(next(&mut consumer).await?);
        match message {
            Ok(_) => tasks += 1,
            Err(error) => assert!(cases.iter().any(|(_, expected)| error == *expected), "{error}"),
        }
        assert_eq!(original.header("x-error"), None);
    }
    assert_eq!(tasks, NOT_COPIED.len());
    fleet.remove().await
}

/// With the plain library this aborts the process, so the test does not try that.
#[tokio::test]
async fn nested_tables_do_not_abort_the_process() -> anyhow::Result<()> {
    let (fleet, mut raw) = set_up("deep").await?;
    for kind in [b'F', b'A'] {
        let mut headers = Vec::new();
        for _ in 0..10_000 {
            headers = if kind == b'F' {
                entry(b"", kind, &long(&headers))
            } else {
                [b"A", &long(&headers)[..]].concat()
            };
        }
        let headers = if kind == b'F' { headers } else { entry(b"", kind, &long(&headers)) };
        raw.publish(fleet.broker.topology(), &Properties::default().headers(&headers), BODY)?;
    }
    let connection = fleet.broker.connect().await?;
    let mut consumer = fleet.consumer(&connection).await?;
    for _ in 0..2 {
        let (message, original) = read(next(&mut consumer).await?);
        ensure!(matches!(message, Ok(Message::Task(_))), "the message is not a task");
        let again = Draft::dead(original, &death(), "test", OffsetDateTime::now_utc());
        let channel = ConfirmChannel::open(&connection, fleet.broker.topology()).await?;
        let mut round = Round::default();
        channel.send(&mut round, [(again, ())]).await;
        ensure!(
            matches!(round.finish().await[..], [Verdict::Confirmed(_)]),
            "the letter is not confirmed"
        );
    }
    fleet.remove().await
}

#[tokio::test]
async fn headers_as_large_as_a_frame_do_not_end_a_connection() -> anyhow::Result<()> {
    let (fleet, mut raw) = set_up("large").await?;
    let headers =
        |bytes| Properties::default().headers(&entry(b"big", b'S', &long(&vec![b'x'; bytes])));
    // The broker accepts a little more than a frame may have, and passes it on.
    for bytes in [131_040, 114_000] {
        raw.publish(fleet.broker.topology(), &headers(bytes).message_id(b"big"), BODY)?;
    }
    expect_to_end_a_plain_connection(&fleet).await?;
    let connection = fleet.broker.connect().await?;
    let mut consumer = fleet.consumer(&connection).await?;
    let channel = ConfirmChannel::open(&connection, fleet.broker.topology()).await?;
    let mut results = Vec::new();
    for _ in 0..2 {
        let (message, original) = read(next(&mut consumer).await?);
        results.push(message.map(|_| ()));
        assert_eq!(original.properties.message_id().as_ref().map(|id| id.as_str()), Some("big"));
        assert_eq!(original.body, Bytes::from_static(BODY.as_bytes()));
        // The headers that are added to a copy fit too.
        let mut round = Round::default();
        channel
            .send(
                &mut round,
                [(Draft::dead(original, &death(), "test", OffsetDateTime::now_utc()), ())],
            )
            .await;
        ensure!(
            matches!(round.finish().await[..], [Verdict::Confirmed(_)]),
            "the letter is not confirmed"
        );
    }
    assert_eq!(results, [Err(NotATask::HeadersTooLarge), Ok(())]);
    let mut letters = 0;
    dead::list(&fleet.broker, &Search::default(), &mut Counts::default(), |_| letters += 1).await?;
    assert_eq!(letters, 2);
    fleet.remove().await
}

/// A death with a text that is longer than the one that a letter holds.
fn death() -> Death {
    Death { reason: "not_a_task", error: "\u{1f375}".repeat(2_000), status: Some(503), attempts: 4 }
}
