//! `produce --skip-fetched-within`: pages that were fetched lately are not published again.

use fetchline_tests::process::Output;
use fetchline_tests::world::World;
use serde_json::Value;
use sqlx::AssertSqlSafe;

const WITHIN: [&str; 3] = ["--skip-fetched-within", "12h", "--json"];

async fn produce(world: &World, flags: &[&str], input: &str) -> anyhow::Result<Output> {
    world.run(&[&["produce"], &WITHIN[..], flags].concat(), input).await
}

async fn change(world: &World, statement: &str) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&world.database).await?;
    Ok(())
}

/// Checks counts of a summary, and that each line is counted once.
fn check_counts(summary: &Value, expected: &[(&str, u64)]) {
    for (count, expected) in expected {
        assert_eq!(summary[count], *expected, "{count}: {summary}");
    }
    let sum: u64 = [
        "published",
        "resumed",
        "not_sent",
        "duplicates",
        "rejected",
        "skipped",
        "blank",
        "comments",
        "headings",
        "continued",
    ]
    .iter()
    .filter_map(|count| summary[count].as_u64())
    .sum();
    assert_eq!(summary["lines"], sum, "{summary}");
}

#[tokio::test]
async fn only_pages_that_were_fetched_with_success_within_the_time_are_skipped()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let page = |path: &str| world.shop.url(path);
    let first =
        [page("/p/1"), page("/p/2"), page("/p/3"), page("/status/404/1"), page("/status/500/1")];
    world.produce("first", &first).await?;
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    // The third page was fetched before the time.
    let third = format!(
        "UPDATE fetches SET fetched_at = fetched_at - INTERVAL 13 HOUR WHERE url = '{}'",
        page("/p/3")
    );
    change(&world, &third).await?;

    let posted =
        format!("{{\"url\": \"{}\", \"method\": \"POST\", \"body\": \"x\"}}", page("/p/1"));
    let list = [
        "# the second night",
        "",
        &page("/p/1"),
        // The same page after normalisation.
        &page("/./p/2#reviews"),
        &page("/p/3"),
        &page("/p/4"),
        &page("/status/404/1"),
        &page("/status/500/1"),
        &page("/p/4"),
        "ftp://shop.example/",
    ]
    .join("\n");
    let dry = produce(&world, &["--dry-run"], &list).await?;
    assert_eq!(dry.code, Some(3), "{dry:?}");
    check_counts(&dry.json()?, &[("published", 4), ("skipped", 2)]);
    let produced = produce(&world, &["--run", "second"], &list).await?;
    assert_eq!(produced.code, Some(3), "{produced:?}");
    let expected = [
        ("published", 4),
        ("skipped", 2),
        ("skipped_fetched", 2),
        ("duplicates", 1),
        ("rejected", 1),
        ("blank", 1),
        ("comments", 1),
        ("lines", 10),
    ];
    check_counts(&produced.json()?, &expected);
    assert!(produced.stderr.contains("2 pages were fetched lately"), "{produced:?}");
    // What asks for more than the page is never skipped.
    let posted = produce(&world, &["--format", "jsonl"], &posted).await?;
    check_counts(&posted.json()?, &[("published", 1), ("skipped", 0)]);
    world.work_until_empty(&["--max-attempts", "1"]).await?;
    let run = world.run(&["status", "--run", "second", "--json"], "").await?.json()?;
    assert_eq!((&run["run"]["planned"], &run["run"]["complete"]), (&4.into(), &true.into()));

    // Now all of them were fetched, and for people it says why.
    let text = ["produce", "--skip-fetched-within", "12h"];
    let again = world.run(&text, &world.pages(5)[1..].join("\n")).await?;
    assert!(again.stdout.contains("skipped     4 (4 fetched lately)"), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn a_resumed_part_skips_the_same_pages_and_none_of_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("first", &world.pages(10)).await?;
    world.work_until_empty(&[]).await?;
    let (list, checkpoint) =
        (world.file("list.txt", &world.pages(400).join("\n"))?, world.file("checkpoint", "")?);
    let flags = ["--run", "slow", "--checkpoint", &checkpoint, &list];
    let slow = [&["produce", "--rate", "50/s"], &WITHIN[..], &flags].concat();
    let worker = world.worker(&[])?;
    let producer = world.start(&slow)?;
    let rows = async || world.count("SELECT COUNT(*) FROM fetches WHERE run = 'slow'").await;
    fetchline_tests::wait::until("rows of the part", rows, |rows| *rows >= 100).await?;
    producer.kill().await?;
    let resumed = produce(&world, &flags, "").await?;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let summary = resumed.json()?;
    check_counts(&summary, &[("skipped", 10), ("skipped_fetched", 10), ("lines", 400)]);
    let sent = |count: &str| summary[count].as_u64().unwrap_or_default();
    assert!(sent("resumed") >= 50 && sent("resumed") + sent("published") == 390, "{summary}");
    let waited =
        world.run(&["status", "--run", "slow", "--wait", "--for", "2m", "--json"], "").await?;
    let run = &waited.json()?["run"];
    assert_eq!((&run["planned"], &run["rows"]), (&390.into(), &390.into()), "{run}");
    assert_eq!(worker.terminate().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn without_the_database_nothing_is_published() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (database, expected) in [
        ("mysql://root@127.0.0.1:9/fetchline", "database"),
        ("mysql://nobody:wrong@127.0.0.1:9/fetchline", "database"),
    ] {
        let output = produce(&world, &["--database-url", database], "https://a.example/").await?;
        assert!(output.code != Some(0) && output.stderr.contains(expected), "{output:?}");
        assert_eq!(output.stdout, "", "{output:?}");
    }
    assert_eq!(world.ready("urls").await?, 0);
    Ok(())
}
