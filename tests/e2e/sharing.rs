//! Several workers on one queue.

use fetchline_tests::wait;
use fetchline_tests::world::World;

#[tokio::test]
async fn several_workers_share_the_work() -> anyhow::Result<()> {
    let world = World::new().await?;
    let flags = ["--concurrency", "5", "--prefetch", "10", "--batch-rows", "10", "--until-empty"];
    let mut workers = (0..3).map(|_| world.worker(&flags)).collect::<anyhow::Result<Vec<_>>>()?;
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    let urls: Vec<String> = (0..150).map(|id| world.shop.url(&format!("/slow/50/{id}"))).collect();
    world.produce("shared", &urls).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 150).await?;
    let mut done = Vec::new();
    for worker in workers {
        let output = worker.end().await?;
        assert_eq!(output.code, Some(0), "{output:?}");
        done.push(output.json()?["rows"].as_u64().unwrap_or(0));
    }
    assert!(done.iter().all(|rows| *rows > 0), "{done:?}");
    assert_eq!((done.iter().sum::<u64>(), world.shop.visits().repeats()), (150, 0));
    Ok(())
}
