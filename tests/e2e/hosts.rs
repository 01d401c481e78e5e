//! Host limits, which all workers share.

use std::time::Instant;

use fetchline_tests::shop::{self, Shop};
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::Executor;

/// The host of the world's shop, as the workers name it.
fn host(shop: &Shop) -> String {
    shop.addr().to_string()
}

async fn hosts(world: &World, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
    let output = world.run(&[&["hosts"], arguments, &["--json"]].concat(), "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    output.json()
}

#[tokio::test]
async fn a_killed_worker_does_not_block_a_host_for_the_others() -> anyhow::Result<()> {
    let world = World::new().await?;
    hosts(&world, &["set", &host(&world.shop), "--rate", "20/s"]).await?;
    world.produce("limited", &world.pages(160)).await?;
    // A prefetch so small that every worker holds some messages.
    let flags = ["--concurrency", "10", "--prefetch", "40"];
    let mut workers: Vec<_> =
        (0..3).map(|_| world.worker(&flags)).collect::<anyhow::Result<_>>()?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some pages", visits, |visits| *visits >= 40).await?;
    for worker in workers.drain(..1) {
        worker.kill().await?;
    }
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 160).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    let seconds = world.shop.visits().seconds("127.0.0.1");
    // The shop's clock runs while the workers start.
    let start = seconds.iter().take_while(|visits| **visits == 0).count();
    let longest_stop = seconds[start..].split(|visits| *visits > 0).map(<[u32]>::len).max();
    // Two seconds without a request contain one whole second of the clock.
    assert!(longest_stop <= Some(1), "{seconds:?}");
    assert!(seconds.iter().all(|visits| *visits <= 22), "{seconds:?}");
    Ok(())
}

#[tokio::test]
async fn changes_of_host_limits_take_effect_within_two_seconds() -> anyhow::Result<()> {
    let world = World::new().await?;
    let host = host(&world.shop);
    hosts(&world, &["set", &host, "--rate", "10/s"]).await?;
    world.produce("changed", &world.pages(200)).await?;
    let worker = world.worker(&["--retry-delays", "1s,2s"])?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some pages", visits, |visits| *visits >= 5).await?;

    hosts(&world, &["pause", &host]).await?;
    let paused = Instant::now();
    let elapsed = async || Ok(paused.elapsed());
    wait::until("two seconds", elapsed, |elapsed| elapsed.as_secs() >= 2).await?;
    let before = world.shop.visits().total();
    wait::until("two more", elapsed, |elapsed| elapsed.as_secs() >= 4).await?;
    assert_eq!(world.shop.visits().total(), before, "a paused host gets no request");
    // All tasks that are not being moved wait in the longest delay queue.
    let waiting = async || world.ready("retry.2s").await;
    wait::until("the tasks wait in the broker", waiting, |ready| *ready > 0).await?;

    hosts(&world, &["set", &host, "--rate", "none"]).await?;
    let resumed = hosts(&world, &["resume", &host]).await?;
    assert_eq!((&resumed["paused"], &resumed["rate"]), (&false.into(), &serde_json::Value::Null));
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 200).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!(
        world.count("SELECT COUNT(*) FROM fetches WHERE attempts > 1").await?,
        0,
        "a deferral costs no attempt"
    );
    assert_eq!(
        (world.ready("urls").await?, world.ready("retry.2s").await?, world.ready("dead").await?),
        (0, 0, 0)
    );
    Ok(())
}

#[tokio::test]
async fn a_paused_host_delays_no_other() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = Shop::start(shop::Options::default()).await?;
    hosts(&world, &["pause", &host(&world.shop)]).await?;
    // More tasks than a worker holds.
    world.produce("paused", &world.pages(300)).await?;
    world.produce("other", &[other.url("/p/1"), other.url("/p/2")]).await?;
    let worker = world.worker(&["--concurrency", "10", "--prefetch", "50"])?;
    let rows = async || world.rows().await;
    wait::until("the rows of the other host", rows, |rows| *rows == 2).await?;
    let waiting = async || world.ready("retry.600s").await;
    wait::until("every task waits in the longest delay queue", waiting, |ready| *ready == 300)
        .await?;
    assert_eq!((world.shop.visits().total(), worker.terminate().await?.code), (0, Some(0)));
    Ok(())
}

#[tokio::test]
async fn every_worker_honours_the_retry_after_of_a_host() -> anyhow::Result<()> {
    let world = World::new().await?;
    let flags = ["--retry-delays", "1s,2s,10s"];
    let mut workers = vec![world.worker(&flags)?, world.worker(&flags)?];
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    world.produce("busy", &[world.shop.url("/busy/6/1/1")]).await?;
    let cooling = async || {
        world.count("SELECT COUNT(*) FROM hosts WHERE cool_down_until > UTC_TIMESTAMP(6)").await
    };
    wait::until("the host cools down", cooling, |hosts| *hosts == 1).await?;
    let cooled = Instant::now();
    let elapsed = async || Ok(cooled.elapsed());
    wait::until("every worker knows", elapsed, |elapsed| elapsed.as_secs() >= 2).await?;
    world.produce("meanwhile", &world.pages(40)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 41).await?;
    let early = "SELECT COUNT(*) FROM fetches JOIN hosts WHERE fetched_at < cool_down_until";
    assert_eq!(world.count(early).await?, 0);
    assert_eq!(
        world
            .count("SELECT COUNT(*) FROM hosts WHERE note LIKE 'answered 429%asked for 6 s'")
            .await?,
        1
    );
    let attempts = "SELECT COUNT(*) FROM fetches WHERE run = 'meanwhile' AND attempts > 1";
    assert_eq!(world.count(attempts).await?, 0, "a deferral costs no attempt");
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_throttles_without_retry_after_is_slowed_and_recovers() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..8).map(|id| world.shop.url(&format!("/status/429/{id}"))).collect();
    world.produce("refused", &urls).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let slowed = "SELECT COUNT(*) FROM hosts \
                  WHERE slowed BETWEEN 0.1 AND 10 AND note LIKE 'slowed: answered 429%'";
    assert_eq!(world.count(slowed).await?, 1);

    // The rate doubles after each minute; the test moves the time of the last change into the past.
    world
        .database
        .execute("UPDATE hosts SET slowed = 40, slowed_at = slowed_at - INTERVAL 61 SECOND")
        .await?;
    let worker = world.worker(&[])?;
    let doubled = async || {
        world
            .count("SELECT COUNT(*) FROM hosts WHERE slowed = 80 AND note LIKE 'recovering%'")
            .await
    };
    wait::until("the rate is doubled", doubled, |hosts| *hosts == 1).await?;
    world.database.execute("UPDATE hosts SET slowed_at = slowed_at - INTERVAL 61 SECOND").await?;
    let recovered = async || {
        world
            .count("SELECT COUNT(*) FROM hosts WHERE slowed IS NULL AND note LIKE 'recovered%'")
            .await
    };
    wait::until("the host has recovered", recovered, |hosts| *hosts == 1).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_deferred_task_with_a_row_is_not_fetched_again() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("parked", &world.pages(1)).await?;
    world.work_until_empty(&[]).await?;
    let (id, part): (String, String) =
        sqlx::query_as("SELECT message_id, part FROM fetches").fetch_one(&world.database).await?;
    // As if its worker had died between the confirm of the deferred message and the ack of the
    // original.
    let mut headers = FieldTable::default();
    headers.insert("x-run".into(), AMQPValue::LongString("parked".into()));
    headers.insert("x-part".into(), AMQPValue::LongString(part.into()));
    headers.insert("x-parked".into(), AMQPValue::LongLongInt(1));
    let duplicate = BasicProperties::default()
        .with_message_id(id.into())
        .with_app_id("fetchline".into())
        .with_headers(headers);
    world.publish(&world.pages(1)[0], duplicate).await?;
    world.work_until_empty(&[]).await?;
    assert_eq!(
        (world.shop.visits().total(), world.rows().await?, world.ready("urls").await?),
        (1, 1, 0)
    );
    Ok(())
}
