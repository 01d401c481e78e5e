//! Processes that get SIGTERM.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

#[tokio::test]
async fn sigterm_finishes_started_fetches_and_requeues_the_rest() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..100).map(|id| world.shop.url(&format!("/slow/400/{id}"))).collect();
    world.produce("drained", &urls).await?;
    let worker = world.worker(&["--concurrency", "10"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("some pages", fetched, |visits| *visits >= 15).await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(0), "{output:?}");

    let started = i64::try_from(world.shop.visits().total())?;
    assert!(started < 100, "the worker stopped too late for this test");
    assert_eq!(world.rows().await?, started);
    let ready = async || Ok(i64::from(world.ready("urls").await?));
    wait::until("the rest is requeued", ready, |ready| *ready == 100 - started).await?;

    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.shop.visits().repeats()), (100, 0));
    Ok(())
}

#[tokio::test]
async fn work_that_exceeds_the_grace_is_redelivered() -> anyhow::Result<()> {
    let world = World::new().await?;
    let holder = world.hold_table().await?;
    world.produce("stuck", &world.pages(30)).await?;
    let worker =
        world.worker(&["--timeout", "900ms", "--connect-timeout", "500ms", "--grace", "1s"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("every page", fetched, |visits| *visits == 30).await?;
    let output = worker.terminate().await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(output.json()?["rows"], 0);
    assert!(output.stderr.contains("the grace is over"), "{output:?}");
    let ready = async || world.ready("urls").await;
    wait::until("every message is requeued", ready, |ready| *ready == 30).await?;
    drop(holder);
    Ok(())
}

#[tokio::test]
async fn a_stopped_producer_does_not_wait_for_its_input() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut produce = world.command(&["produce", "--json", "-"])?;
    let mut child = produce
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    // The input stays open, as if somebody went on typing.
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(format!("{}\n", world.pages(1)[0]).as_bytes()).await?;
    let ready = async || world.ready("urls").await;
    wait::until("the line is published", ready, |ready| *ready == 1).await?;
    let id = child.id().context("the producer has ended")?.to_string();
    Command::new("kill").args(["-TERM", &id]).status().await?;
    let output = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output()).await??;
    assert_eq!(output.status.code(), Some(1), "the input is incomplete");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout)?["published"], 1);
    drop(input);
    Ok(())
}
