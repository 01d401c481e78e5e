//! Acks follow commits.

use fetchline_tests::process::Running;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use sqlx::mysql::MySqlRow;
use sqlx::{Connection, Row};

/// Starts a worker that has fetched every page and waits for the locked table.
async fn blocked_worker(world: &World, amqp_url: &str) -> anyhow::Result<Running> {
    world.produce("held", &world.pages(50)).await?;
    let worker = world.worker_on(amqp_url, &["--batch-rows", "10"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("every page is fetched", fetched, |visits| *visits == 50).await?;
    let database = world.database_url.rsplit('/').next().unwrap_or_default();
    let blocked = async || {
        // Not `information_schema`: MySQL has removed the process list from it.
        let processes = sqlx::query("SHOW FULL PROCESSLIST").fetch_all(&world.database).await?;
        let text = |row: &MySqlRow, column| {
            row.try_get::<Option<String>, _>(column).ok().flatten().unwrap_or_default()
        };
        let waits = |row: &&MySqlRow| {
            text(row, "db") == database && text(row, "State").starts_with("Waiting for table")
        };
        Ok(processes.iter().filter(waits).count())
    };
    wait::until("two batches wait for the table", blocked, |blocked| *blocked >= 2).await?;
    Ok(worker)
}

#[tokio::test]
async fn nothing_is_acked_while_the_table_is_locked() -> anyhow::Result<()> {
    let world = World::new().await?;
    let holder = world.hold_table().await?;
    let worker = blocked_worker(&world, &world.amqp_url).await?;
    assert_eq!(world.ready("urls").await?, 0);

    // A message that was acked would not return to the queue.
    worker.kill().await?;
    let ready = async || world.ready("urls").await;
    wait::until("every message is requeued", ready, |ready| *ready == 50).await?;
    drop(holder);
    Ok(())
}

#[tokio::test]
async fn rows_are_committed_before_their_messages_are_acked() -> anyhow::Result<()> {
    let world = World::new().await?;
    let holder = world.hold_table().await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    let worker = blocked_worker(&world, &through_proxy).await?;

    // The acks are held back in the proxy: rows do not wait for them.
    proxy.hold_requests(true);
    holder.close().await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 50).await?;
    proxy.hold_requests(false);
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!((world.ready("urls").await?, world.rows().await?), (0, 50));
    assert_eq!(world.shop.visits().repeats(), 0);
    Ok(())
}

#[tokio::test]
async fn a_worker_needs_only_one_database_connection() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("narrow", &world.pages(500)).await?;
    let summary = world.work_until_empty(&["--pool", "1", "--batch-rows", "20"]).await?;
    assert_eq!((&summary["ok"], world.rows().await?), (&500.into(), 500));
    Ok(())
}
