//! Acks follow commits.

use fetchline_tests::wait;
use fetchline_tests::world::World;
use sqlx::{Connection, Executor, MySqlConnection};

/// Holds the table so that nothing can be written, until it is dropped.
async fn hold(world: &World) -> anyhow::Result<MySqlConnection> {
    let mut holder = MySqlConnection::connect(&world.database_url).await?;
    holder.execute("LOCK TABLES fetches READ").await?;
    Ok(holder)
}

#[tokio::test]
async fn nothing_is_acked_while_the_database_is_held_still() -> anyhow::Result<()> {
    let world = World::new().await?;
    let holder = hold(&world).await?;
    world.produce("held", &world.pages(50)).await?;
    let worker = world.worker(&[])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("every page is fetched", fetched, |visits| *visits == 50).await?;
    assert_eq!(world.ready("urls").await?, 0);

    // Whatever was acked would not come back.
    worker.kill().await?;
    let ready = async || world.ready("urls").await;
    wait::until("every message comes back", ready, |ready| *ready == 50).await?;
    drop(holder);
    assert_eq!(world.rows().await?, 0);
    Ok(())
}

#[tokio::test]
async fn when_the_database_goes_on_rows_come_first_and_then_acks() -> anyhow::Result<()> {
    let world = World::new().await?;
    let holder = hold(&world).await?;
    world.produce("held", &world.pages(50)).await?;
    let worker = world.worker(&[])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("every page is fetched", fetched, |visits| *visits == 50).await?;

    holder.close().await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 50).await?;
    let ended = worker.terminate().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((world.ready("urls").await?, world.rows().await?), (0, 50));
    assert_eq!(world.shop.visits().repeats(), 0);
    Ok(())
}

#[tokio::test]
async fn one_connection_is_enough() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("narrow", &world.pages(500)).await?;
    let summary = world.work_until_empty(&["--pool", "1", "--batch-rows", "20"]).await?;
    assert_eq!((&summary["ok"], world.rows().await?), (&500.into(), 500));
    Ok(())
}
