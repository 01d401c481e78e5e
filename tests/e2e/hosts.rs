//! Limits of hosts that hold over all workers.

use std::time::Instant;

use fetchline_tests::shop::{self, Shop};
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::Executor;

/// What the workers call the world's shop.
fn host(shop: &Shop) -> String {
    shop.addr().to_string()
}

async fn hosts(world: &World, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
    let ended = world.run(&[&["hosts"], arguments, &["--json"]].concat(), "").await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.json()
}

#[tokio::test]
async fn four_workers_keep_the_rate_of_one_host_and_hold_up_no_other() -> anyhow::Result<()> {
    const RATE: u32 = 50;
    const OTHERS: usize = 10;
    let world = World::alone().await?;
    hosts(&world, &["set", &host(&world.shop), "--rate", "50/s"]).await?;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(Shop::start(shop::Options::default()).await?);
    }
    let mut urls = world.pages(1_000);
    urls.extend(others.iter().flat_map(|shop| (0..50).map(|id| shop.url(&format!("/p/{id}")))));
    world.produce("limited", &urls).await?;
    let workers: Vec<_> = (0..4).map(|_| world.worker(&[])).collect::<anyhow::Result<_>>()?;

    let first = async || Ok(world.shop.visits().total());
    wait::until("the first page", first, |visits| *visits > 0).await?;
    let started = Instant::now();
    let fetched = async || Ok(others.iter().map(|shop| shop.visits().total()).sum());
    wait::until("every page of the other hosts", fetched, |visits: &u64| *visits == OTHERS as u64 * 50).await?;
    let limited_by_then = world.shop.visits().total();
    assert!(limited_by_then < 250, "the others had to wait: {limited_by_then} pages of the limited host came first");
    wait::until("every page of the limited host", first, |visits| *visits == 1_000).await?;
    let (took, at_best) = (started.elapsed().as_secs_f64(), 1_000.0 / f64::from(RATE));
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 1_500).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }

    let seconds = world.shop.visits().seconds("127.0.0.1");
    assert!(seconds.iter().all(|visits| *visits <= RATE + 2), "{seconds:?}");
    assert!(took < 1.15 * at_best, "{took} s instead of {at_best} s: {seconds:?}");
    assert_eq!((world.shop.visits().repeats(), world.ready("urls").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_killed_does_not_stop_the_host_for_the_others() -> anyhow::Result<()> {
    let world = World::new().await?;
    hosts(&world, &["set", &host(&world.shop), "--rate", "20/s"]).await?;
    world.produce("limited", &world.pages(160)).await?;
    // So few messages each that all of them have some.
    let flags = ["--concurrency", "10", "--prefetch", "40"];
    let mut workers: Vec<_> = (0..3).map(|_| world.worker(&flags)).collect::<anyhow::Result<_>>()?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some pages", visits, |visits| *visits >= 40).await?;
    for worker in workers.drain(..1) {
        worker.kill().await?;
    }
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 160).await?;
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    let seconds = world.shop.visits().seconds("127.0.0.1");
    let longest_stop = seconds.split(|visits| *visits > 0).map(<[u32]>::len).max();
    // Two seconds without a request hold one whole second by the clock.
    assert!(longest_stop <= Some(1), "{seconds:?}");
    assert!(seconds.iter().all(|visits| *visits <= 22), "{seconds:?}");
    Ok(())
}

#[tokio::test]
async fn what_an_operator_changes_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let world = World::new().await?;
    let host = host(&world.shop);
    hosts(&world, &["set", &host, "--rate", "10/s"]).await?;
    world.produce("changed", &world.pages(200)).await?;
    let worker = world.worker(&["--retry-delays", "1s,2s"])?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some pages", visits, |visits| *visits >= 5).await?;

    hosts(&world, &["pause", &host]).await?;
    let paused = Instant::now();
    let elapsed = async || Ok(paused.elapsed());
    wait::until("two seconds", elapsed, |elapsed| elapsed.as_secs() >= 2).await?;
    let before = world.shop.visits().total();
    wait::until("two more", elapsed, |elapsed| elapsed.as_secs() >= 4).await?;
    assert_eq!(world.shop.visits().total(), before, "a paused host is not asked");
    // Whatever is not on its way at this moment waits in the longest delay queue.
    let waiting = async || world.ready("retry.2s").await;
    wait::until("the tasks wait in the broker", waiting, |ready| *ready > 0).await?;

    hosts(&world, &["set", &host, "--rate", "none"]).await?;
    let resumed = hosts(&world, &["resume", &host]).await?;
    assert_eq!((&resumed["paused"], &resumed["rate"]), (&false.into(), &serde_json::Value::Null));
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 200).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE attempts > 1").await?, 0, "waiting costs no attempt");
    assert_eq!((world.ready("urls").await?, world.ready("retry.2s").await?, world.ready("dead").await?), (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_paused_host_holds_up_no_other() -> anyhow::Result<()> {
    let world = World::new().await?;
    let other = Shop::start(shop::Options::default()).await?;
    hosts(&world, &["pause", &host(&world.shop)]).await?;
    // More than a worker holds.
    world.produce("paused", &world.pages(300)).await?;
    world.produce("other", &[other.url("/p/1"), other.url("/p/2")]).await?;
    let worker = world.worker(&["--concurrency", "10", "--prefetch", "50"])?;
    let rows = async || world.rows().await;
    wait::until("the rows of the other host", rows, |rows| *rows == 2).await?;
    let waiting = async || world.ready("retry.600s").await;
    wait::until("every task waits in the longest delay queue", waiting, |ready| *ready == 300).await?;
    assert_eq!((world.shop.visits().total(), worker.terminate().await?.code), (0, Some(0)));
    Ok(())
}

#[tokio::test]
async fn a_host_that_asks_for_time_gets_it_from_every_worker() -> anyhow::Result<()> {
    let world = World::new().await?;
    let flags = ["--retry-delays", "1s,2s,10s"];
    let mut workers = vec![world.worker(&flags)?, world.worker(&flags)?];
    for worker in &mut workers {
        worker.logs("consuming").await?;
    }
    world.produce("busy", &[world.shop.url("/busy/6/1/1")]).await?;
    let cooling = async || world.count("SELECT COUNT(*) FROM hosts WHERE cool_down_until > UTC_TIMESTAMP(6)").await;
    wait::until("the host cools down", cooling, |hosts| *hosts == 1).await?;
    let told = Instant::now();
    let elapsed = async || Ok(told.elapsed());
    wait::until("every worker knows", elapsed, |elapsed| elapsed.as_secs() >= 2).await?;
    world.produce("meanwhile", &world.pages(40)).await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 41).await?;
    let early = "SELECT COUNT(*) FROM fetches JOIN hosts WHERE fetched_at < cool_down_until";
    assert_eq!(world.count(early).await?, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM hosts WHERE note LIKE 'answered 429%asked for 6 s'").await?, 1);
    let attempts = "SELECT COUNT(*) FROM fetches WHERE run = 'meanwhile' AND attempts > 1";
    assert_eq!(world.count(attempts).await?, 0, "waiting costs no attempt");
    for worker in workers {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_refuses_and_says_nothing_more_is_slowed_and_recovers() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..8).map(|id| world.shop.url(&format!("/status/429/{id}"))).collect();
    world.produce("refused", &urls).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let slowed = "SELECT COUNT(*) FROM hosts WHERE slowed BETWEEN 0.1 AND 10 AND note LIKE 'slowed: answered 429%'";
    assert_eq!(world.count(slowed).await?, 1);

    // It gets twice as much, and twice as much again, each time after a minute: as if that were over.
    world.database.execute("UPDATE hosts SET slowed = 40, slowed_at = slowed_at - INTERVAL 61 SECOND").await?;
    let worker = world.worker(&[])?;
    let doubled =
        async || world.count("SELECT COUNT(*) FROM hosts WHERE slowed = 80 AND note LIKE 'recovering%'").await;
    wait::until("it gets twice as much", doubled, |hosts| *hosts == 1).await?;
    world.database.execute("UPDATE hosts SET slowed_at = slowed_at - INTERVAL 61 SECOND").await?;
    let recovered =
        async || world.count("SELECT COUNT(*) FROM hosts WHERE slowed IS NULL AND note LIKE 'recovered%'").await;
    wait::until("it has recovered", recovered, |hosts| *hosts == 1).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_task_that_was_put_off_is_not_fetched_again_once_it_has_its_row() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("parked", &world.pages(1)).await?;
    world.work_until_empty(&[]).await?;
    let id: String = sqlx::query_scalar("SELECT message_id FROM fetches").fetch_one(&world.database).await?;
    // As if its worker had died between the confirm of the copy that waits and the ack of the message.
    let mut headers = FieldTable::default();
    headers.insert("x-run".into(), AMQPValue::LongString("parked".into()));
    headers.insert("x-parked".into(), AMQPValue::LongLongInt(1));
    let copy = BasicProperties::default().with_message_id(id.into()).with_headers(headers);
    world.publish(&world.pages(1)[0], copy).await?;
    world.work_until_empty(&[]).await?;
    assert_eq!((world.shop.visits().total(), world.rows().await?, world.ready("urls").await?), (1, 1, 0));
    Ok(())
}
