//! Processes that are asked to stop.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

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
    let ready = async || Ok(i64::from(world.ready("urls").await?));
    wait::until("the rest is there again", ready, |ready| *ready == 100 - begun).await?;

    world.work_until_empty(&[]).await?;
    assert_eq!((world.rows().await?, world.shop.visits().repeats()), (100, 0));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_finished_within_the_grace_comes_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let holder = world.hold_table().await?;
    world.produce("stuck", &world.pages(30)).await?;
    let worker = world.worker(&["--timeout", "900ms", "--connect-timeout", "500ms", "--grace", "1s"])?;
    let fetched = async || Ok(world.shop.visits().total());
    wait::until("every page", fetched, |visits| *visits == 30).await?;
    let ended = worker.terminate().await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.json()?["rows"], 0);
    assert!(ended.stderr.contains("the grace is over"), "{ended:?}");
    let ready = async || world.ready("urls").await;
    wait::until("every message comes back", ready, |ready| *ready == 30).await?;
    drop(holder);
    Ok(())
}

#[tokio::test]
async fn a_producer_that_is_stopped_does_not_wait_for_its_input() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut produce = world.command(&["produce", "--json", "-"])?;
    let mut child =
        produce.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    // It stays open: somebody might go on typing.
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(format!("{}\n", world.pages(1)[0]).as_bytes()).await?;
    let ready = async || world.ready("urls").await;
    wait::until("the line is published", ready, |ready| *ready == 1).await?;
    let id = child.id().context("it has ended")?.to_string();
    Command::new("kill").args(["-TERM", &id]).status().await?;
    let output = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output()).await??;
    assert_eq!(output.status.code(), Some(1), "the input was not read to its end");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout)?["published"], 1);
    drop(input);
    Ok(())
}
