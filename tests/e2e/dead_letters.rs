//! The commands for dead letters.
#![expect(
    clippy::disallowed_methods,
    reason = "the broker dead-letters a message only after a reject"
)]

use std::collections::BTreeSet;

use fetchline_queue::Topology;
use fetchline_tests::process::{Output, Running};
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// A dead letter as a worker publishes it, given up this many minutes ago.
struct Letter {
    id: &'static str,
    url: String,
    run: &'static str,
    reason: &'static str,
    status: Option<i32>,
    minutes_ago: i64,
}

impl Letter {
    async fn publish(&self, world: &World) -> anyhow::Result<()> {
        let mut headers = FieldTable::default();
        let failed_at =
            (OffsetDateTime::now_utc() - Duration::minutes(self.minutes_ago)).format(&Rfc3339)?;
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
        publish(world, &self.url, properties).await
    }
}

/// Publishes to the dead queue, as a worker or a person does.
async fn publish(world: &World, body: &str, properties: BasicProperties) -> anyhow::Result<()> {
    let channel = world.amqp.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (exchange, options) = (world.prefix.as_str(), BasicPublishOptions::default());
    channel
        .basic_publish(exchange.into(), Topology::DEAD.into(), options, body.as_bytes(), properties)
        .await?
        .await?;
    Ok(())
}

/// Publishes four letters that differ in every field that can be filtered.
async fn publish_four(world: &World) -> anyhow::Result<()> {
    let letter = |id, url: &str, run, reason, status, minutes_ago| Letter {
        id,
        url: url.to_owned(),
        run,
        reason,
        status,
        minutes_ago,
    };
    for letter in [
        letter("a", "https://one.example/a", "monday", "http_error", Some(503), 200),
        letter("b", "https://user:hunter2@one.example:8443/b", "monday", "timeout", None, 150),
        letter("c", "https://one.example/c", "tuesday", "http_error", Some(500), 100),
        letter("d", "https://two.example/d", "tuesday", "http_error", Some(503), 50),
    ] {
        letter.publish(world).await?;
    }
    wait_for(world, Topology::DEAD, 4).await
}

/// Waits for the count of a queue, which lags behind its messages.
async fn wait_for(world: &World, key: &str, count: u32) -> anyhow::Result<()> {
    let ready = async || world.ready(key).await;
    wait::until(&format!("messages in {key}"), ready, |ready| *ready == count).await?;
    Ok(())
}

async fn dead(world: &World, arguments: &[&str]) -> anyhow::Result<Output> {
    world.run(&[&["dead"], arguments].concat(), "").await
}

/// The ids of the listed letters, in order.
async fn listed(world: &World, filters: &[&str]) -> anyhow::Result<Vec<String>> {
    let output = dead(world, &[&["list", "--json"], filters].concat()).await?;
    anyhow::ensure!(output.code == Some(0), "{output:?}");
    let letters = output.json()?["letters"].as_array().cloned().unwrap_or_default();
    Ok(letters.iter().filter_map(|letter| Some(letter["id"].as_str()?.to_owned())).collect())
}

/// Removes all messages from a queue and returns their ids.
async fn pop_all(world: &World, key: &str) -> anyhow::Result<BTreeSet<String>> {
    let channel = world.amqp.create_channel().await?;
    let queue: ShortString = world.broker()?.topology().queue(key).into();
    let mut ids = BTreeSet::new();
    while let Some(message) =
        channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await?
    {
        ids.extend(message.delivery.properties.message_id().as_ref().map(ShortString::to_string));
    }
    Ok(ids)
}

/// The names of headers, without the one that the broker adds to every delivery of a quorum queue.
fn header_names(headers: &FieldTable) -> Vec<&str> {
    headers
        .inner()
        .keys()
        .map(ShortString::as_str)
        .filter(|name| *name != "x-delivery-count")
        .collect()
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn a_list_shows_the_details_of_dead_letters_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    publish(&world, "ftp://user:hunter2@three.example/\u{7}", BasicProperties::default()).await?;
    wait_for(&world, Topology::DEAD, 5).await?;

    let output = dead(&world, &["list"]).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let lines: Vec<Vec<&str>> =
        output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["age", "reason", "status", "attempts", "run", "host", "worker", "URL", "error"]
    );
    let unknown = ["-", "-", "-", "-", "-", "-", "-", "ftp://***@three.example/\u{fffd}", "-"];
    assert_eq!(lines[1], unknown);
    assert_eq!(lines[2][0], "3h");
    assert_eq!(
        lines[2][2..9],
        ["http_error", "503", "4", "monday", "one.example", "pod-1", "https://one.example/a"]
    );
    assert_eq!(lines[2][9..].join(" "), "the site did not answer");
    assert_eq!(lines[3][2..5], ["timeout", "-", "4"]);
    assert_eq!(lines[3][6..9], ["one.example:8443", "pod-1", "https://***@one.example:8443/b"]);
    assert_eq!(lines[6], ["5", "of", "5", "dead", "letters"]);
    wait_for(&world, Topology::DEAD, 5).await?;

    let output = dead(&world, &["list", "--json"]).await?;
    let list = output.json()?;
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
    assert!(
        letter["age_s"].as_i64().is_some_and(|age| (12_000..12_600).contains(&age)),
        "{letter}"
    );
    assert!(letter["failed_at"].as_str().is_some_and(|text| text.ends_with('Z')), "{letter}");
    assert_eq!(list["letters"][0]["url"], Value::Null);
    assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    wait_for(&world, Topology::DEAD, 5).await
}

#[tokio::test]
async fn filters_combine() -> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    for (filters, expected) in [
        (&[][..], &["a", "b", "c", "d"][..]),
        (&["--run", "monday"], &["a", "b"]),
        (&["--host", "One.example"], &["a", "b", "c"]),
        (&["--host", "one.example:443"], &["a", "c"]),
        (&["--host", "one.example:8443"], &["b"]),
        (&["--reason", "http_error", "--status", "503"], &["a", "d"]),
        (&["--older-than", "2h"], &["a", "b"]),
        (
            &["--older-than", "75m", "--reason", "http_error", "--host", "https://one.example/"],
            &["a", "c"],
        ),
        (&["--older-than", "75m", "--status", "503", "--run", "tuesday"], &[]),
    ] {
        assert_eq!(listed(&world, filters).await?, expected, "{filters:?}");
        wait_for(&world, Topology::DEAD, 4).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_replay_is_a_first_attempt_under_the_same_id_and_leaves_other_letters_alone()
-> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    let output = dead(&world, &["replay", "--host", "one.example:8443", "--json"]).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let summary = output.json()?;
    assert_eq!(
        (&summary["seen"], &summary["matched"], &summary["replayed"]),
        (&4.into(), &1.into(), &1.into())
    );

    wait_for(&world, Topology::DEAD, 3).await?;
    wait_for(&world, Topology::URLS, 1).await?;
    let Some((properties, body)) = world.pop(Topology::URLS).await? else { panic!("no message") };
    assert_eq!(body, b"https://user:hunter2@one.example:8443/b");
    assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("b"));
    assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("text/plain"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().clone().unwrap_or_default();
    assert_eq!(
        header_names(&headers),
        ["traceparent", "x-attempt", "x-failed-at", "x-of-the-sender", "x-part", "x-run"]
    );
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(1)));
    assert_eq!(headers.inner().get("x-run"), Some(&AMQPValue::LongString("monday".into())));

    // The other letters are unchanged.
    let Some((properties, _)) = world.pop(Topology::DEAD).await? else { panic!("no letter") };
    let headers = properties.headers().clone().unwrap_or_default();
    assert!(headers.contains_key("x-reason") && headers.contains_key("x-status"), "{headers:?}");
    assert_eq!(headers.inner().get("x-attempt"), Some(&AMQPValue::LongLongInt(3)));
    let mut left = pop_all(&world, Topology::DEAD).await?;
    left.extend(properties.message_id().as_ref().map(ShortString::to_string));
    assert_eq!(left, ids(&["a", "c", "d"]));
    Ok(())
}

#[tokio::test]
async fn messages_dead_lettered_by_the_broker_are_listed_and_replayed_without_its_headers()
-> anyhow::Result<()> {
    let world = World::new().await?;
    world.type_message(&world.shop.url("/p/1")).await?;
    let channel = world.amqp.create_channel().await?;
    let queue = world.broker()?.topology().queue(Topology::URLS);
    let message = async || {
        Ok(channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: false }).await?)
    };
    let Some(message) = wait::until("a message", message, Option::is_some).await? else {
        panic!("no message")
    };
    channel
        .basic_reject(message.delivery.delivery_tag, BasicRejectOptions { requeue: false })
        .await?;
    wait_for(&world, Topology::DEAD, 1).await?;

    let list = dead(&world, &["list", "--json", "--reason", "rejected", "--run", "adhoc"])
        .await?
        .json()?;
    let letter = &list["letters"][0];
    assert_eq!(
        (&letter["url"], &letter["attempts"]),
        (&world.shop.url("/p/1").into(), &Value::Null)
    );
    assert!(letter["age_s"].as_i64().is_some_and(|age| age < 120), "{letter}");
    wait_for(&world, Topology::DEAD, 1).await?;

    let output = dead(&world, &["replay"]).await?;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (Some(0), "replayed 1 of 1 dead letters\n"),
        "{output:?}"
    );
    wait_for(&world, Topology::URLS, 1).await?;
    let Some((properties, _)) = world.pop(Topology::URLS).await? else { panic!("no message") };
    let headers = properties.headers().clone().unwrap_or_default();
    assert_eq!(header_names(&headers), ["x-attempt"]);
    assert_eq!(*properties.message_id(), None);
    Ok(())
}

#[tokio::test]
async fn replayed_tasks_are_fetched() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (id, url) in [("good", world.shop.url("/p/1")), ("bad", "ftp://a.example/".to_owned())] {
        Letter { id, url, run: "nightly", reason: "timeout", status: None, minutes_ago: 5 }
            .publish(&world)
            .await?;
    }
    wait_for(&world, Topology::DEAD, 2).await?;
    let output = dead(&world, &["replay"]).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    wait_for(&world, Topology::URLS, 2).await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!((&summary["ok"], &summary["dead"]), (&1.into(), &1.into()));
    assert_eq!(
        world
            .count("SELECT COUNT(*) FROM fetches WHERE message_id = 'good' AND attempts = 1")
            .await?,
        1
    );
    assert_eq!(pop_all(&world, Topology::DEAD).await?, ids(&["bad"]));
    Ok(())
}

#[tokio::test]
async fn a_limit_bounds_list_replay_and_purge() -> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    assert_eq!(listed(&world, &["--limit", "2", "--reason", "http_error"]).await?.len(), 2);
    wait_for(&world, Topology::DEAD, 4).await?;
    let output = dead(&world, &["replay", "--limit", "1", "--reason", "HTTP_error"]).await?;
    let summary = (output.code, output.stdout.as_str());
    assert_eq!(summary, (Some(0), "replayed 1 of 4 dead letters\n"), "{output:?}");
    wait_for(&world, Topology::DEAD, 3).await?;
    wait_for(&world, Topology::URLS, 1).await?;
    let output = dead(&world, &["purge", "--limit", "2"]).await?;
    assert!(output.code == Some(0) && output.stdout.starts_with("purged 2 of "), "{output:?}");
    wait_for(&world, Topology::DEAD, 1).await?;
    for (flags, why) in [
        (["--limit", "0"], "0 is not in"),
        (["--reason", "htp_error"], "did you mean `http_error`?"),
        (["--reason", ""], "the reasons are not_a_task"),
        (["--status", "5o3"], "`5o3` is not a status: a number from 100 to 599"),
        (["--status", "700"], "100 to 599"),
    ] {
        let output = dead(&world, &["purge", flags[0], flags[1]]).await?;
        assert!(output.code == Some(2) && output.stderr.contains(why), "{flags:?}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_done_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    for action in ["replay", "purge"] {
        let output = dead(&world, &[action, "--dry-run", "--run", "tuesday"]).await?;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(
            output.stdout.ends_with(&format!("would {action} 2 of 4 dead letters\n")),
            "{output:?}"
        );
        assert!(
            output.stdout.contains("https://one.example/c") && !output.stdout.contains("/a"),
            "{output:?}"
        );
        wait_for(&world, Topology::DEAD, 4).await?;
        let output = dead(&world, &[action, "--dry-run", "--run", "tuesday", "--json"]).await?;
        assert_eq!(output.json()?["letters"].as_array().map(Vec::len), Some(2), "{output:?}");
        wait_for(&world, Topology::DEAD, 4).await?;
    }
    assert_eq!(world.ready(Topology::URLS).await?, 0);
    assert_eq!(listed(&world, &[]).await?, ["a", "b", "c", "d"]);
    Ok(())
}

#[tokio::test]
async fn a_purge_removes_only_matching_letters() -> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    let output =
        dead(&world, &["purge", "--reason", "http_error", "--older-than", "75m", "--json"]).await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let summary = output.json()?;
    assert_eq!(
        (&summary["seen"], &summary["matched"], &summary["purged"]),
        (&4.into(), &2.into(), &2.into())
    );
    wait_for(&world, Topology::DEAD, 2).await?;
    assert_eq!(listed(&world, &[]).await?, ["b", "d"]);

    wait_for(&world, Topology::DEAD, 2).await?;
    let output = dead(&world, &["purge"]).await?;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (Some(0), "purged 2 of 2 dead letters\n"),
        "{output:?}"
    );
    let output = dead(&world, &["list"]).await?;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (Some(0), "0 of 0 dead letters\n"),
        "{output:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_letter_whose_replay_is_unroutable_stays() -> anyhow::Result<()> {
    let world = World::new().await?;
    publish_four(&world).await?;
    let channel = world.amqp.create_channel().await?;
    let (queue, exchange) =
        (world.broker()?.topology().queue(Topology::URLS), world.prefix.as_str());
    channel
        .queue_unbind(queue.into(), exchange.into(), Topology::URLS.into(), FieldTable::default())
        .await?;

    let output = dead(&world, &["replay", "--run", "monday", "--json"]).await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    let summary = output.json()?;
    assert_eq!((&summary["matched"], &summary["replayed"]), (&2.into(), &0.into()));
    assert!(output.stderr.contains("stays in the dead queue: https://one.example/a"), "{output:?}");
    assert!(
        output.stderr.contains("stays in the dead queue: https://***@one.example:8443/b"),
        "{output:?}"
    );
    assert!(output.stderr.contains("no queue is bound"), "{output:?}");
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
        channel
            .basic_publish(
                exchange.into(),
                Topology::DEAD.into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await?;
    }
    wait_for(&world, Topology::DEAD, u32::try_from(LETTERS)?).await?;
    assert_eq!(listed(&world, &["--limit", "100"]).await?.len(), 100);
    wait_for(&world, Topology::DEAD, u32::try_from(LETTERS)?).await?;
    let (proxy, broker_url) = Proxy::before(&world.amqp_url).await?;

    let mut command = world.command(&["dead", "replay"])?;
    command.env("AMQP_URL", broker_url);
    let replay = Running::start(&mut command, world.file("replay.log", "")?.as_ref())?;
    let replayed = async || world.ready(Topology::URLS).await;
    wait::until("some replayed letters", replayed, |ready| *ready > 0).await?;
    // From here on the broker receives nothing from the command: neither acks nor requeues.
    proxy.hold_requests(true);
    let output = replay.kill().await?;
    assert_eq!(output.code, None, "the replay ended before it was killed: {output:?}");
    drop(proxy);

    let mut found = BTreeSet::new();
    let mut collect = async || {
        found.extend(pop_all(&world, Topology::URLS).await?);
        found.extend(pop_all(&world, Topology::DEAD).await?);
        Ok(found.len())
    };
    wait::until("every letter", &mut collect, |found| *found == LETTERS).await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_dead_queue_is_reported_with_what_to_do() -> anyhow::Result<()> {
    let world = World::bare().await?;
    for action in ["list", "replay", "purge"] {
        let output = dead(&world, &[action, "--json"]).await?;
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
        assert!(output.stderr.contains("does not exist: start a worker first"), "{output:?}");
    }
    Ok(())
}
