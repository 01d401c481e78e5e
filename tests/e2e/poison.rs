//! Poison: only fetches that began and never ended count against a task.

use fetchline_tests::wait;
use fetchline_tests::world::World;

/// More often than a broker redelivers a message by default.
const KILLS: u64 = 25;

#[tokio::test]
async fn a_task_that_never_began_is_not_poison_however_many_workers_died_holding_it()
-> anyhow::Result<()> {
    // Newer brokers return messages in another order, so each worker may begin a different task.
    const PAGES: u64 = 2 * KILLS;
    let world = World::new().await?;
    let (hanging, waiting) = (world.numbered("/hang/", PAGES), world.shop.url("/p/1"));
    world.produce("killed", &hanging).await?;
    world.produce("killed", std::slice::from_ref(&waiting)).await?;
    let flags = ["--concurrency", "1", "--timeout", "10s", "--grace", "15s", "--prefetch", "60"];
    for _ in 0..KILLS {
        let finished = world.rows().await?;
        let left = PAGES as i64 + 1 - finished;
        if left == 0 {
            break;
        }
        let ready = async || world.ready("urls").await;
        wait::until("all messages are requeued", ready, |ready| i64::from(*ready) == left).await?;
        let visits_of_hanging = || world.shop.visits().total() - world.shop.visits().of("/p/1");
        let before = visits_of_hanging();
        let mut worker = world.worker(&flags)?;
        let state = async || {
            let visits = visits_of_hanging() - before;
            // A task that is poison by now has a row and is not held any more.
            Ok((
                visits,
                worker.metric("fetchline_messages_held").await? as i64,
                world.rows().await? - finished,
            ))
        };
        let busy = |(visits, held, rows): &(u64, i64, i64)| {
            held + rows >= left && (*visits > 0 || *held == 0)
        };
        wait::until("one task is fetched, and the others are held", state, busy).await?;
        worker.kill().await?;
    }
    let begun: Vec<bool> =
        (0..PAGES).map(|id| world.shop.visits().of(&format!("/hang/{id}")) > 0).collect();
    let innocent = begun.iter().filter(|begun| !**begun).count();
    assert!(innocent >= 5, "only {innocent} tasks never began, too few for this test");

    // All hanging pages time out now.
    let mut worker = world.worker(&[
        "--concurrency",
        "30",
        "--timeout",
        "1s",
        "--connect-timeout",
        "1s",
        "--max-attempts",
        "1",
    ])?;
    worker.logs("consuming").await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == PAGES as i64 + 1).await?;
    let outcome = async |url: &str| -> anyhow::Result<String> {
        let query = sqlx::query_scalar("SELECT outcome FROM fetches WHERE url = ?");
        Ok(query.bind(url).fetch_one(&world.database).await?)
    };
    assert_eq!(outcome(&waiting).await?, "ok");
    for (url, begun) in hanging.iter().zip(begun) {
        let outcome = outcome(url).await?;
        assert!(
            outcome == "timeout" || begun && outcome == "poison",
            "{url} (begun: {begun}): {outcome}"
        );
    }
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

/// Waits for one more visit of the shop, or until all pages have their rows.
async fn wait_for_visit(world: &World, pages: i64) -> anyhow::Result<()> {
    let before = world.shop.visits().total();
    let progress = async || Ok((world.shop.visits().total(), world.rows().await?));
    wait::until("one more page", progress, |(visits, rows)| *visits > before || *rows == pages)
        .await
        .map(drop)
}

/// Waits until all pages have their rows and fails unless all are `ok`.
async fn ensure_all_ok(world: &World, pages: i64) -> anyhow::Result<()> {
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == pages).await?;
    let outcomes: Vec<(String, i64)> =
        sqlx::query_as("SELECT outcome, COUNT(*) FROM fetches GROUP BY outcome")
            .fetch_all(&world.database)
            .await?;
    assert_eq!(outcomes, [("ok".to_owned(), pages)]);
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn tasks_that_wait_through_many_drains_are_not_poison() -> anyhow::Result<()> {
    const PAGES: u64 = 100;
    let world = World::new().await?;
    world.produce("drained", &world.numbered("/slow/300/", PAGES)).await?;
    let flags = ["--concurrency", "1", "--prefetch", "110", "--timeout", "5s", "--grace", "15s"];
    for _ in 0..KILLS {
        let mut worker = world.worker(&flags)?;
        worker.logs("consuming").await?;
        wait_for_visit(&world, PAGES as i64).await?;
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    let worker = world.worker(&["--concurrency", "50", "--per-host", "50"])?;
    ensure_all_ok(&world, PAGES as i64).await?;
    assert_eq!(world.shop.visits().repeats(), 0);
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}
