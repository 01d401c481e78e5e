//! Host limits with a slow database, for many hosts together, and while nothing changes.

use std::time::{Duration, Instant};

use fetchline_tests::process::Running;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use futures_util::future::try_join_all;
use sqlx::Executor;

/// Retry delays that a test can wait for.
const SHORT_RETRIES: [&str; 2] = ["--retry-delays", "1s,2s"];

/// The host of the world's shop, as the workers name it.
pub(crate) fn host(world: &World) -> String {
    world.shop.addr().to_string()
}

/// Starts a worker whose database takes 30 ms for every statement.
pub(crate) async fn start_far_from_database(
    world: &World,
    flags: &[&str],
) -> anyhow::Result<(Proxy, Running)> {
    let (proxy, through_proxy) = Proxy::before(&world.database_url).await?;
    proxy.delay(Duration::from_millis(15));
    let mut worker = world.worker_between(&world.amqp_url, &through_proxy, flags)?;
    worker.logs("consuming").await?;
    Ok((proxy, worker))
}

#[tokio::test]
async fn a_single_task_of_a_fast_limited_host_gets_its_slot_behind_a_slow_database()
-> anyhow::Result<()> {
    let world = World::new().await?;
    world.hosts(&["set", &host(&world), "--rate", "200/s"]).await?;
    let (_proxy, worker) = start_far_from_database(&world, &[]).await?;
    world.produce("single", &world.pages(1)).await?;
    let rows = async || world.rows().await;
    wait::until("its row", rows, |rows| *rows == 1).await?;
    assert_eq!((world.shop.visits().total(), worker.terminate().await?.code), (1, Some(0)));
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_paused_host_are_deferred_less_and_less_often() -> anyhow::Result<()> {
    const PAGES: u64 = 100;
    let world = World::new().await?;
    world.hosts(&["pause", &host(&world)]).await?;
    let mut worker = world.worker(&SHORT_RETRIES)?;
    world.produce("paused", &world.pages(PAGES)).await?;
    let deferrals = async || worker.metric("fetchline_parked_total").await;
    wait::until("all tasks are deferred", deferrals, |deferrals| *deferrals >= PAGES as f64)
        .await?;
    wait::since(Instant::now(), Duration::from_secs(20)).await?;
    let deferrals = worker.metric("fetchline_parked_total").await?;
    assert!(
        deferrals <= 4.0 * PAGES as f64,
        "{PAGES} messages were deferred {deferrals} times within 20 s"
    );
    assert_eq!((world.shop.visits().total(), worker.terminate().await?.code), (0, Some(0)));
    let waiting = async || {
        let mut waiting = world.ready("urls").await?;
        for key in ["retry.1s", "retry.2s", "retry.10s", "retry.60s", "retry.600s", "retry.3600s"] {
            waiting += world.ready(key).await?;
        }
        Ok(waiting)
    };
    wait::until("all messages are in the queues", waiting, |waiting| *waiting == PAGES as u32)
        .await?;
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_host_that_is_resumed_soon_return_soon() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.hosts(&["pause", &host(&world)]).await?;
    let mut worker = world.worker(&SHORT_RETRIES)?;
    world.produce("paused", &world.pages(50)).await?;
    let deferrals = async || worker.metric("fetchline_parked_total").await;
    wait::until("all tasks are deferred", deferrals, |deferrals| *deferrals >= 50.0).await?;
    assert_eq!(world.shop.visits().total(), 0);
    world.hosts(&["resume", &host(&world)]).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 50).await?;
    assert_eq!(
        world.count("SELECT COUNT(*) FROM fetches WHERE attempts > 1").await?,
        0,
        "a deferral costs no attempt"
    );
    assert_eq!((world.shop.visits().repeats(), worker.terminate().await?.code), (0, Some(0)));
    Ok(())
}

/// The number of rows that were read from this world's table `hosts`. The server counts them for
/// this table alone, whatever else runs on it.
async fn host_rows_read(world: &World) -> anyhow::Result<i64> {
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&world.database).await?;
    if version.contains("MariaDB") {
        // Off by default, and harmless.
        world.database.execute("SET GLOBAL userstat = ON").await?;
        return world
            .count(
                "SELECT CAST(COALESCE(MAX(ROWS_READ), 0) AS SIGNED) \
                 FROM information_schema.TABLE_STATISTICS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'hosts'",
            )
            .await;
    }
    world
        .count(
            "SELECT CAST(COALESCE(MAX(COUNT_FETCH), 0) AS SIGNED) \
             FROM performance_schema.table_io_waits_summary_by_table \
             WHERE OBJECT_SCHEMA = DATABASE() AND OBJECT_NAME = 'hosts'",
        )
        .await
}

async fn set_limit(world: &World, host: &str) -> anyhow::Result<()> {
    world.hosts(&["set", host, "--rate", "5/s"]).await.map(drop)
}

#[tokio::test]
async fn unchanged_limits_are_not_read_again() -> anyhow::Result<()> {
    const HOSTS: i64 = 50;
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    worker.logs("consuming").await?;
    let before = host_rows_read(&world).await?;
    let names: Vec<String> = (0..HOSTS).map(|number| format!("host-{number}.example")).collect();
    for names in names.chunks(10) {
        try_join_all(names.iter().map(|name| set_limit(&world, name))).await?;
    }
    let read = async || Ok(host_rows_read(&world).await? - before);
    wait::until("the worker has read the limits", read, |read| *read >= HOSTS).await?;
    // A change is read again for a while, because it may become visible late.
    wait::since(Instant::now(), Duration::from_secs(20)).await?;

    let then = host_rows_read(&world).await?;
    let began = Instant::now();
    wait::since(began, Duration::from_secs(10)).await?;
    let read = host_rows_read(&world).await? - then;
    // One additional read of the whole table is acceptable.
    assert!(read <= 2 * HOSTS, "{read} rows in {:?}", began.elapsed());
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
