//! Which messages are the same task.

use std::collections::BTreeMap;

use fetchline_queue::{FetchRequest, Fingerprint};
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// Properties with an id and with headers of text.
fn properties(id: &str, headers: &[(&str, &str)]) -> BasicProperties {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).into(), AMQPValue::LongString((*value).into())));
    BasicProperties::default()
        .with_message_id(id.into())
        .with_headers(FieldTable::from(headers.collect::<BTreeMap<_, _>>()))
}

#[tokio::test]
async fn an_id_of_another_program_counts_within_its_run_only() -> anyhow::Result<()> {
    let world = World::new().await?;
    let ids = [
        "order-17",
        &"ab".repeat(32),
        "019ad032-5a3c-7f31-a530-00000119b2c7",
        "019ad0325a3c7f31a53000000119b2c7",
        "9b2c7f31-5a3c-4f31-a530-00000119b2c7",
    ];
    for run in ["monday", "tuesday"] {
        for id in ids {
            let page = world.shop.url(&format!("/p/{}", id.len()));
            let mut properties = properties(id, &[("x-run", run), ("x-attempt", "2")]);
            if run == "tuesday" {
                // Even if it names a part, and the application that publishes our own messages.
                let mut headers = properties.headers().clone().unwrap_or_default();
                headers.insert("x-part".into(), AMQPValue::LongString("p1".into()));
                properties = properties.with_headers(headers).with_app_id("fetchline".into());
            }
            world.publish(&page, properties).await?;
        }
        // A second attempt is looked up. Monday's rows must not count as Tuesday's.
        world.work_until_empty(&[]).await?;
    }
    let per_run = "SELECT COUNT(*) FROM (SELECT run, COUNT(*) AS tasks FROM fetches GROUP BY run \
                   HAVING tasks = 5) AS runs";
    assert_eq!((world.rows().await?, world.count(per_run).await?), (10, 2));
    assert_eq!(world.shop.visits().total(), 10);
    Ok(())
}

#[tokio::test]
async fn a_message_without_an_id_is_a_task_of_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    for _ in 0..3 {
        world.type_message(&world.shop.url("/p/1")).await?;
    }
    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.shop.visits().of("/p/1")), (3, 3));
    // The newest is the last one by its key.
    let ordered = "SELECT COUNT(*) FROM fetches AS one JOIN fetches AS other \
                   ON one.id < other.id AND LEFT(one.id, 6) > LEFT(other.id, 6)";
    assert_eq!(world.count(ordered).await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_keys_of_a_part_are_in_the_order_of_its_list() -> anyhow::Result<()> {
    let world = World::new().await?;
    let produced = world
        .run(&["produce", "--run", "nightly", "--json"], &world.pages(300).join("\n"))
        .await?
        .json()?;
    world.work_until_empty(&["--retry-delays", "1s"]).await?;
    let urls: Vec<String> = sqlx::query_scalar("SELECT url FROM fetches ORDER BY id")
        .fetch_all(&world.database)
        .await?;
    assert_eq!(urls, world.pages(300));
    let part = produced["part"].as_str().unwrap_or_default();
    let of_part = format!(
        "SELECT COUNT(*) FROM fetches WHERE LOWER(LEFT(HEX(id), 19)) = '{}' \
         AND message_id = LOWER(HEX(id))",
        &part[..19]
    );
    assert_eq!(world.count(&of_part).await?, 300);
    Ok(())
}

#[tokio::test]
async fn a_resumed_part_sends_its_tasks_with_the_same_ids() -> anyhow::Result<()> {
    let world = World::new().await?;
    let file = world.file("list.txt", &world.numbered("/empty/", 4_000).join("\n"))?;
    let checkpoint = world.file("checkpoint.json", "")?;
    let arguments =
        ["produce", "--run", "nightly", "--checkpoint", &checkpoint, "--rate", "1000/s", &file];
    // What was sent after the last checkpoint is sent again.
    for _ in 0..3 {
        let confirmed = async || {
            let text = std::fs::read_to_string(&checkpoint)?;
            let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            Ok(state["confirmed"]["tasks"].as_u64().unwrap_or(0))
        };
        let before = confirmed().await?;
        let producer = world.start(&arguments)?;
        fetchline_tests::wait::until("progress", confirmed, |tasks| *tasks > before).await?;
        producer.kill().await?;
    }
    let arguments = ["produce", "--run", "nightly", "--checkpoint", &checkpoint, &file];
    let finished = world.run(&arguments, "").await?;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    world.work_until_empty(&[]).await?;
    assert_eq!(world.rows().await?, 4_000);
    let urls = "SELECT COUNT(DISTINCT url) FROM fetches";
    assert_eq!(world.count(urls).await?, 4_000);
    let planned = "SELECT CAST(planned AS SIGNED) FROM runs WHERE run = 'nightly' AND part <> ''";
    assert_eq!(world.count(planned).await?, 4_000);
    Ok(())
}

#[tokio::test]
async fn a_list_that_changes_while_its_part_is_interrupted_loses_no_page() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut list = world.numbered("/empty/", 2_000);
    let file = world.file("list.txt", &list.join("\n"))?;
    let checkpoint = world.file("checkpoint.json", "")?;
    let arguments = ["produce", "--checkpoint", &checkpoint, "--rate", "700/s", &file];
    let producer = world.start(&arguments)?;
    let confirmed = async || {
        let text = std::fs::read_to_string(&checkpoint)?;
        let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(state["confirmed"]["tasks"].as_u64().unwrap_or(0))
    };
    fetchline_tests::wait::until("progress", confirmed, |tasks| *tasks > 0).await?;
    // Some tasks beyond the checkpoint are queued.
    let confirmed = confirmed().await?;
    let ready = async || world.ready("urls").await;
    fetchline_tests::wait::until("more tasks", ready, |ready| u64::from(*ready) > confirmed + 50)
        .await?;
    producer.kill().await?;
    // The rest of the list moves by one place.
    let place = usize::try_from(confirmed)?;
    list.insert(place, world.shop.url("/empty/new"));
    std::fs::write(&file, list.join("\n"))?;
    let finished = world.run(&["produce", "--checkpoint", &checkpoint, &file], "").await?;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    world.work_until_empty(&[]).await?;
    let urls = "SELECT COUNT(DISTINCT url) FROM fetches";
    assert_eq!(world.count(urls).await?, 2_001);
    Ok(())
}

#[tokio::test]
async fn messages_of_the_last_release_have_one_row_after_the_upgrade() -> anyhow::Result<()> {
    let world = World::new().await?;
    let part = "0123456789abcdef";
    let message = |number: u64| -> anyhow::Result<(String, BasicProperties)> {
        let url = world.shop.url(&format!("/p/{number}"));
        let fingerprint = Fingerprint::of("nightly", part, &FetchRequest::get_url(&url)?, 0);
        let (_, id) = fingerprint.former_identity();
        let headers = [("x-run", "nightly"), ("x-part", part), ("x-attempt", "2")];
        Ok((url, properties(&id, &headers).with_app_id("fetchline".into())))
    };
    for number in 0..20 {
        let (url, properties) = message(number)?;
        // Half of them were fetched before the upgrade, and their rows were copied.
        if number % 2 == 0 {
            let id = properties.message_id().as_ref().map(ToString::to_string);
            let insert = "INSERT INTO fetches (id, run, url, method, outcome, attempts, \
                          elapsed_ms, fetched_at, worker) VALUES \
                          (CONCAT(X'000000000000', LEFT(UNHEX(?), 10)), 'nightly', ?, 'GET', \
                          'ok', 1, 5, UTC_TIMESTAMP(6), 'pod')";
            sqlx::query(insert).bind(id).bind(&url).execute(&world.database).await?;
        }
        world.publish(&url, properties).await?;
    }
    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.shop.visits().total()), (20, 10));
    Ok(())
}
