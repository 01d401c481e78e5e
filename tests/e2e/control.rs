//! What operators tell all workers, through the console or by a command.

use std::time::{Duration, Instant};

use anyhow::Context;
use fetchline_tests::console::Console;
use fetchline_tests::process::Running;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use serde_json::Value;

/// Publishes to a queue by its name, by the default exchange.
async fn type_into(world: &World, queue: &str, text: &str) -> anyhow::Result<()> {
    Console::of(world)?.publish("amq.default", &format!("{}.{queue}", world.prefix), text).await
}

/// The body of a worker's `/readyz`.
async fn readyz(worker: &mut Running) -> anyhow::Result<Value> {
    let address = worker.health().await?;
    let answer = reqwest::get(format!("http://{address}/readyz")).await?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

/// Types `pause`, and sees that from a second later on, which is the promise, no new request is begun, until nothing is held any
/// more. How many requests there were till then.
async fn pause(world: &World) -> anyhow::Result<u64> {
    type_into(world, "control", "pause").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let then = world.shop.visits().total();
    wait::until("nothing is held unacked", async || held(world).await, |held| *held == Some(0)).await?;
    anyhow::ensure!(world.shop.visits().total() == then, "requests were begun a second after the pause");
    Ok(then)
}

async fn held(world: &World) -> anyhow::Result<Option<u64>> {
    let management_url = world.management_url.as_deref().context("MANAGEMENT_URL names no management API")?;
    let status = world.run(&["status", "--json", "--management-url", management_url], "").await?.json()?;
    let urls = status["queues"].as_array().and_then(|queues| {
        queues.iter().find(|queue| queue["name"].as_str().is_some_and(|name| name.ends_with(".urls")))
    });
    Ok(urls.and_then(|queue| queue["unacked"].as_u64()))
}

#[tokio::test]
async fn a_pause_typed_into_the_console_stops_new_requests_and_loses_nothing() -> anyhow::Result<()> {
    let world = World::alone().await?;
    let urls: Vec<String> = (0..400).map(|id| world.shop.url(&format!("/slow/100/{id}"))).collect();
    let mut worker = world.worker(&["--concurrency", "10"])?;
    let second = world.worker(&["--concurrency", "10"])?;
    world.produce("paused", &urls).await?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some pages", visits, |visits| *visits > 30).await?;

    let then = pause(&world).await?;
    assert!(then < 400, "the pause came too late to tell anything: {then}");
    assert_eq!(world.rows().await? as u64, then, "what was fetched is not committed");
    assert_eq!(u64::from(world.ready("urls").await?), 400 - then, "the rest is not back in the queue");
    let body = readyz(&mut worker).await?;
    assert_eq!((&body["ready"], &body["paused"]), (&true.into(), &true.into()), "{body}");

    // One that starts later takes nothing either.
    let mut third = world.worker(&[])?;
    third.logs("nothing is taken until").await?;
    assert_eq!(world.shop.visits().total(), then);

    type_into(&world, "control", " Resume\n").await?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 400).await?;
    assert_eq!(world.shop.visits().total(), 400, "nothing was fetched twice");
    for worker in [worker, second, third] {
        assert_eq!(worker.terminate().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn the_newest_word_counts_also_for_a_worker_that_comes_later() -> anyhow::Result<()> {
    let world = World::new().await?;
    for word in [&["pause"][..], &["concurrency", "3"], &["resume"]] {
        let told = world.run(&[&["control"], word].concat(), "").await?;
        assert_eq!(told.code, Some(0), "{told:?}");
    }
    type_into(&world, "control", "faster, please").await?;
    let mut worker = world.worker(&["--concurrency", "50"])?;
    let body = async |worker: &mut Running| {
        let body = readyz(worker).await?;
        Ok::<_, anyhow::Error>((body["paused"].as_bool(), body["concurrency"].as_u64()))
    };
    wait::until("what was said before", async || body(&mut worker).await, |body| *body == (Some(false), Some(3)))
        .await?;
    let urls: Vec<String> = (0..60).map(|id| world.shop.url(&format!("/slow/500/{id}"))).collect();
    world.produce("slow", &urls).await?;
    let rows = async || world.rows().await;
    let busiest = || world.shop.visits().seconds("127.0.0.1").into_iter().max();
    wait::until("some rows", rows, |rows| *rows >= 9).await?;
    // Three at once, of half a second each.
    assert!(busiest() <= Some(9), "{:?}", busiest());

    type_into(&world, "control", "stop").await?;
    let log = worker.logs("is ignored").await?;
    assert!(!log.contains("faster"), "what was wrong before it began was told by others");
    let told = world.run(&["control", "concurrency", "20"], "").await?;
    assert_eq!(told.code, Some(0), "{told:?}");
    wait::until("every row", rows, |rows| *rows == 60).await?;
    assert!(busiest() >= Some(15), "{:?}", busiest());
    let wrong = world.run(&["control", "concurrency", "0"], "").await?;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_starts_before_its_broker_heeds_the_pause_that_holds_there() -> anyhow::Result<()> {
    let world = World::new().await?;
    let told = world.run(&["control", "pause"], "").await?;
    assert_eq!(told.code, Some(0), "{told:?}");
    world.produce("paused", &world.pages(20)).await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    proxy.refuse(true);
    let mut worker = world.worker_on(&through_proxy, &[])?;
    worker.logs("not consuming; trying again").await?;
    // It has tried often enough to give up on what operators say, were the broker there.
    let away = Instant::now();
    wait::until("it has tried for a while", async || Ok(away.elapsed().as_secs()), |seconds| *seconds >= 8).await?;
    proxy.refuse(false);
    worker.logs("nothing is taken until").await?;
    assert_eq!((world.shop.visits().total(), world.ready("urls").await?), (0, 20));
    let ended = worker.terminate().await?;
    assert!(ended.code == Some(0) && !ended.stderr.contains("cannot be read"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_pause_also_stops_what_waits_in_the_middle_of_a_fetch() -> anyhow::Result<()> {
    let world = World::alone().await?;
    let host = world.shop.url("").trim_start_matches("http://").to_owned();
    let limited = world.run(&["hosts", "set", &host, "--rate", "5/s"], "").await?;
    assert_eq!(limited.code, Some(0), "{limited:?}");
    // Five requests each.
    let urls: Vec<String> = (0..12).map(|id| world.shop.url(&format!("/redirect/4/{id}"))).collect();
    let worker = world.worker(&["--concurrency", "12", "--timeout", "60s", "--grace", "70s"])?;
    world.produce("hops", &urls).await?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("some hops", visits, |visits| *visits > 15).await?;
    let then = pause(&world).await?;
    assert!(then < 60, "the pause came too late to tell anything: {then}");
    type_into(&world, "control", "resume").await?;
    let rows = async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok'").await;
    wait::until("every page, at the end of its redirects", rows, |rows| *rows == 12).await?;
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_lower_concurrency_gives_back_what_would_be_held_for_too_long() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("slow", &(0..300).map(|id| world.shop.url(&format!("/slow/20000/{id}"))).collect::<Vec<_>>()).await?;
    let worker = world.worker(&["--concurrency", "20"])?;
    wait::until("all are held", async || held(&world).await, |held| *held == Some(300)).await?;
    let told = world.run(&["control", "concurrency", "1"], "").await?;
    assert_eq!(told.code, Some(0), "{told:?}");
    // Twenty are being fetched, and at most thirty more are held by one that fetches one at a time.
    wait::until("the rest is given back", async || held(&world).await, |held| *held <= Some(50)).await?;
    // On a machine that is busy with other things some may be done by now.
    let done = world.rows().await?;
    assert!(i64::from(world.ready("urls").await?) >= 250 - done, "{done} rows");
    worker.kill().await?;
    Ok(())
}
