//! A run's name is a series: what is said of tonight's part, whatever happened in other nights.

use std::time::Duration;

use fetchline_store::{Outcome, Selection};
use fetchline_tests::process::Output;
use fetchline_tests::proxy::Proxy;
use fetchline_tests::rows::store;
use fetchline_tests::wait;
use fetchline_tests::world::World;
use serde_json::Value;
use sqlx::Executor;

const WAIT: [&str; 6] = ["status", "--run", "nightly", "--wait", "--json", "--for"];

/// Publishes URLs into the run `nightly`, and returns the id of the part.
async fn produce(world: &World, urls: &[String]) -> anyhow::Result<String> {
    let produced = world.run(&["produce", "--run", "nightly", "--json"], &urls.join("\n")).await?;
    anyhow::ensure!(produced.code == Some(0), "{produced:?}");
    Ok(produced.json()?["part"].as_str().unwrap_or_default().to_owned())
}

/// Waits for the run `nightly`, at most this long.
async fn wait_for(world: &World, limit: &str, flags: &[&str]) -> anyhow::Result<Output> {
    world.run(&[&WAIT[..], &[limit], flags].concat(), "").await
}

/// Exit code, part, rows and state of a run that was waited for.
fn result(output: &Output) -> anyhow::Result<(Option<i32>, String, u64, String)> {
    let run = &output.json()?["run"];
    let text = |field: &str| run[field].as_str().unwrap_or_default().to_owned();
    Ok((output.code, text("part"), run["rows"].as_u64().unwrap_or_default(), text("state")))
}

/// Makes everything that is recorded of runs a day older.
async fn let_a_day_pass(world: &World) -> anyhow::Result<()> {
    world
        .database
        .execute(
            "UPDATE runs SET created_at = created_at - INTERVAL 1 DAY, \
             closed_at = closed_at - INTERVAL 1 DAY, \
             completed_at = completed_at - INTERVAL 1 DAY, \
             cancelled_at = cancelled_at - INTERVAL 1 DAY",
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_failure_of_another_night_does_not_change_the_exit_code() -> anyhow::Result<()> {
    let world = World::new().await?;
    let failing = [world.shop.url("/status/404/1"), world.shop.url("/p/1")];
    let monday = produce(&world, &failing).await?;
    world.work_until_empty(&[]).await?;
    let output = wait_for(&world, "1m", &[]).await?;
    assert_eq!(result(&output)?, (Some(3), monday.clone(), 2, "complete".to_owned()));

    let tuesday = produce(&world, &world.pages(5)).await?;
    world.work_until_empty(&[]).await?;
    let output = wait_for(&world, "1m", &[]).await?;
    assert_eq!(result(&output)?, (Some(0), tuesday.clone(), 5, "complete".to_owned()));
    // Any part can be asked for, and so can all of them.
    let output = wait_for(&world, "1m", &["--part", &monday]).await?;
    assert_eq!(result(&output)?, (Some(3), monday.clone(), 2, "complete".to_owned()));
    let output = wait_for(&world, "1m", &["--part", "all"]).await?;
    assert_eq!(result(&output)?, (Some(3), String::new(), 7, "complete".to_owned()));
    assert_eq!(output.json()?["run"]["parts"].as_array().map(Vec::len), Some(2));

    let page = world.file("nightly.html", "")?;
    let report = world.run(&["status", "--run", "nightly", "--report", &page], "").await?;
    assert_eq!(report.code, Some(0), "{report:?}");
    assert!(report.stdout.contains(&format!("run nightly, part {tuesday} (complete)")));
    let page = std::fs::read_to_string(page)?;
    assert!(page.contains("5 rows, 0 failed") && !page.contains(&failing[0]), "{page}");

    let list = world.run(&["runs", "list", "--run", "nightly", "--json"], "").await?.json()?;
    let parts: Vec<_> = [0, 1, 2].map(|part| list[part]["part"].clone()).into();
    assert_eq!(parts, [Value::from(tuesday.clone()), monday.clone().into(), Value::Null]);
    assert_eq!((&list[0]["failed"], &list[1]["failed"]), (&0.into(), &1.into()));
    let table = world.run(&["runs", "list"], "").await?.stdout;
    let (newer, older) = (table.find(&tuesday), table.find(&monday));
    assert!(newer.is_some() && newer < older, "{table}");
    Ok(())
}

#[tokio::test]
async fn a_name_that_was_cancelled_is_not_cancelled_for_ever() -> anyhow::Result<()> {
    let world = World::new().await?;
    let monday = produce(&world, &world.pages(3)).await?;
    let cancelled = world.run(&["runs", "cancel", "nightly"], "").await?;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    world.work_until_empty(&[]).await?;
    let output = wait_for(&world, "1m", &[]).await?;
    assert_eq!(result(&output)?, (Some(3), monday.clone(), 3, "cancelled".to_owned()));

    let_a_day_pass(&world).await?;
    let tuesday = produce(&world, &world.pages(4)).await?;
    // Also a message that belongs to no part.
    let url = world.shop.url("/p/100");
    world.type_message(&format!(r#"{{"url":"{url}","run":"nightly"}}"#)).await?;
    world.work_until_empty(&[]).await?;
    let output = wait_for(&world, "1m", &[]).await?;
    assert_eq!(result(&output)?, (Some(0), tuesday, 4, "complete".to_owned()));
    let all = store(&world)?.run("nightly", &Selection::All).await?;
    // The part was cancelled when its report arrived, together with its tasks: a worker may have
    // fetched some of them before it noticed.
    let cancelled = all.failed();
    assert_eq!((all.rows(), all.rows_with(Outcome::Cancelled)), (8, cancelled), "{all:?}");
    assert!(cancelled <= 3, "{all:?}");
    // A complete part stays complete when the name is cancelled.
    let cancelled = world.run(&["runs", "cancel", "nightly", "--json"], "").await?;
    assert_eq!(cancelled.json()?["parts"], 0, "{cancelled:?}");
    Ok(())
}

#[tokio::test]
async fn waiting_that_begins_before_tonight_never_ends_with_the_last_night() -> anyhow::Result<()> {
    let world = World::new().await?;
    let monday = produce(&world, &world.pages(2)).await?;
    world.work_until_empty(&[]).await?;
    wait_for(&world, "1m", &[]).await?;
    let_a_day_pass(&world).await?;
    // Nobody has published anything tonight.
    let mut waiting = world.start(&[&WAIT[..], &["2m"]].concat())?;
    waiting.logs("so a newer one is waited for").await?;
    // Before any worker.
    let tuesday = produce(&world, &world.pages(3)).await?;
    let worker = world.worker(&[])?;
    let output = waiting.end().await?;
    assert_eq!(result(&output)?, (Some(0), tuesday.clone(), 3, "complete".to_owned()));
    worker.terminate().await?;

    // Whoever means the older part says so.
    let_a_day_pass(&world).await?;
    let output = wait_for(&world, "3s", &[]).await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains(&format!("--part {tuesday}")), "{output:?}");
    let output = wait_for(&world, "1m", &["--since", "2d"]).await?;
    assert_eq!(result(&output)?, (Some(0), tuesday, 3, "complete".to_owned()));
    let output = wait_for(&world, "1m", &["--part", &monday]).await?;
    assert_eq!(result(&output)?, (Some(0), monday, 2, "complete".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_part_that_was_seen_under_way_counts_however_long_it_takes() -> anyhow::Result<()> {
    let world = World::new().await?;
    let part = produce(&world, &[world.shop.url("/slow/3000/1")]).await?;
    let worker = world.worker(&[])?;
    let mut waiting = world.start(&[&WAIT[..], &["2m"]].concat())?;
    waiting.logs("0 of 1 rows").await?;
    let_a_day_pass(&world).await?;
    let output = waiting.end().await?;
    assert_eq!(result(&output)?, (Some(0), part, 1, "complete".to_owned()));
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn what_the_broker_cannot_say_is_not_complete() -> anyhow::Result<()> {
    let world = World::new().await?;
    let monday = produce(&world, &world.pages(2)).await?;
    world.work_until_empty(&[]).await?;
    let (proxy, amqp_url) = Proxy::before(&world.amqp_url).await?;
    let status = |flags: &[&str]| {
        let mut command = world.command(&[&WAIT[..], flags].concat())?;
        command.env("AMQP_URL", &amqp_url);
        anyhow::Ok(command)
    };
    // The broker is away, and then it is silent.
    for is_silent in [false, true] {
        proxy.refuse(!is_silent);
        proxy.silence(is_silent);
        let output = fetchline_tests::process::run(&mut status(&["8s"])?, "").await?;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("the broker cannot say whether a newer part"), "{output:?}");
    }
    // It is not asked about a part that is named.
    let named = status(&["1m", "--part", &monday]);
    let output = fetchline_tests::process::run(&mut named?, "").await?;
    assert_eq!(result(&output)?, (Some(0), monday.clone(), 2, "complete".to_owned()));
    proxy.silence(false);
    let output = fetchline_tests::process::run(&mut status(&["1m"])?, "").await?;
    assert_eq!(result(&output)?, (Some(0), monday, 2, "complete".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_part_is_waited_for_by_the_id_that_produce_prints() -> anyhow::Result<()> {
    let world = World::new().await?;
    let unknown = wait_for(&world, "2s", &["--part", "0123456789abcdef"]).await?;
    assert!(
        unknown.code == Some(1) && unknown.stderr.contains("no worker has reported this part"),
        "{unknown:?}"
    );
    let first = produce(&world, &world.pages(3)).await?;
    let mut waiting = world.start(&[&WAIT[..], &["2m", "--part", &first]].concat())?;
    waiting.logs("no worker has reported this part").await?;
    produce(&world, &[world.shop.url("/status/404/1")]).await?;
    let text = world.run(&["produce", "--run", "other"], &world.shop.url("/p/1")).await?.stdout;
    assert!(text.lines().any(|line| line.starts_with("part        ")), "{text}");
    world.work_until_empty(&[]).await?;
    let output = waiting.end().await?;
    assert_eq!(result(&output)?, (Some(0), first, 3, "complete".to_owned()));
    Ok(())
}

#[tokio::test]
async fn counts_of_a_complete_part_are_folded_and_stay_exact() -> anyhow::Result<()> {
    let world = World::new().await?;
    let failing = [world.pages(200), world.numbered("/status/500/", 20)].concat();
    let part = produce(&world, &failing).await?;
    let worker =
        world.worker(&["--max-attempts", "1", "--retry-delays", "1s", "--batch-rows", "5"])?;
    // A worker folds counts within half a minute.
    let complete =
        async || world.count("SELECT COUNT(*) FROM runs WHERE completed_at IS NOT NULL").await;
    wait::within(Duration::from_secs(100), "the part is complete", complete, |parts| *parts == 1)
        .await?;
    let counts = async || world.count("SELECT COUNT(*) FROM run_counts").await;
    assert_eq!(counts().await?, 2, "one of `ok`, one of `http_error`");
    let store = store(&world)?;
    let run = store.run("nightly", &Selection::Newest).await?;
    assert_eq!((run.outcomes.get("ok"), run.outcomes.get("http_error")), (Some(&200), Some(&20)));
    assert_eq!(run.products.get("found"), Some(&200));
    // Rows that a replay writes again later.
    world.database.execute("UPDATE fetches SET status = 200 WHERE outcome = 'http_error'").await?;
    let replayed = world.run(&["dead", "replay", "--run", "nightly"], "").await?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let rewritten = async || world.count("SELECT COUNT(*) FROM fetches WHERE rewrites > 0").await;
    wait::until("the replayed rows", rewritten, |rows| *rows == 20).await?;
    worker.terminate().await?;
    let run = store.run("nightly", &Selection::Part(part)).await?;
    assert_eq!((run.outcomes.get("ok"), run.outcomes.get("http_error")), (Some(&200), Some(&20)));
    assert!(run.is_complete(), "{run:?}");
    Ok(())
}
