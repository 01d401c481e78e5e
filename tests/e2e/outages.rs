//! Outages of the broker and the database.

use std::time::{Duration, Instant};

use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

#[tokio::test]
async fn a_cut_broker_connection_is_replaced_and_nothing_is_lost() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    let urls: Vec<String> = (0..100).map(|id| world.shop.url(&format!("/slow/100/{id}"))).collect();
    world.produce("cut", &urls).await?;
    let mut worker = world.worker_on(&through_proxy, &["--concurrency", "10"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("some pages", fetched, |visits| *visits >= 20).await?;
    proxy.cut();
    worker.logs("consuming again").await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 100).await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(
        (world.rows().await?, world.ready("urls").await?, world.ready("dead").await?),
        (100, 0, 0)
    );
    assert_eq!(
        output.stderr.matches("not consuming; trying again").count(),
        1,
        "logged more than once: {}",
        output.stderr
    );
    assert_eq!(
        world.shop.visits().repeats(),
        0,
        "duplicate deliveries join the fetch under way or are deduplicated"
    );
    Ok(())
}

#[tokio::test]
async fn what_the_broker_holds_for_a_lost_connection_is_not_the_end() -> anyhow::Result<()> {
    let world = World::new().await?;
    let url = format!("{}?heartbeat=4", world.amqp_url);
    let (proxy, through_proxy) = Proxy::before(&url).await?;
    // All of them are delivered at once, and most of them wait when the connection is lost.
    let urls: Vec<String> = (0..10).map(|id| world.shop.url(&format!("/slow/300/{id}"))).collect();
    world.produce("lost", &urls).await?;
    let mut worker = world.worker_on(&through_proxy, &["--until-empty", "--concurrency", "1"])?;
    let visited = async || Ok(world.shop.visits().total());
    wait::until("a page", visited, |visits| *visits >= 1).await?;
    proxy.cut_clients();
    worker.logs("the broker may still hold messages for a connection that was lost").await?;
    let output = worker.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!((world.rows().await?, world.ready("urls").await?), (10, 0), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_starts_before_its_broker_waits_for_it() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("early", &world.pages(5)).await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    proxy.refuse(true);
    let mut worker = world.worker_on(&through_proxy, &[])?;
    let log = worker.logs("not consuming; trying again").await?;
    assert!(!log.contains("guest:guest"), "{log}");
    proxy.refuse(false);
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 5).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_declared_again() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    worker.logs("consuming").await?;
    let queue = world.broker()?.topology().queue("urls");
    world
        .amqp
        .create_channel()
        .await?
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await?;
    worker.logs("consuming again").await?;
    worker.logs("was missing; this worker has declared it again").await?;
    world.produce("after", &world.pages(5)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 5).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_worker_says_that_its_queue_was_declared_anew_in_another_way() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&[])?;
    worker.logs("consuming").await?;
    let queue = world.broker()?.topology().queue("urls");
    let channel = world.amqp.create_channel().await?;
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
    worker.logs("is not as a worker declares it").await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_database_outage_longer_than_the_hold_requeues_messages_and_loses_nothing()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let (proxy, through_proxy) = Proxy::before(&world.database_url).await?;
    let flags = ["--hold", "2s", "--pool-timeout", "1s"];
    let mut worker = world.worker_between(&world.amqp_url, &through_proxy, &flags)?;
    worker.logs("consuming").await?;
    proxy.refuse(true);
    proxy.cut();
    world.produce("held", &world.pages(20)).await?;
    worker.logs("messages are requeued").await?;
    let ready = async || world.ready("urls").await;
    wait::until("every message is requeued", ready, |ready| *ready == 20).await?;
    proxy.refuse(false);
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 20).await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    assert_eq!(
        world.count("SELECT CAST(MAX(attempts) AS SIGNED) FROM fetches").await?,
        1,
        "an outage costs no attempt"
    );
    Ok(())
}

#[tokio::test]
async fn results_are_held_at_the_same_time_and_not_one_after_the_other() -> anyhow::Result<()> {
    const HOLD: Duration = Duration::from_secs(6);
    let world = World::new().await?;
    let (proxy, through_proxy) = Proxy::before(&world.database_url).await?;
    // Each page is its own batch, and two batches are written at a time.
    let flags =
        ["--hold", "6s", "--pool-timeout", "500ms", "--batch-rows", "1", "--concurrency", "12"];
    let mut worker = world.worker_between(&world.amqp_url, &through_proxy, &flags)?;
    let urls: Vec<String> = (0..12).map(|id| world.shop.url(&format!("/slow/2000/{id}"))).collect();
    world.produce("held", &urls).await?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("every page is being fetched", fetched, |visits| *visits == 12).await?;
    proxy.refuse(true);
    proxy.cut();
    worker.logs("messages are requeued").await?;
    let first = Instant::now();
    let ready = async || world.ready("urls").await;
    wait::until("every message is requeued", ready, |ready| *ready == 12).await?;
    assert!(
        first.elapsed() < 2 * HOLD,
        "the last message is requeued {:?} after the first",
        first.elapsed()
    );
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_retry_that_cannot_be_published_is_requeued_after_the_hold_and_nothing_is_lost()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    let mut worker = world.worker_on(
        &through_proxy,
        &["--hold", "2s", "--retry-delays", "1s", "--max-attempts", "2"],
    )?;
    worker.logs("consuming").await?;
    // The consuming connection exists; the publishing one is not opened before it is needed.
    proxy.refuse(true);
    world.produce("held", &[world.shop.url("/flaky/1/1")]).await?;
    worker.logs("could not be published for too long").await?;
    proxy.refuse(false);
    let rows = async || world.rows().await;
    wait::until("the row", rows, |rows| *rows == 1).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!(
        (world.ready("urls").await?, world.ready("retry.1s").await?, world.ready("dead").await?),
        (0, 0, 0)
    );
    Ok(())
}

#[tokio::test]
async fn an_exhausted_connection_pool_is_no_outage() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut worker = world.worker(&["--pool", "1", "--pool-timeout", "1s"])?;
    worker.logs("consuming").await?;
    let holder = world.hold_table().await?;
    world.produce("held", &world.pages(1)).await?;
    let held = Instant::now();
    let waited = async || Ok(held.elapsed());
    // The database is checked every five seconds.
    wait::until("at least one check of the database", waited, |held| held.as_secs() > 8).await?;
    drop(holder);
    let rows = async || world.rows().await;
    wait::until("the row", rows, |rows| *rows == 1).await?;
    let output = worker.terminate().await?;
    assert!(!output.stderr.contains("the database takes no rows"), "{}", output.stderr);
    Ok(())
}
