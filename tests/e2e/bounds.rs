//! The memory of a worker stays within bounds, whatever sites send.

use fetchline_tests::wait;
use fetchline_tests::world::World;
use sqlx::Connection;

const MIB: u64 = 1 << 20;
/// Memory that a worker may use in addition to its budget.
const OVERHEAD: u64 = 64 * MIB;

/// The peak memory of a worker, in bytes.
fn peak(summary: &serde_json::Value) -> u64 {
    summary["peak_memory_bytes"].as_u64().unwrap_or(u64::MAX)
}

/// Fetches 300 pages of a path at once, each of which is too large; returns the peak memory.
async fn fetch_three_hundred_at_once(path: &str) -> anyhow::Result<u64> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..300).map(|id| world.shop.url(&format!("{path}{id}"))).collect();
    world.produce("bounds", &urls).await?;
    // The time-out suits a slow machine.
    let at_once =
        ["--concurrency", "300", "--per-host", "300", "--timeout", "120s", "--grace", "121s"];
    let summary = world
        .work_until_empty(
            &[&at_once[..], &["--memory-budget", "128MiB", "--max-body", "5MiB"]].concat(),
        )
        .await?;
    assert_eq!(
        (&summary["outcomes"]["too_large"], &summary["rows"]),
        (&300.into(), &300.into()),
        "{summary}"
    );
    Ok(peak(&summary))
}

#[tokio::test]
async fn hundreds_of_endless_bodies_stay_within_the_memory_budget() -> anyhow::Result<()> {
    let peak = fetch_three_hundred_at_once("/endless/").await?;
    assert!(peak < 128 * MIB + OVERHEAD, "{} MiB", peak / MIB);
    Ok(())
}

#[tokio::test]
async fn hundreds_of_decompression_bombs_stay_within_the_memory_budget() -> anyhow::Result<()> {
    let peak = fetch_three_hundred_at_once("/bomb/gzip/").await?;
    assert!(peak < 128 * MIB + OVERHEAD, "{} MiB", peak / MIB);
    Ok(())
}

#[tokio::test]
async fn a_body_without_a_reservation_waits_for_a_commit_and_succeeds() -> anyhow::Result<()> {
    let world = World::new().await?;
    let urls: Vec<String> = (0..80).map(|id| world.shop.url(&format!("/huge/4/{id}"))).collect();
    world.produce("roomy", &urls).await?;
    let holder = world.hold_table().await?;
    let bounds = [
        "--memory-budget",
        "128MiB",
        "--max-body",
        "5MiB",
        "--store-body",
        "all",
        "--per-host",
        "80",
    ];
    let worker = world.worker(&[&bounds[..], &["--until-empty"]].concat())?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("every page is requested", visits, |visits| *visits == 80).await?;
    assert_eq!(world.rows().await?, 0);
    holder.close().await?;
    let summary = worker.end().await?.json()?;
    // Together the bodies are five times as large as the budget allows; no page was requested
    // twice, and none failed.
    assert_eq!(
        (&summary["ok"], &summary["retried"], world.shop.visits().repeats()),
        (&80.into(), &0.into(), 0)
    );
    assert!(peak(&summary) < 128 * MIB + OVERHEAD, "{summary}");
    Ok(())
}

#[tokio::test]
async fn bodies_that_exceed_decompression_bounds_fail_with_a_reason() -> anyhow::Result<()> {
    let world = World::new().await?;
    let paths = [
        "/window/zstd/23/1",
        "/window/zstd/27/2",
        "/window/br/22/3",
        "/headers/30/4",
        "/headers/200/5",
        "/bomb/br/6",
    ];
    world.produce("refused", &paths.map(|path| world.shop.url(path))).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let row = async |path: &str| -> anyhow::Result<(String, String)> {
        let query =
            sqlx::query_as("SELECT outcome, COALESCE(error, '') FROM fetches WHERE url = ?");
        Ok(query.bind(world.shop.url(path)).fetch_one(&world.database).await?)
    };
    for path in [paths[0], paths[2], paths[3]] {
        assert_eq!(row(path).await?, ("ok".to_owned(), String::new()), "{path}");
    }
    for (path, outcome, reason) in [
        (paths[1], "decode", "zstd"),
        (paths[4], "too_large", "header has more than"),
        (paths[5], "too_large", "--max-body"),
    ] {
        let (found, error) = row(path).await?;
        assert!(found == outcome && error.contains(reason), "{path}: {found} {error}");
    }
    Ok(())
}

#[tokio::test]
async fn waiting_large_messages_stay_within_the_memory_budget() -> anyhow::Result<()> {
    const MESSAGES: u64 = 400;
    const BUDGET: u64 = 96 * MIB;
    let world = World::new().await?;
    let padding = "x".repeat(1_000_000);
    for id in 0..MESSAGES {
        let url = world.shop.url(&format!("/take/500/{id}"));
        world
            .type_message(
                &serde_json::json!({ "url": url, "method": "POST", "body": padding }).to_string(),
            )
            .await?;
    }
    // Twenty seconds of work, and a prefetch that would hold most of the messages if it counted
    // messages only.
    let flags = [
        "--concurrency",
        "10",
        "--prefetch",
        "300",
        "--max-body",
        "1MiB",
        "--memory-budget",
        "96MiB",
    ];
    let summary = world.work_until_empty(&flags).await?;
    assert_eq!(
        (&summary["ok"], world.rows().await?),
        (&MESSAGES.into(), MESSAGES as i64),
        "{summary}"
    );
    assert_eq!(
        (world.shop.visits().repeats(), world.ready("urls").await?, world.ready("dead").await?),
        (0, 0, 0)
    );
    assert!(peak(&summary) < BUDGET + OVERHEAD, "{} MiB", peak(&summary) / MIB);
    Ok(())
}
