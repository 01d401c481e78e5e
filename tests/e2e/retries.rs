//! Retries, given-up tasks and refused rows.

use fetchline_queue::Key;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::Executor;

/// Retry delays that a test can wait for.
const SHORT_RETRIES: [&str; 2] = ["--retry-delays", "1s,2s"];

fn text(headers: &FieldTable, name: &str) -> String {
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::LongLongInt(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transient_failure_is_retried_and_becomes_one_row() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls = ["/flaky/2/1", "/busy/1/1/2", "/busy-date/1/1/3", "/status/404/4"]
        .map(|path| world.shop.url(path));
    world.produce("flaky", &urls).await?;
    let summary = world.work_until_empty(&SHORT_RETRIES).await?;
    assert_eq!(
        (&summary["ok"], &summary["rows"], &summary["retried"]),
        (&3.into(), &4.into(), &4.into())
    );
    let attempts = async |path: &str| {
        world
            .count(&format!(
                "SELECT CAST(attempts AS SIGNED) FROM fetches WHERE url LIKE '%{path}'"
            ))
            .await
    };
    assert_eq!(attempts("/flaky/2/1").await?, 3);
    assert_eq!(attempts("/busy/1/1/2").await?, 2);
    assert_eq!(attempts("/status/404/4").await?, 1);
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_given_up_task_has_a_row_and_a_dead_letter_with_a_reason() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("broken", &[world.shop.url("/status/503/1")]).await?;
    world.work_until_empty(&[&SHORT_RETRIES[..], &["--max-attempts", "3"]].concat()).await?;
    assert_eq!(world.shop.visits().total(), 3);
    assert_eq!(
        world
            .count(
                "SELECT COUNT(*) FROM fetches \
                 WHERE outcome = 'http_error' AND status = 503 AND attempts = 3"
            )
            .await?,
        1
    );

    let Some((properties, body)) = world.pop("dead").await? else { panic!("no dead letter") };
    assert_eq!(body, world.shop.url("/status/503/1").as_bytes());
    let headers = properties.headers().clone().unwrap_or_default();
    for (name, expected) in [
        ("x-reason", "http_error"),
        ("x-status", "503"),
        ("x-attempts", "3"),
        ("x-worker", "worker-1"),
        ("x-run", "broken"),
    ] {
        assert_eq!(text(&headers, name), expected, "{name}");
    }
    assert!(text(&headers, "x-error").contains("503"));

    // The console moves the letter back: another round of attempts, although there is a row.
    world.publish(std::str::from_utf8(&body)?, properties).await?;
    world.work_until_empty(&[&SHORT_RETRIES[..], &["--max-attempts", "2"]].concat()).await?;
    assert_eq!(
        (world.shop.visits().total(), world.rows().await?, world.ready("dead").await?),
        (5, 1, 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_duplicate_of_a_given_up_task_becomes_a_dead_letter_without_a_request()
-> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("broken", &[world.shop.url("/status/500/1")]).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let Some((properties, body)) = world.pop("dead").await? else { panic!("no dead letter") };
    // As if the worker had died between the row and the dead letter: the message as it was at its
    // last attempt.
    let mut headers = FieldTable::default();
    for name in ["x-run", "x-part"] {
        let value = text(&properties.headers().clone().unwrap_or_default(), name);
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    headers.insert("x-attempt".into(), AMQPValue::LongLongInt(4));
    let id = properties.message_id().clone().unwrap_or_default();
    let app = properties.app_id().clone().unwrap_or_default();
    let duplicate =
        BasicProperties::default().with_message_id(id).with_app_id(app).with_headers(headers);
    world.publish(std::str::from_utf8(&body)?, duplicate).await?;
    world.work_until_empty(&[]).await?;
    assert_eq!(
        (world.shop.visits().total(), world.ready("urls").await?, world.ready("dead").await?),
        (1, 0, 1)
    );
    Ok(())
}

#[tokio::test]
async fn an_unsafe_request_is_sent_once_unless_the_site_has_refused_it() -> anyhow::Result<()> {
    let world = World::new().await?;
    let post =
        |path: &str| format!(r#"{{"url":"{}","method":"POST","body":"x"}}"#, world.shop.url(path));
    world.type_message(&post("/status/500/1")).await?;
    world.type_message(&post("/busy/1/1/2")).await?;
    world.work_until_empty(&SHORT_RETRIES).await?;
    let visits = world.shop.visits();
    assert_eq!((visits.of("/status/500/1"), visits.of("/busy/1/1/2")), (1, 2));
    assert_eq!((world.ready("dead").await?, world.rows().await?), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_refused_row_does_not_affect_its_neighbours() -> anyhow::Result<()> {
    let world = World::new().await?;
    let constraint = "ALTER TABLE fetches ADD CONSTRAINT poisoned \
                      CHECK (body_text IS NULL OR url NOT LIKE '%/p/13')";
    world.database.execute(constraint).await?;
    world.produce("refused", &world.pages(40)).await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!((&summary["ok"], &summary["outcomes"]["refused"]), (&39.into(), &1.into()));
    let bare = "SELECT COUNT(*) FROM fetches WHERE outcome = 'refused' AND body_text IS NULL \
                AND status = 200 AND error LIKE '%poisoned%'";
    assert_eq!((world.count(bare).await?, world.rows().await?), (1, 40));
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 1));
    let Some((properties, _)) = world.pop("dead").await? else { panic!("no dead letter") };
    let headers = properties.headers().clone().unwrap_or_default();
    assert_eq!(text(&headers, "x-reason"), "refused");
    assert!(text(&headers, "x-error").contains("poisoned"));
    Ok(())
}

#[tokio::test]
async fn refused_rows_alone_in_a_batch_are_no_outage() -> anyhow::Result<()> {
    let world = World::new().await?;
    world
        .database
        .execute("ALTER TABLE fetches ADD CONSTRAINT poisoned CHECK (body_text IS NULL)")
        .await?;
    world.produce("refused", &world.pages(2)).await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!((&summary["outcomes"]["refused"], world.rows().await?), (&2.into(), 2));
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 2));
    Ok(())
}

#[tokio::test]
async fn a_refused_bare_row_leaves_a_dead_letter_and_its_neighbours_are_written()
-> anyhow::Result<()> {
    let world = World::new().await?;
    world
        .database
        .execute("ALTER TABLE fetches ADD CONSTRAINT poisoned CHECK (url NOT LIKE '%/p/13')")
        .await?;
    world.produce("refused", &world.pages(40)).await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!(
        (&summary["ok"], &summary["failed"], world.rows().await?),
        (&39.into(), &0.into(), 39)
    );
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 1));
    let Some((properties, _)) = world.pop("dead").await? else { panic!("no dead letter") };
    assert_eq!(text(&properties.headers().clone().unwrap_or_default(), "x-reason"), "refused");
    Ok(())
}

#[tokio::test]
async fn a_table_that_refuses_every_row_is_an_outage_and_causes_no_dead_letters()
-> anyhow::Result<()> {
    let world = World::new().await?;
    world
        .database
        .execute("ALTER TABLE fetches ADD CONSTRAINT mistake CHECK (status > 999)")
        .await?;
    world.produce("held", &world.pages(40)).await?;
    let mut worker = world.worker(&[])?;
    worker.logs("the database takes no rows").await?;
    assert_eq!((world.rows().await?, world.ready("dead").await?), (0, 0));
    world.database.execute("ALTER TABLE fetches DROP CONSTRAINT mistake").await?;
    let rows = async || world.rows().await;
    fetchline_tests::wait::until("every row", rows, |rows| *rows == 40).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!((world.shop.visits().repeats(), world.ready("dead").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_body_too_large_for_the_database_is_left_out_and_the_row_says_so() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("large", &[world.shop.url("/huge/20/1"), world.shop.url("/p/1")]).await?;
    let summary = world.work_until_empty(&["--max-body", "20MiB", "--store-body", "all"]).await?;
    assert_eq!(summary["ok"], 2);
    let packet = world.count("SELECT CAST(@@max_allowed_packet AS SIGNED)").await?;
    let left_out = "SELECT COUNT(*) FROM fetches WHERE body_bytes = 20 << 20 \
                    AND body IS NULL AND body_text IS NULL AND error LIKE '%max_allowed_packet%'";
    assert_eq!(world.count(left_out).await?, i64::from(packet < 21 << 20));
    assert_eq!(world.ready("dead").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_task_that_crashed_workers_is_poison_and_one_that_was_only_redelivered_is_not()
-> anyhow::Result<()> {
    let world = World::new().await?;
    // The header of the broker for a message with twenty redeliveries.
    let redelivered = |id: &str| {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(20));
        BasicProperties::default().with_message_id(id.into()).with_headers(headers)
    };
    let (poison, innocent) = ("ab".repeat(32), "cd".repeat(32));
    let mark = "INSERT INTO quarantine (id, begun, worker, begun_at) \
                VALUES (UNHEX(?), ?, 'gone', UTC_TIMESTAMP(6))";
    for (id, begun) in [(&poison, 5), (&innocent, 1)] {
        let key = Key::of_other_program("adhoc", id).to_string();
        sqlx::query(mark).bind(key).bind(begun).execute(&world.database).await?;
    }
    world.publish(&world.shop.url("/p/1"), redelivered(&poison)).await?;
    world.publish(&world.shop.url("/p/2"), redelivered(&innocent)).await?;
    world.publish(&world.shop.url("/p/3"), redelivered(&"ef".repeat(32))).await?;
    world.work_until_empty(&[]).await?;
    let visits = ["/p/1", "/p/2", "/p/3"].map(|path| world.shop.visits().of(path));
    assert_eq!(visits, [0, 1, 1]);
    let outcomes =
        "SELECT COUNT(*) FROM fetches WHERE outcome = IF(url LIKE '%/p/1', 'poison', 'ok')";
    assert_eq!((world.count(outcomes).await?, world.rows().await?), (3, 3));
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 1));
    // A task that has ended has no mark.
    assert_eq!(world.count("SELECT COUNT(*) FROM quarantine WHERE begun < 5").await?, 0);
    Ok(())
}
