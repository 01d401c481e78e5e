//! What an operator does with dead letters.
#![expect(clippy::disallowed_methods, reason = "a message that the broker dead-letters has to be rejected first")]

use std::collections::BTreeSet;

use fetchline_queue::Topology;
use fetchline_tests::process::{Ended, Running};
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// A letter as a worker leaves it: given up after so many minutes.
struct Letter {
    id: &'static str,
    url: String,
    run: &'static str,
    reason: &'static str,
    status: Option<i32>,
    minutes: i64,
}

impl Letter {
    async fn bury(&self, world: &World) -> anyhow::Result<()> {
        let mut headers = FieldTable::default();
        let failed_at = (OffsetDateTime::now_utc() - Duration::minutes(self.minutes)).format(&Rfc3339)?;
        for (name, value) in [
            ("x-run", self.run),
            ("x-part", "part-1"),
            ("x-reason", self.reason),
            ("x-error", "the site did not answer"),
            ("x-worker", "pod-1"),
            ("x-failed-at", &failed_at),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-of-the-sender", "kept"),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        headers.insert("x-attempt".into(), AMQPValue::LongLongInt(3));
        headers.insert("x-attempts".into(), AMQPValue::LongLongInt(4));
        if let Some(status) = self.status {
            headers.insert("x-status".into(), AMQPValue::LongInt(status));
        }
        let properties = BasicProperties::default()
            .with_message_id(self.id.into())
            .with_content_type("text/plain".into())
            .with_headers(headers);
        bury(world, &self.url, properties).await
    }
}

/// Publishes to the dead queue, as a worker or a person would.
async fn bury(world: &World, body: &str, properties: BasicProperties) -> anyhow::Result<()> {
    let channel = world.amqp.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (exchange, options) = (world.prefix.as_str(), BasicPublishOptions::default());
    channel.basic_publish(exchange.into(), Topology::DEAD.into(), options, body.as_bytes(), properties).await?.await?;
    Ok(())
}

/// Four letters that differ in everything that can be asked for.
async fn bury_four(world: &World) -> anyhow::Result<()> {
    let letter =
        |id, url: &str, run, reason, status, minutes| Letter { id, url: url.to_owned(), run, reason, status, minutes };
    for letter in [
        letter("a", "https://one.example/a", "monday", "http_error", Some(503), 200),
        letter("b", "https://user:hunter2@one.example:8443/b", "monday", "timeout", None, 150),
        letter("c", "https://one.example/c", "tuesday", "http_error", Some(500), 100),
        letter("d", "https://two.example/d", "tuesday", "http_error", Some(503), 50),
    ] {
        letter.bury(world).await?;
    }
    wait_for(world, Topology::DEAD, 4).await
}

/// A queue counts a message a moment after it has it.
async fn wait_for(world: &World, key: &str, count: u32) -> anyhow::Result<()> {
    let ready = async || world.ready(key).await;
    wait::until(&format!("messages in {key}"), ready, |ready| *ready == count).await?;
    Ok(())
}

async fn dead(world: &World, arguments: &[&str]) -> anyhow::Result<Ended> {
    world.run(&[&["dead"], arguments].concat(), "").await
}

/// The ids that a list shows, in its order.
async fn listed(world: &World, filters: &[&str]) -> anyhow::Result<Vec<String>> {
    let ended = dead(world, &[&["list", "--json"], filters].concat()).await?;
    anyhow::ensure!(ended.code == Some(0), "{ended:?}");
    let letters = ended.json()?["letters"].as_array().cloned().unwrap_or_default();
    Ok(letters.iter().filter_map(|letter| Some(letter["id"].as_str()?.to_owned())).collect())
}

/// The ids of what lies in a queue, which is empty afterwards.
async fn taken(world: &World, key: &str) -> anyhow::Result<BTreeSet<String>> {
    let channel = world.amqp.create_channel().await?;
    let queue: ShortString = world.broker()?.topology().queue(key).into();
    let mut ids = BTreeSet::new();
    while let Some(got) = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await? {
        ids.extend(got.delivery.properties.message_id().as_ref().map(ShortString::to_string));
    }
    Ok(ids)
}

/// Without what the broker adds to every delivery of a quorum queue.
fn names(headers: &FieldTable) -> Vec<&str> {
    headers.inner().keys().map(ShortString::as_str).filter(|name| *name != "x-delivery-count").collect()
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn a_list_shows_what_is_known_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    bury(&world, "ftp://user:hunter2@three.example/\u{7}", BasicProperties::default()).await?;
    wait_for(&world, Topology::DEAD, 5).await?;

    let ended = dead(&world, &["list"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["age", "reason", "status", "attempts", "run", "host", "URL"]);
    assert_eq!(lines[1], ["-", "-", "-", "-", "-", "-", "ftp://***@three.example/\u{fffd}"]);
    assert_eq!(lines[2][0], "3h");
    assert_eq!(lines[2][2..], ["http_error", "503", "4", "monday", "one.example", "https://one.example/a"]);
    assert_eq!(lines[3][2..5], ["timeout", "-", "4"]);
    assert_eq!(lines[3][6..], ["one.example:8443", "https://***@one.example:8443/b"]);
    assert_eq!(lines[6], ["5", "of", "5", "dead", "letters"]);
    wait_for(&world, Topology::DEAD, 5).await?;

    let ended = dead(&world, &["list", "--json"]).await?;
    let list = ended.json()?;
    assert_eq!(
        (&list["seen"], &list["matched"], list["letters"].as_array().map(Vec::len)),
        (&5.into(), &5.into(), Some(5))
    );
    let letter = &list["letters"][1];
    for (field, expected) in [
        ("id", "a"),
        ("run", "monday"),
        ("host", "one.example"),
        ("url", "https://one.example/a"),
        ("reason", "http_error"),
        ("error", "the site did not answer"),
        ("worker", "pod-1"),
    ] {
        assert_eq!(letter[field], expected, "{field}: {letter}");
    }
    assert_eq!((&letter["status"], &letter["attempts"]), (&503.into(), &4.into()));
    assert!(letter["age_s"].as_i64().is_some_and(|age| (12_000..12_600).contains(&age)), "{letter}");
    assert!(letter["failed_at"].as_str().is_some_and(|text| text.ends_with('Z')), "{letter}");
    assert_eq!(list["letters"][0]["url"], Value::Null);
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    wait_for(&world, Topology::DEAD, 5).await
}

#[tokio::test]
async fn filters_combine() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    for (filters, expected) in [
        (&[][..], &["a", "b", "c", "d"][..]),
        (&["--run", "monday"], &["a", "b"]),
        (&["--host", "One.example"], &["a", "c"]),
        (&["--host", "one.example:8443"], &["b"]),
        (&["--reason", "http_error", "--status", "503"], &["a", "d"]),
        (&["--older-than", "2h"], &["a", "b"]),
        (&["--older-than", "75m", "--reason", "http_error", "--host", "one.example"], &["a", "c"]),
        (&["--older-than", "75m", "--status", "503", "--run", "tuesday"], &[]),
    ] {
        assert_eq!(listed(&world, filters).await?, expected, "{filters:?}");
        wait_for(&world, Topology::DEAD, 4).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_replay_is_a_first_try_under_the_same_id_and_leaves_the_others() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    let ended = dead(&world, &["replay", "--host", "one.example:8443", "--json"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = ended.json()?;
    assert_eq!((&summary["seen"], &summary["matched"], &summary["replayed"]), (&4.into(), &1.into(), &1.into()));

    wait_for(&world, Topology::DEAD, 3).await?;
    wait_for(&world, Topology::URLS, 1).await?;
    let Some((properties, body)) = world.take(Topology::URLS).await? else { panic!("no message") };
    assert_eq!(body, b"https://user:hunter2@one.example:8443/b");
    assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("b"));
    assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("text/plain"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().clone().unwrap_or_default();
    assert_eq!(names(&headers), ["traceparent", "x-attempt", "x-failed-at", "x-of-the-sender", "x-part", "x-run"]);
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(1)));
    assert_eq!(headers.inner().get("x-run"), Some(&AMQPValue::LongString("monday".into())));

    // The others are as they were.
    let Some((properties, _)) = world.take(Topology::DEAD).await? else { panic!("no letter") };
    let headers = properties.headers().clone().unwrap_or_default();
    assert!(headers.contains_key("x-reason") && headers.contains_key("x-status"), "{headers:?}");
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(3)));
    let mut left = taken(&world, Topology::DEAD).await?;
    left.extend(properties.message_id().as_ref().map(ShortString::to_string));
    assert_eq!(left, ids(&["a", "c", "d"]));
    Ok(())
}

#[tokio::test]
async fn what_the_broker_itself_gave_up_is_listed_and_replayed_without_the_brokers_headers() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.type_message(&world.shop.url("/p/1")).await?;
    let channel = world.amqp.create_channel().await?;
    let queue = world.broker()?.topology().queue(Topology::URLS);
    let got = async || Ok(channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: false }).await?);
    let Some(got) = wait::until("a message", got, Option::is_some).await? else { panic!("no message") };
    channel.basic_reject(got.delivery.delivery_tag, BasicRejectOptions { requeue: false }).await?;
    wait_for(&world, Topology::DEAD, 1).await?;

    let list = dead(&world, &["list", "--json", "--reason", "rejected", "--run", "adhoc"]).await?.json()?;
    let letter = &list["letters"][0];
    assert_eq!((&letter["url"], &letter["attempts"]), (&world.shop.url("/p/1").into(), &Value::Null));
    assert!(letter["age_s"].as_i64().is_some_and(|age| age < 120), "{letter}");
    wait_for(&world, Topology::DEAD, 1).await?;

    let ended = dead(&world, &["replay"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "replayed 1 of 1 dead letters\n"), "{ended:?}");
    wait_for(&world, Topology::URLS, 1).await?;
    let Some((properties, _)) = world.take(Topology::URLS).await? else { panic!("no message") };
    let headers = properties.headers().clone().unwrap_or_default();
    assert_eq!(names(&headers), ["x-attempt"]);
    assert_eq!(*properties.message_id(), None);
    Ok(())
}

#[tokio::test]
async fn what_is_replayed_is_worked_on() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (id, url) in [("good", world.shop.url("/p/1")), ("bad", "ftp://a.example/".to_owned())] {
        Letter { id, url, run: "nightly", reason: "timeout", status: None, minutes: 5 }.bury(&world).await?;
    }
    wait_for(&world, Topology::DEAD, 2).await?;
    let ended = dead(&world, &["replay"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_for(&world, Topology::URLS, 2).await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!((&summary["ok"], &summary["dead"]), (&1.into(), &1.into()));
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE message_id = 'good' AND attempts = 1").await?, 1);
    assert_eq!(taken(&world, Topology::DEAD).await?, ids(&["bad"]));
    Ok(())
}

#[tokio::test]
async fn a_limit_bounds_what_is_listed_replayed_and_purged() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    assert_eq!(listed(&world, &["--limit", "2", "--reason", "http_error"]).await?.len(), 2);
    wait_for(&world, Topology::DEAD, 4).await?;
    let ended = dead(&world, &["replay", "--limit", "1", "--reason", "http_error"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_for(&world, Topology::DEAD, 3).await?;
    wait_for(&world, Topology::URLS, 1).await?;
    let ended = dead(&world, &["purge", "--limit", "2"]).await?;
    assert!(ended.code == Some(0) && ended.stdout.starts_with("purged 2 of "), "{ended:?}");
    wait_for(&world, Topology::DEAD, 1).await?;
    assert_eq!(dead(&world, &["purge", "--limit", "0"]).await?.code, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_done_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    for action in ["replay", "purge"] {
        let ended = dead(&world, &[action, "--dry-run", "--run", "tuesday"]).await?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.ends_with(&format!("would {action} 2 of 4 dead letters\n")), "{ended:?}");
        assert!(ended.stdout.contains("https://one.example/c") && !ended.stdout.contains("/a"), "{ended:?}");
        wait_for(&world, Topology::DEAD, 4).await?;
        let ended = dead(&world, &[action, "--dry-run", "--run", "tuesday", "--json"]).await?;
        assert_eq!(ended.json()?["letters"].as_array().map(Vec::len), Some(2), "{ended:?}");
        wait_for(&world, Topology::DEAD, 4).await?;
    }
    assert_eq!(world.ready(Topology::URLS).await?, 0);
    assert_eq!(listed(&world, &[]).await?, ["a", "b", "c", "d"]);
    Ok(())
}

#[tokio::test]
async fn a_purge_removes_only_what_fits() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    let ended = dead(&world, &["purge", "--reason", "http_error", "--older-than", "75m", "--json"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = ended.json()?;
    assert_eq!((&summary["seen"], &summary["matched"], &summary["purged"]), (&4.into(), &2.into(), &2.into()));
    wait_for(&world, Topology::DEAD, 2).await?;
    assert_eq!(listed(&world, &[]).await?, ["b", "d"]);

    wait_for(&world, Topology::DEAD, 2).await?;
    let ended = dead(&world, &["purge"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "purged 2 of 2 dead letters\n"), "{ended:?}");
    let ended = dead(&world, &["list"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "0 of 0 dead letters\n"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_letter_whose_copy_no_queue_takes_stays() -> anyhow::Result<()> {
    let world = World::new().await?;
    bury_four(&world).await?;
    let channel = world.amqp.create_channel().await?;
    let (queue, exchange) = (world.broker()?.topology().queue(Topology::URLS), world.prefix.as_str());
    channel.queue_unbind(queue.into(), exchange.into(), Topology::URLS.into(), FieldTable::default()).await?;

    let ended = dead(&world, &["replay", "--run", "monday", "--json"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let summary = ended.json()?;
    assert_eq!((&summary["matched"], &summary["replayed"]), (&2.into(), &0.into()));
    assert!(ended.stderr.contains("stays in the dead queue: https://one.example/a"), "{ended:?}");
    assert!(ended.stderr.contains("stays in the dead queue: https://***@one.example:8443/b"), "{ended:?}");
    assert!(ended.stderr.contains("no queue is bound"), "{ended:?}");
    wait_for(&world, Topology::DEAD, 4).await?;
    assert_eq!(listed(&world, &[]).await?, ["a", "b", "c", "d"]);
    Ok(())
}

#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing() -> anyhow::Result<()> {
    const LETTERS: usize = 3000;
    let world = World::new().await?;
    let channel = world.amqp.create_channel().await?;
    let (exchange, options) = (world.prefix.as_str(), BasicPublishOptions::default());
    for number in 0..LETTERS {
        let properties = BasicProperties::default().with_message_id(number.to_string().into());
        let body = format!("https://one.example/{number}");
        channel.basic_publish(exchange.into(), Topology::DEAD.into(), options, body.as_bytes(), properties).await?;
    }
    wait_for(&world, Topology::DEAD, u32::try_from(LETTERS)?).await?;
    assert_eq!(listed(&world, &["--limit", "100"]).await?.len(), 100);
    wait_for(&world, Topology::DEAD, u32::try_from(LETTERS)?).await?;
    let (proxy, broker_url) = Proxy::before(&world.amqp_url).await?;

    let mut command = world.command(&["dead", "replay"])?;
    command.env("AMQP_URL", broker_url);
    let replay = Running::start(&mut command, world.file("replay.log", "")?.as_ref())?;
    let replayed = async || world.ready(Topology::URLS).await;
    wait::until("some copies", replayed, |ready| *ready > 0).await?;
    // From here on the broker hears nothing of it: neither acks nor what would be given back.
    proxy.hold_requests(true);
    let ended = replay.kill().await?;
    assert_eq!(ended.code, None, "it ended before it was killed: {ended:?}");
    drop(proxy);

    let mut found = BTreeSet::new();
    let mut look = async || {
        found.extend(taken(&world, Topology::URLS).await?);
        found.extend(taken(&world, Topology::DEAD).await?);
        Ok(found.len())
    };
    wait::until("every letter", &mut look, |found| *found == LETTERS).await?;
    Ok(())
}

#[tokio::test]
async fn without_a_dead_queue_it_says_what_to_do() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for action in ["list", "replay", "purge"] {
        let ended = dead(&world, &[action, "--json"]).await?;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains("does not exist: start a worker first"), "{ended:?}");
    }
    Ok(())
}
