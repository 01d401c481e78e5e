//! Directives of operators, given again and again: they are no evidence against the messages that
//! wait meanwhile.

use fetchline_tests::process::Running;
use fetchline_tests::wait;
use fetchline_tests::world::World;

/// More often than a broker lets a message come back by default.
const TIMES: u64 = 22;
const PAGES: u64 = 300;

async fn control(world: &World, arguments: &[&str]) -> anyhow::Result<()> {
    let told = world.run(&[&["control"], arguments].concat(), "").await?;
    anyhow::ensure!(told.code == Some(0), "{told:?}");
    Ok(())
}

/// Waits for one more visit of the shop, or until there is nothing left to visit.
async fn visited_again(world: &World) -> anyhow::Result<()> {
    let before = world.shop.visits().total();
    let seen = async || Ok((world.shop.visits().total(), world.rows().await?));
    wait::until("one more page", seen, |(visits, rows)| *visits > before || *rows == PAGES as i64).await.map(drop)
}

async fn all_are_ok(world: &World, worker: Running) -> anyhow::Result<()> {
    control(world, &["concurrency", "50"]).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == PAGES as i64).await?;
    let outcomes: Vec<(String, i64)> =
        sqlx::query_as("SELECT outcome, COUNT(*) FROM fetches GROUP BY outcome").fetch_all(&world.database).await?;
    assert_eq!(outcomes, [("ok".to_owned(), PAGES as i64)]);
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    assert_eq!(world.shop.visits().repeats(), 0);
    let ended = worker.terminate().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn twenty_pauses_make_no_message_poison() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("paused", &world.numbered("/slow/500/", PAGES)).await?;
    // It holds all that waits, and fetches one page at a time.
    let worker = world.worker(&["--concurrency", "1", "--prefetch", "160", "--timeout", "5s", "--grace", "15s"])?;
    for _ in 0..TIMES {
        visited_again(&world).await?;
        control(&world, &["pause"]).await?;
        let settled = async || Ok(world.rows().await? + i64::from(world.ready("urls").await?));
        wait::until("whatever was not fetched is back", settled, |settled| *settled == PAGES as i64).await?;
        control(&world, &["resume"]).await?;
    }
    assert!(world.shop.visits().total() < PAGES, "nothing waited over all pauses");
    all_are_ok(&world, worker).await
}

/// A lower concurrency gives back what would be held for too long.
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
            visited_again(&world).await?;
        }
    }
    assert!(world.shop.visits().total() < PAGES, "nothing waited over all changes");
    all_are_ok(&world, worker).await
}
