//! Directives of operators, through the console or by a command.

use std::time::{Duration, Instant};

use anyhow::Context;
use fetchline_tests::console::Console;
use fetchline_tests::process::Running;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use serde_json::Value;

/// Publishes to a queue by its name through the default exchange.
pub(crate) async fn type_into(world: &World, queue: &str, text: &str) -> anyhow::Result<()> {
    Console::of(world)?.publish("amq.default", &format!("{}.{queue}", world.prefix), text).await
}

/// The body of a worker's `/readyz`.
pub(crate) async fn readyz(worker: &mut Running) -> anyhow::Result<Value> {
    let address = worker.health().await?;
    let answer = reqwest::get(format!("http://{address}/readyz")).await?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

/// Types `pause` and checks the promise: from a second later on no new request starts, until no
/// message is unacked any more. Returns the number of requests until then.
pub(crate) async fn pause(world: &World) -> anyhow::Result<u64> {
    type_into(world, "control", "pause").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let then = world.shop.visits().total();
    wait::until(
        "no message is unacked",
        async || unacked(world).await,
        |unacked| *unacked == Some(0),
    )
    .await?;
    anyhow::ensure!(
        world.shop.visits().total() == then,
        "requests started a second after the pause"
    );
    Ok(then)
}

async fn unacked(world: &World) -> anyhow::Result<Option<u64>> {
    let management_url = world.management_url.as_deref().context("MANAGEMENT_URL is not set")?;
    let status =
        world.run(&["status", "--json", "--management-url", management_url], "").await?.json()?;
    let urls = status["queues"].as_array().and_then(|queues| {
        queues
            .iter()
            .find(|queue| queue["name"].as_str().is_some_and(|name| name.ends_with(".urls")))
    });
    Ok(urls.and_then(|queue| queue["unacked"].as_u64()))
}

#[tokio::test]
async fn the_newest_directive_also_applies_to_a_worker_that_starts_later() -> anyhow::Result<()> {
    let world = World::new().await?;
    for directive in [&["pause"][..], &["concurrency", "3"], &["resume"]] {
        let control = world.run(&[&["control"], directive].concat(), "").await?;
        assert_eq!(control.code, Some(0), "{control:?}");
    }
    type_into(&world, "control", "faster, please").await?;
    let mut worker = world.worker(&["--concurrency", "50"])?;
    let body = async |worker: &mut Running| {
        let body = readyz(worker).await?;
        Ok::<_, anyhow::Error>((body["paused"].as_bool(), body["concurrency"].as_u64()))
    };
    wait::until(
        "the directives from before the start",
        async || body(&mut worker).await,
        |body| *body == (Some(false), Some(3)),
    )
    .await?;
    let urls: Vec<String> = (0..60).map(|id| world.shop.url(&format!("/slow/500/{id}"))).collect();
    world.produce("slow", &urls).await?;
    let rows = async || world.rows().await;
    let busiest = || world.shop.visits().seconds("127.0.0.1").into_iter().max();
    wait::until("some rows", rows, |rows| *rows >= 9).await?;
    // Three at a time, half a second each.
    assert!(busiest() <= Some(9), "{:?}", busiest());

    type_into(&world, "control", "stop").await?;
    let log = worker.logs("and is ignored").await?;
    assert!(
        !log.contains("faster"),
        "a worker does not log invalid directives from before its start"
    );
    let control = world.run(&["control", "concurrency", "20"], "").await?;
    assert_eq!(control.code, Some(0), "{control:?}");
    wait::until("every row", rows, |rows| *rows == 60).await?;
    assert!(busiest() >= Some(15), "{:?}", busiest());
    let invalid = world.run(&["control", "concurrency", "0"], "").await?;
    assert_eq!(invalid.code, Some(2), "{invalid:?}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_starts_before_its_broker_obeys_the_pause_in_force() -> anyhow::Result<()> {
    let world = World::new().await?;
    let control = world.run(&["control", "pause"], "").await?;
    assert_eq!(control.code, Some(0), "{control:?}");
    world.produce("paused", &world.pages(20)).await?;
    let (proxy, through_proxy) = Proxy::before(&world.amqp_url).await?;
    proxy.refuse(true);
    let mut worker = world.worker_on(&through_proxy, &[])?;
    worker.logs("not consuming; trying again").await?;
    // After this many attempts it would give up on the directives, if the broker were there.
    let refused_since = Instant::now();
    wait::until(
        "several attempts to connect",
        async || Ok(refused_since.elapsed().as_secs()),
        |seconds| *seconds >= 8,
    )
    .await?;
    proxy.refuse(false);
    worker.logs("nothing is consumed until").await?;
    assert_eq!((world.shop.visits().total(), world.ready("urls").await?), (0, 20));
    let output = worker.terminate().await?;
    assert!(
        output.code == Some(0) && !output.stderr.contains("cannot read the control stream"),
        "{output:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_lower_concurrency_requeues_tasks_that_would_wait_for_too_long() -> anyhow::Result<()> {
    let world = World::new().await?;
    world
        .produce(
            "slow",
            &(0..300).map(|id| world.shop.url(&format!("/slow/20000/{id}"))).collect::<Vec<_>>(),
        )
        .await?;
    let worker = world.worker(&["--concurrency", "20"])?;
    wait::until(
        "all messages are unacked",
        async || unacked(&world).await,
        |unacked| *unacked == Some(300),
    )
    .await?;
    let control = world.run(&["control", "concurrency", "1"], "").await?;
    assert_eq!(control.code, Some(0), "{control:?}");
    // Twenty are being fetched, and a worker that fetches one at a time holds at most thirty more.
    wait::until(
        "the rest is requeued",
        async || unacked(&world).await,
        |unacked| *unacked <= Some(50),
    )
    .await?;
    // On a busy machine some may be finished by now.
    let done = world.rows().await?;
    assert!(i64::from(world.ready("urls").await?) >= 250 - done, "{done} rows");
    worker.kill().await?;
    Ok(())
}

#[tokio::test]
async fn status_shows_a_pause_at_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (directive, is_paused) in [("pause", true), ("resume", false), ("pause", true)] {
        let sent = world.run(&["control", directive], "").await?;
        assert_eq!(sent.code, Some(0), "{sent:?}");
        // The broker counts the message some seconds later.
        let status = world.run(&["status", "--json"], "").await?.json()?;
        assert_eq!(status["paused"].is_object(), is_paused, "{directive}: {status}");
    }
    Ok(())
}
