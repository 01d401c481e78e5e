//! Workers that are killed.

use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;

#[tokio::test]
async fn a_worker_killed_between_commit_and_ack_leaves_one_row_per_url_and_no_message()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    let mut worker = world.worker_on(&through_proxy, &[])?;
    worker.logs("consuming").await?;
    // From here on the worker receives from the broker, but the broker receives nothing from the
    // worker: no ack arrives.
    proxy.hold_requests(true);
    world.produce("killed", &world.pages(40)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 40).await?;
    worker.kill().await?;
    drop(proxy);
    let ready = async || world.ready("urls").await;
    wait::until("every message is requeued", ready, |ready| *ready == 40).await?;

    world.work_until_empty(&[]).await?;
    assert_eq!(
        (world.rows().await?, world.ready("urls").await?, world.ready("dead").await?),
        (40, 0, 0)
    );
    assert_eq!(
        world.shop.visits().repeats(),
        0,
        "committed tasks are deduplicated and not fetched again"
    );
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_while_it_fetches_loses_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..60).map(|id| world.shop.url(&format!("/slow/200/{id}"))).collect();
    world.produce("killed", &urls).await?;
    let worker = world.worker(&["--concurrency", "10"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("some pages", fetched, |visits| *visits >= 20).await?;
    worker.kill().await?;
    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.ready("urls").await?), (60, 0));
    Ok(())
}
