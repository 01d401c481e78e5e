//! Locked rows and slow batches, which are not outages.

use std::time::{Duration, Instant};

use fetchline_tests::readiness::Readiness;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Locks the only row until the connection is closed.
async fn lock_the_row(world: &World) -> anyhow::Result<MySqlConnection> {
    let id: Vec<u8> =
        sqlx::query_scalar("SELECT id FROM fetches").fetch_one(&world.database).await?;
    let mut holder = MySqlConnection::connect(&world.database_url).await?;
    holder.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    holder.execute("BEGIN").await?;
    sqlx::query("SELECT id FROM fetches WHERE id = ? FOR UPDATE")
        .bind(id)
        .fetch_one(&mut holder)
        .await?;
    Ok(holder)
}

#[tokio::test]
async fn a_long_row_lock_delays_no_other_row_and_is_no_outage() -> anyhow::Result<()> {
    const OTHERS: u64 = 200;
    let world = World::new().await?;
    // The task fails, is given up, and succeeds at the second attempt: so it has a row that is
    // written again.
    world.produce("locked", &[world.shop.url("/flaky/1/1")]).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let dead = async || world.ready("dead").await;
    wait::until("its dead letter", dead, |dead| *dead == 1).await?;
    let holder = lock_the_row(&world).await?;

    // Everything published before goes into one batch.
    let replayed = world.run(&["dead", "replay"], "").await?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    world.produce("others", &world.pages(OTHERS)).await?;
    let mut worker = world.worker(&["--per-host", "100", "--batch-age", "2s"])?;
    let readiness = Readiness::of(&mut worker).await?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("all are fetched", fetched, |visits| *visits == OTHERS + 2).await?;
    let began = Instant::now();
    let others = async || world.count("SELECT COUNT(*) FROM fetches WHERE run = 'others'").await;
    let committed =
        wait::until("the others' rows, while one is locked", others, |rows| *rows == OTHERS as i64)
            .await;
    let took = began.elapsed();
    // The lock is held for at least 20 s, long enough for a worker that mistakes it for an outage.
    wait::since(began, Duration::from_secs(20)).await?;
    let rewritten =
        world.count("SELECT COUNT(*) FROM fetches WHERE run = 'locked' AND outcome = 'ok'").await?;
    holder.close().await?;
    committed?;
    assert!(took < Duration::from_secs(10), "the others waited for {took:?}");
    assert_eq!(rewritten, 0, "the row was locked");

    let ok = async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await;
    wait::until("the locked row", ok, |ok| *ok == OTHERS as i64 + 1).await?;
    readiness.never_failed().await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    assert_eq!(world.shop.visits().total(), OTHERS + 2, "nothing was fetched again");
    Ok(())
}

#[tokio::test]
async fn a_batch_that_exceeds_its_time_is_written_in_smaller_ones() -> anyhow::Result<()> {
    const ROWS: u64 = 100;
    let world = World::new().await?;
    let slow = "CREATE TRIGGER slow BEFORE INSERT ON fetches FOR EACH ROW BEGIN DO SLEEP(0.3); END";
    world.database.execute(AssertSqlSafe(slow.to_owned())).await?;
    world.produce("slow", &world.numbered("/empty/", ROWS)).await?;
    // All rows are one batch, which takes half a minute.
    let mut worker = world.worker(&[
        "--batch-rows",
        "100",
        "--batch-age",
        "5s",
        "--concurrency",
        "100",
        "--per-host",
        "100",
    ])?;
    worker.logs("consuming").await?;
    let rows = async || world.rows().await;
    wait::within(Duration::from_secs(240), "every row", rows, |rows| *rows == ROWS as i64).await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(
        (world.shop.visits().repeats(), world.ready("urls").await?, world.ready("dead").await?),
        (0, 0, 0)
    );
    Ok(())
}

#[tokio::test]
async fn commits_that_wait_for_the_only_connection_are_no_outage() -> anyhow::Result<()> {
    const ROWS: u64 = 120;
    let world = World::new().await?;
    let slow = "CREATE TRIGGER slow BEFORE INSERT ON fetches FOR EACH ROW BEGIN DO SLEEP(0.1); END";
    world.database.execute(AssertSqlSafe(slow.to_owned())).await?;
    // A batch takes two seconds, longer than anyone waits for a connection.
    let flags =
        ["--pool", "1", "--pool-timeout", "500ms", "--batch-rows", "20", "--per-host", "100"];
    let mut worker = world.worker(&flags)?;
    let readiness = Readiness::of(&mut worker).await?;
    world.produce("busy", &world.numbered("/empty/", ROWS)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == ROWS as i64).await?;
    readiness.never_failed().await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(
        (world.shop.visits().repeats(), world.ready("urls").await?, world.ready("dead").await?),
        (0, 0, 0)
    );
    Ok(())
}
