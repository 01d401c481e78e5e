//! Directives that are repeated many times: they do not count against the messages that wait
//! meanwhile.

use fetchline_tests::process::Running;
use fetchline_tests::wait;
use fetchline_tests::world::World;

/// More often than a broker redelivers a message by default.
const TIMES: u64 = 22;
const PAGES: u64 = 300;

async fn control(world: &World, arguments: &[&str]) -> anyhow::Result<()> {
    let output = world.run(&[&["control"], arguments].concat(), "").await?;
    anyhow::ensure!(output.code == Some(0), "{output:?}");
    Ok(())
}

/// Waits for one more visit of the shop, or until all pages have their rows.
async fn wait_for_visit(world: &World) -> anyhow::Result<()> {
    let before = world.shop.visits().total();
    let progress = async || Ok((world.shop.visits().total(), world.rows().await?));
    wait::until("one more page", progress, |(visits, rows)| {
        *visits > before || *rows == PAGES as i64
    })
    .await
    .map(drop)
}

async fn ensure_all_ok(world: &World, worker: Running) -> anyhow::Result<()> {
    control(world, &["concurrency", "50"]).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == PAGES as i64).await?;
    let outcomes: Vec<(String, i64)> =
        sqlx::query_as("SELECT outcome, COUNT(*) FROM fetches GROUP BY outcome")
            .fetch_all(&world.database)
            .await?;
    assert_eq!(outcomes, [("ok".to_owned(), PAGES as i64)]);
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    assert_eq!(world.shop.visits().repeats(), 0);
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn twenty_pauses_make_no_message_poison() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("paused", &world.numbered("/slow/500/", PAGES)).await?;
    // The worker holds all waiting tasks and fetches one page at a time.
    let worker = world.worker(&[
        "--concurrency",
        "1",
        "--prefetch",
        "160",
        "--timeout",
        "5s",
        "--grace",
        "15s",
    ])?;
    for _ in 0..TIMES {
        wait_for_visit(&world).await?;
        control(&world, &["pause"]).await?;
        let settled = async || Ok(world.rows().await? + i64::from(world.ready("urls").await?));
        wait::until("everything that was not fetched is requeued", settled, |settled| {
            *settled == PAGES as i64
        })
        .await?;
        control(&world, &["resume"]).await?;
    }
    assert!(world.shop.visits().total() < PAGES, "some tasks waited during all pauses");
    ensure_all_ok(&world, worker).await
}

/// A lower concurrency requeues tasks that would wait for too long.
#[tokio::test]
async fn twenty_changes_of_concurrency_make_no_message_poison() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("changed", &world.numbered("/slow/700/", PAGES)).await?;
    let mut worker = world.worker(&["--concurrency", "3", "--prefetch", "80"])?;
    for _ in 0..TIMES {
        for number in [3, 1] {
            control(&world, &["concurrency", &number.to_string()]).await?;
            let concurrency = async || Ok(worker.metric("fetchline_concurrency").await? as u64);
            wait::until("the change", concurrency, |concurrency| *concurrency == number).await?;
            wait_for_visit(&world).await?;
        }
    }
    assert!(world.shop.visits().total() < PAGES, "some tasks waited during all changes");
    ensure_all_ok(&world, worker).await
}
