//! Workers that are asked to stop.

use fetchline_tests::wait;
use fetchline_tests::world::World;

#[tokio::test]
async fn sigterm_finishes_what_was_begun_and_gives_back_the_rest() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..100).map(|id| world.shop.url(&format!("/slow/400/{id}"))).collect();
    world.produce("drained", &urls).await?;
    let worker = world.worker(&["--concurrency", "10"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("some pages", fetched, |visits| *visits >= 15).await?;
    let ended = worker.terminate().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let begun = i64::try_from(world.shop.visits().total())?;
    assert!(begun < 100, "the test stopped too late to show anything");
    assert_eq!(world.rows().await?, begun);
    assert_eq!(i64::from(world.ready("urls").await?), 100 - begun);

    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.shop.visits().repeats()), (100, 0));
    Ok(())
}

#[tokio::test]
async fn a_fetch_that_outlasts_the_grace_is_given_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls = [world.shop.url("/hang/1"), world.shop.url("/p/1")];
    world.produce("hanging", &urls).await?;
    let worker = world.worker(&["--timeout", "900ms", "--connect-timeout", "500ms", "--grace", "1s"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("both pages", fetched, |visits| *visits == 2).await?;
    let ended = worker.terminate().await?;
    // Time-out and grace are close together: whichever comes first, nothing is lost.
    let left = i64::from(world.ready("urls").await?);
    assert_eq!(world.rows().await? + left, 2, "{ended:?}");
    Ok(())
}
