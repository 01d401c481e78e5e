//! Messages that end the connection of the client library alone, or its process: none of them stops
//! what connects by [`Broker::connect`].
#![expect(clippy::disallowed_methods, reason = "a test, not a worker: nothing waits for its acks")]

mod raw;

use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use bytes::Bytes;
use fetchline_queue::dead::{self, Search, Tally};
use fetchline_queue::{
    Broker, BrokerConfig, Death, Draft, Lane, Message, NotATask, Original, Role, Round, Topology, Verdict,
};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};
use raw::{Properties, Publisher, entry, long, short};
use time::OffsetDateTime;
use tokio_stream::StreamExt;

const DEADLINE: Duration = Duration::from_secs(20);
/// Damaged properties that no copy takes over, so a replay is a task.
const NOT_COPIED: [&str; 2] = ["reply_to", "app_id"];
const BODY: &str = "https://shop.example/p/1";

/// A fleet of one's own on the broker.
struct Fleet {
    url: String,
    broker: Broker,
    publisher: Publisher,
}

impl Fleet {
    async fn new(name: &str) -> anyhow::Result<Self> {
        let url = amqp_url()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let config = BrokerConfig { url: url.clone(), ca: None, prefix: format!("queue-test-{name}-{now}") };
        let broker = Broker::new(&config, Role::Work, "test")?;
        broker.topology().declare(&broker.connect().await?).await?;
        let publisher = Publisher::open(&url)?;
        Ok(Self { url, broker, publisher })
    }

    fn publish(&mut self, properties: &Properties, body: &str) -> anyhow::Result<()> {
        let exchange = self.broker.topology().exchange();
        self.publisher.publish(exchange, Topology::URLS.as_bytes(), properties, body.as_bytes())
    }

    async fn consumer(&self, connection: &Connection) -> anyhow::Result<Consumer> {
        let channel = connection.create_channel().await?;
        let queue = self.broker.topology().queue(Topology::URLS);
        let options = BasicConsumeOptions::default();
        Ok(channel.basic_consume(queue.into(), "test".into(), options, FieldTable::default()).await?)
    }

    async fn remove(self) -> anyhow::Result<()> {
        let channel = self.broker.connect().await?.create_channel().await?;
        for key in self.broker.topology().keys() {
            let queue = self.broker.topology().queue(&key);
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        let exchange = self.broker.topology().exchange();
        Ok(channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?)
    }
}

/// What the environment names, else what `deploy/local/services up` has provided.
fn amqp_url() -> anyhow::Result<String> {
    if let Ok(url) = std::env::var("AMQP_URL") {
        return Ok(url);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/local/services");
    let output = Command::new(script).arg("env").output().context("cannot run deploy/local/services")?;
    let output = String::from_utf8(output.stdout)?;
    let line = output.lines().find_map(|line| line.strip_prefix("export AMQP_URL='"));
    Ok(line.context("the services are not up: run `make up` first")?.trim_end_matches('\'').to_owned())
}

async fn next(consumer: &mut Consumer) -> anyhow::Result<Delivery> {
    let delivery = tokio::time::timeout(DEADLINE, consumer.next()).await.context("no delivery")?;
    Ok(delivery.context("the consumer has ended")??)
}

fn read(delivery: Delivery) -> (Result<Message, NotATask>, Original) {
    let original = Original { properties: Box::new(delivery.properties), body: delivery.data.into() };
    (Message::read(&original.properties, &original.body), original)
}

/// What goes wrong with the library alone.
async fn ends_a_plain_connection(fleet: &Fleet) -> anyhow::Result<()> {
    let plain = Connection::connect(&fleet.url, ConnectionProperties::default()).await?;
    let mut consumer = fleet.consumer(&plain).await?;
    let ended = async { while let Some(Ok(_)) = consumer.next().await {} };
    tokio::time::timeout(DEADLINE, ended).await.context("the library alone has not ended its connection")?;
    ensure!(!plain.status().connected(), "the library alone reads it");
    Ok(())
}

/// Properties that are damaged, and what is said of each.
fn damaged() -> Vec<(Properties, NotATask)> {
    let property = |name: &str| NotATask::NotUtf8(format!("the property {name}"));
    let header = |shown: &str| NotATask::NotUtf8(format!("the name of the header `{shown}`"));
    let none = Properties::default;
    let deep = entry(b"outer", b'F', &long(&entry(b"k\xe9y", b'S', &long(b"value"))));
    let in_array = entry(b"list", b'A', &long(&[b"F", &long(&entry(b"\xed\xa0\x80", b't', &[1]))[..]].concat()));
    let mut cases = vec![
        (none().message_id(b"order-\xff"), property("message_id")),
        (none().headers(&entry(b"\xff", b'V', b"")), header("\u{fffd}")),
        (none().kind(b"tea \xf0\x9f\x8d"), property("type")),
        (none().headers(&deep), header("k\u{fffd}y")),
        (none().headers(&in_array), header("\u{fffd}\u{fffd}\u{fffd}")),
        (none().content_type(b"text/plain; name=caf\xe9"), property("content_type")),
        (none().message_id(b"a/../\xc0\xaf"), property("message_id")),
    ];
    for (bit, name) in [(14, "content_encoding"), (10, "correlation_id"), (9, "reply_to"), (3, "app_id")] {
        cases.push((none().with(bit, short(b"\x80")), property(name)));
    }
    cases
}

#[tokio::test]
async fn a_message_that_is_not_utf8_stops_neither_the_connection_nor_its_neighbours() -> anyhow::Result<()> {
    let mut fleet = Fleet::new("utf8").await?;
    let cases = damaged();
    for (properties, _) in &cases {
        fleet.publish(properties, BODY)?;
        fleet.publish(&Properties::default().message_id(b"neighbour"), BODY)?;
    }
    ends_a_plain_connection(&fleet).await?;

    let connection = fleet.broker.connect().await?;
    let publisher = fleet.broker.connect().await?;
    let lane = Lane::open(&publisher, fleet.broker.topology()).await?;
    let mut consumer = fleet.consumer(&connection).await?;
    let (mut expected, mut tasks): (Vec<_>, _) = (cases.iter().map(|(_, error)| error.to_string()).collect(), 0);
    for _ in 0..cases.len() * 2 {
        let delivery = next(&mut consumer).await?;
        let acker = delivery.acker.clone();
        let (message, original) = read(delivery);
        match message {
            Ok(_) => tasks += 1,
            Err(error) => {
                let place = expected.iter().position(|text| *text == error.to_string());
                expected.swap_remove(place.with_context(|| format!("{error} was not expected"))?);
                let dead = Draft::dead(original, &Death::not_a_task(&error), "test", OffsetDateTime::now_utc());
                let mut round = Round::default();
                lane.send(&mut round, [(dead, ())]).await;
                ensure!(matches!(round.finish().await[..], [Verdict::Confirmed(_)]), "no confirm");
            }
        }
        ensure!(acker.ack(BasicAckOptions::default()).await?, "not acked");
    }
    assert_eq!((expected, tasks), (vec![], cases.len()));
    ensure!(connection.status().connected() && publisher.status().connected(), "a connection is lost");

    // The tools of operators survive such letters, too. A replay leads to the same death.
    let (mut letters, mut tally) = (Vec::new(), Tally::default());
    dead::look(&fleet.broker, &Search::default(), &mut tally, |letter| letters.push(letter)).await?;
    assert_eq!(letters.len(), cases.len());
    for letter in &letters {
        let error = letter.error.as_deref().unwrap_or_default();
        assert!(cases.iter().any(|(_, expected)| error == expected.to_string()), "{letter:?}");
        let left_behind = NOT_COPIED.iter().any(|name| error.contains(name));
        let excerpt = (!left_behind).then_some(BODY);
        assert_eq!((letter.reason.as_deref(), letter.excerpt.as_deref()), (Some("not_a_task"), excerpt));
    }
    let mut tally = Tally::default();
    dead::replay(&fleet.broker, &Search::default(), &mut tally, |letter| panic!("{letter:?} stays")).await?;
    assert_eq!(tally.done, cases.len() as u64);
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

/// With the library alone this ends the process, so that is not tried here.
#[tokio::test]
async fn tables_within_tables_do_not_end_the_process() -> anyhow::Result<()> {
    let mut fleet = Fleet::new("deep").await?;
    for kind in [b'F', b'A'] {
        let mut headers = Vec::new();
        for _ in 0..10_000 {
            headers =
                if kind == b'F' { entry(b"", kind, &long(&headers)) } else { [b"A", &long(&headers)[..]].concat() };
        }
        let headers = if kind == b'F' { headers } else { entry(b"", kind, &long(&headers)) };
        fleet.publish(&Properties::default().headers(&headers), BODY)?;
    }
    let connection = fleet.broker.connect().await?;
    let mut consumer = fleet.consumer(&connection).await?;
    for _ in 0..2 {
        let (message, original) = read(next(&mut consumer).await?);
        ensure!(matches!(message, Ok(Message::Task(_))), "no task");
        let again = Draft::dead(original, &death(), "test", OffsetDateTime::now_utc());
        let lane = Lane::open(&connection, fleet.broker.topology()).await?;
        let mut round = Round::default();
        lane.send(&mut round, [(again, ())]).await;
        ensure!(matches!(round.finish().await[..], [Verdict::Confirmed(_)]), "no confirm");
    }
    fleet.remove().await
}

#[tokio::test]
async fn headers_as_large_as_a_frame_do_not_stop_a_connection() -> anyhow::Result<()> {
    let mut fleet = Fleet::new("large").await?;
    let headers = |bytes| Properties::default().headers(&entry(b"big", b'S', &long(&vec![b'x'; bytes])));
    // The broker takes a little more than a frame may have, and passes it on.
    for bytes in [131_040, 114_000] {
        fleet.publish(&headers(bytes).message_id(b"big"), BODY)?;
    }
    ends_a_plain_connection(&fleet).await?;
    let connection = fleet.broker.connect().await?;
    let mut consumer = fleet.consumer(&connection).await?;
    let lane = Lane::open(&connection, fleet.broker.topology()).await?;
    let mut read_as = Vec::new();
    for _ in 0..2 {
        let (message, original) = read(next(&mut consumer).await?);
        read_as.push(message.map(|_| ()));
        assert_eq!(original.properties.message_id().as_ref().map(|id| id.as_str()), Some("big"));
        assert_eq!(original.body, Bytes::from_static(BODY.as_bytes()));
        // What is added to a copy fits as well.
        let mut round = Round::default();
        lane.send(&mut round, [(Draft::dead(original, &death(), "test", OffsetDateTime::now_utc()), ())]).await;
        ensure!(matches!(round.finish().await[..], [Verdict::Confirmed(_)]), "no confirm");
    }
    assert_eq!(read_as, [Err(NotATask::HeadersTooLarge), Ok(())]);
    let mut letters = 0;
    dead::look(&fleet.broker, &Search::default(), &mut Tally::default(), |_| letters += 1).await?;
    assert_eq!(letters, 2);
    fleet.remove().await
}

/// The longest one that is written into a letter.
fn death() -> Death {
    Death { reason: "not_a_task", error: "\u{1f375}".repeat(2_000), status: Some(503), attempts: 4 }
}
