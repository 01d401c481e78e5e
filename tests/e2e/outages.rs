//! Services that go away and come back.

use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;

#[tokio::test]
async fn a_cut_connection_to_the_broker_is_made_anew_and_nothing_is_lost() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut broker_url: reqwest::Url = world.amqp_url.parse()?;
    let proxy = Proxy::start(broker_url.socket_addrs(|| Some(5672))?[0]).await?;
    broker_url.set_port(Some(proxy.address().port())).ok();
    let urls: Vec<String> = (0..100).map(|id| world.shop.url(&format!("/slow/100/{id}"))).collect();
    world.produce("cut", &urls).await?;
    let mut worker = world.worker_on(broker_url.as_str(), &["--concurrency", "10"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("some pages", fetched, |visits| *visits >= 20).await?;
    proxy.cut();
    worker.logs("consuming again").await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 100).await?;
    let ended = worker.terminate().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((world.rows().await?, world.ready("urls").await?, world.ready("dead").await?), (100, 0, 0));
    assert_eq!(ended.stderr.matches("not consuming; trying again").count(), 1, "said once: {}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_starts_before_its_services_waits_for_them() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut broker_url: reqwest::Url = world.amqp_url.parse()?;
    let server = broker_url.socket_addrs(|| Some(5672))?[0];
    // A port that is free until the proxy takes it.
    let reserved = Proxy::start(server).await?;
    broker_url.set_port(Some(9)).ok();
    let mut worker = world.worker_on(broker_url.as_str(), &[])?;
    worker.logs("not consuming; trying again").await?;
    let log = worker.log()?;
    assert!(!log.contains("guest:guest"), "{log}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    drop(reserved);
    Ok(())
}
