//! Messages from other programs and people.

use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::AMQPValue;

#[tokio::test]
async fn a_url_typed_into_the_console_is_fetched_every_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = world.shop.url("/p/1");
    world.type_message(&format!(" {page} \n")).await?;
    world.type_message(&page).await?;
    world
        .type_message(&format!(
            r#"{{"url":"{}","method":"POST","body":{{"z": 1.10, "a": 12345678901234567890123}}}}"#,
            world.shop.url("/echo/1")
        ))
        .await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!(summary["ok"], 3);
    // Each message without an id is a task of its own.
    assert_eq!((world.shop.visits().of("/p/1"), world.rows().await?), (2, 3));
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE run = 'adhoc'").await?, 3);
    let echo: String =
        sqlx::query_scalar("SELECT CAST(body_json AS CHAR) FROM fetches WHERE method = 'POST'")
            .fetch_one(&world.database)
            .await?;
    let echo: serde_json::Value = echo.parse()?;
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["body"], r#"{"z": 1.10, "a": 12345678901234567890123}"#, "{echo}");
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_not_a_task_becomes_a_dead_letter_with_a_reason() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.type_message("ftp://a.example/").await?;
    world
        .publish("nonsense", BasicProperties::default().with_message_id("order-17".into()))
        .await?;
    world.type_message(&world.shop.url("/p/1")).await?;
    let summary = world.work_until_empty(&[]).await?;
    assert_eq!((&summary["ok"], &summary["dead"]), (&1.into(), &2.into()));
    assert_eq!(
        (world.ready("urls").await?, world.ready("dead").await?, world.rows().await?),
        (0, 2, 1)
    );

    let Some((first, body)) = world.pop("dead").await? else { panic!("no dead letter") };
    assert_eq!(body, b"ftp://a.example/");
    let headers = first.headers().clone().unwrap_or_default();
    let header = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(header("x-reason"), "not_a_task");
    assert!(header("x-error").contains("`ftp`"));
    assert_eq!(header("x-worker"), "worker-1");
    assert!(header("x-failed-at").ends_with('Z'));
    let Some((second, _)) = world.pop("dead").await? else { panic!("no dead letter") };
    assert_eq!(second.message_id().as_ref().map(|id| id.as_str()), Some("order-17"));
    Ok(())
}
