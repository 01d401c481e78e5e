//! Runs: when they are complete, what is reported of them, and that all counts are exact.

use std::collections::BTreeMap;

use anyhow::Context;
use fetchline_store::{
    FETCHES_OF_PERIOD, Fetch, GROUPS_OF_PART, GROUPS_OF_RUN, LATEST_PARTS, NEWEST_PART, Outcome,
    PARTS_OF_RUN, ROWS_OF_PART, ROWS_OF_PRUNE, ROWS_OF_REPORT, ROWS_OF_RUN, Selection, Store,
};
use fetchline_tests::rows::{fetch, report_part, store, write};
use fetchline_tests::wait;
use fetchline_tests::world::World;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Row};

/// Counts the rows of a run, by outcome.
async fn row_counts(world: &World, run: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let query =
        sqlx::query_as("SELECT outcome, COUNT(*) FROM fetches WHERE run = ? GROUP BY outcome")
            .bind(run);
    let row_counts: Vec<(String, i64)> = query.fetch_all(&world.database).await?;
    Ok(row_counts.into_iter().map(|(outcome, rows)| (outcome, rows.unsigned_abs())).collect())
}

fn task(task: u8, outcome: Outcome, second: i64) -> Fetch {
    Fetch { part: Some("p1".to_owned()), outcome, ..fetch(task, second) }
}

/// A step of a plan.
#[derive(Debug)]
struct Plan {
    table: String,
    by: String,
    key: Option<String>,
    extra: String,
}

/// The plan of a statement with these values.
async fn explain(world: &World, statement: &str, bound: &[&str]) -> anyhow::Result<Vec<Plan>> {
    let statement = bound
        .iter()
        .fold(statement.to_owned(), |statement, value| statement.replacen('?', value, 1));
    // A maximum number that is bound last.
    let statement = statement.replace("LIMIT 'p1'", "LIMIT 20");
    let plans = sqlx::query(AssertSqlSafe(format!("EXPLAIN FORMAT = TRADITIONAL {statement}")))
        .fetch_all(&world.database)
        .await?;
    let plan = |row: &sqlx::mysql::MySqlRow| Plan {
        table: row.get("table"),
        by: row.get("type"),
        key: row.get("key"),
        extra: row.get::<Option<String>, _>("Extra").unwrap_or_default(),
    };
    Ok(plans.iter().map(plan).collect())
}

#[tokio::test]
async fn waiting_for_a_run_ends_with_the_run_and_reports_failures() -> anyhow::Result<()> {
    let world = World::new().await?;
    // The command waits for a run that nobody knows yet.
    let mut waiting = world.start(&["status", "--run", "nightly", "--wait", "--json"])?;
    waiting.logs("no worker has reported this run").await?;
    let worker = world.worker(&[])?;
    world.produce("nightly", &world.pages(200)).await?;
    let output = waiting.end().await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    let run = &output.json()?["run"];
    assert_eq!(
        (&run["planned"], &run["rows"], &run["outcomes"]["ok"]),
        (&200.into(), &200.into(), &200.into())
    );
    assert_eq!((&run["state"], &run["remaining"]), (&"complete".into(), &0.into()));

    // A second `produce` adds a part, and a failure shows in the exit code.
    let failing = [world.shop.url("/status/404/1"), world.shop.url("/p/999")];
    world.produce("nightly", &failing).await?;
    let parts = async || world.count("SELECT COUNT(*) FROM runs WHERE run = 'nightly'").await;
    wait::until("the second part", parts, |parts| *parts == 2).await?;
    let page = world.file("nightly.html", "")?;
    let output = world
        .run(&["status", "--run", "nightly", "--wait", "--for", "1m", "--report", &page], "")
        .await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    let page = std::fs::read_to_string(page)?;
    assert!(page.contains(&failing[0]) && page.contains("2 rows, 1 failed"), "{page}");
    assert!(
        output.stdout.contains("2 of 2 rows, 1 failed") && output.stdout.contains("http_error"),
        "{output:?}"
    );
    let all = world.run(&["status", "--run", "nightly", "--part", "all", "--json"], "").await?;
    assert_eq!(all.json()?["run"]["rows"], 202, "{all:?}");
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_reused_run_is_complete_when_its_last_part_is() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("nightly", &world.pages(3)).await?;
    world.work_until_empty(&[]).await?;
    let wait = ["status", "--run", "nightly", "--wait", "--json", "--for"];
    let output = world.run(&[&wait[..], &["30s"]].concat(), "").await?;
    assert_eq!((output.code, &output.json()?["run"]["rows"]), (Some(0), &3.into()), "{output:?}");
    // The next night: no worker knows the new part yet.
    world.produce("nightly", &world.pages(5)).await?;
    let output = world.run(&[&wait[..], &["4s"]].concat(), "").await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    let worker = world.worker(&[])?;
    let output = world.run(&[&wait[..], &["30s"]].concat(), "").await?;
    assert_eq!((output.code, &output.json()?["run"]["rows"]), (Some(0), &5.into()), "{output:?}");
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn an_open_part_is_shown_with_its_age_and_waiting_ends_on_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    let store = store(&world)?;
    report_part(&store, "p1", None, 0).await?;
    write(&store, [task(1, Outcome::Ok, 1)]).await?;
    let output =
        world.run(&["status", "--run", "nightly", "--wait", "--for", "1500ms"], "").await?;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.stdout.contains("part p1 has been open for")
            && output.stderr.contains("not complete"),
        "{output:?}"
    );
    let output = world.run(&["status", "--run", "unheard", "--wait", "--for", "1s"], "").await?;
    assert!(
        output.code == Some(1) && output.stderr.contains("no worker has reported"),
        "{output:?}"
    );
    Ok(())
}

#[tokio::test]
async fn part_reports_may_arrive_twice_and_in_any_order() -> anyhow::Result<()> {
    let world = World::new().await?;
    let store = store(&world)?;
    report_part(&store, "p1", Some(2), 50).await?;
    report_part(&store, "p1", None, 10).await?;
    report_part(&store, "p1", Some(2), 50).await?;
    // An end that arrives after a later one.
    report_part(&store, "p1", Some(1), 40).await?;
    report_part(&store, "p1", None, 20).await?;
    let run = store.run("nightly", &Selection::All).await?;
    assert_eq!((run.parts.len(), run.planned(), run.remaining()), (1, Some(2), Some(2)));
    let part = &run.parts[0];
    assert_eq!(part.closed_at.map(|closed| (closed - part.created_at).whole_seconds()), Some(40));
    // Rows that belong to no part do not complete the run.
    write(&store, [fetch(1, 1), fetch(2, 1), task(3, Outcome::Ok, 1)]).await?;
    assert!(!store.run("nightly", &Selection::All).await?.is_complete());
    write(&store, [task(4, Outcome::Dns, 1)]).await?;
    let run = store.run("nightly", &Selection::All).await?;
    assert!(run.is_complete() && run.rows() == 4, "{run:?}");
    Ok(())
}

#[tokio::test]
async fn counts_are_exact_under_concurrent_rewrites() -> anyhow::Result<()> {
    let world = World::new().await?;
    let store = store(&world)?;
    // So few tasks that nearly every batch meets rows that exist or are being written.
    let writer = async |seed: u64, store: &Store| -> anyhow::Result<()> {
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..40 {
            let outcomes = [Outcome::Ok, Outcome::HttpError, Outcome::Timeout, Outcome::Refused];
            let rows: Vec<Fetch> = (0..rng.random_range(1..12))
                .map(|_| {
                    let outcome = outcomes[rng.random_range(0..outcomes.len())];
                    task(rng.random_range(0..60), outcome, rng.random_range(0..50))
                })
                .collect();
            write(store, rows).await?;
        }
        Ok(())
    };
    tokio::try_join!(writer(1, &store), writer(2, &store), writer(3, &store), writer(4, &store))?;
    let rows = row_counts(&world, "nightly").await?;
    assert_eq!(store.run("nightly", &Selection::All).await?.outcomes, rows);
    assert_eq!(rows.values().sum::<u64>(), 60);
    assert!(world.count("SELECT CAST(SUM(rewrites) AS SIGNED) FROM fetches").await? > 500);
    Ok(())
}

#[tokio::test]
async fn counts_are_exact_under_duplicates_and_replays() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.shop.set_revision(0);
    let urls =
        [world.pages(50), vec![world.shop.url("/status/500/1"), world.shop.url("/status/500/2")]]
            .concat();
    world.produce("nightly", &urls).await?;
    // The same messages again, as from a producer that has lost its connection.
    while let Some((properties, body)) = world.pop("urls").await? {
        world.publish(&String::from_utf8(body.clone())?, properties.clone()).await?;
        world.publish(&String::from_utf8(body)?, properties).await?;
        if world.ready("urls").await? >= 2 * 52 {
            break;
        }
    }
    world
        .work_until_empty(&["--max-attempts", "1", "--retry-delays", "1s", "--batch-rows", "7"])
        .await?;
    let store = store(&world)?;
    let run = store.run("nightly", &Selection::All).await?;
    assert_eq!(run.outcomes, row_counts(&world, "nightly").await?);
    assert!(
        run.is_complete() && run.rows() == 52 && run.rows_with(Outcome::HttpError) == 2,
        "{run:?}"
    );
    let replayed = world.run(&["dead", "replay", "--run", "nightly"], "").await?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    world.work_until_empty(&["--max-attempts", "1", "--retry-delays", "1s"]).await?;
    let run = store.run("nightly", &Selection::All).await?;
    assert_eq!(run.outcomes, row_counts(&world, "nightly").await?);
    assert!(run.is_complete() && run.rows() == 52, "{run:?}");
    Ok(())
}

#[tokio::test]
async fn the_status_of_a_run_reads_none_of_its_rows() -> anyhow::Result<()> {
    let world = World::new().await?;
    let store = store(&world)?;
    report_part(&store, "p1", Some(100), 0).await?;
    write(&store, (0..100).map(|id| task(id, Outcome::Ok, 1))).await?;
    // A hundred rows become 25,600, in many other runs as well.
    for _ in 0..8 {
        sqlx::query(
            "INSERT INTO fetches \
             (id, run, part, url, method, outcome, status, attempts, elapsed_ms, fetched_at, \
             worker) SELECT LEFT(UNHEX(SHA2(CONCAT(HEX(id), RAND()), 256)), 16), run, part, url, \
             method, outcome, status, attempts, elapsed_ms, fetched_at, worker FROM fetches",
        )
        .execute(&world.database)
        .await?;
    }
    // Years of other nights, and many other runs.
    for number in 0..400 {
        for statement in [
            format!(
                "INSERT INTO runs (run, part, planned, created_at) \
                 VALUES ('nightly', 'night-{number}', 5, '2020-01-01' + INTERVAL {number} DAY)"
            ),
            format!(
                "INSERT INTO run_counts VALUES ('nightly', 'night-{number}', 'ok', '', 0, 5), \
                 ('nightly', 'night-{number}', 'dns', '', 0, 5)"
            ),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&world.database).await?;
        }
    }
    for run in 0..200 {
        let other = format!("INSERT INTO run_counts VALUES ('other-{run}', '', 'ok', '', 1, 5)");
        sqlx::query(AssertSqlSafe(other)).execute(&world.database).await?;
        let other = format!(
            "INSERT INTO runs (run, part, created_at) VALUES ('other-{run}', 'p', UTC_TIMESTAMP(6))"
        );
        sqlx::query(AssertSqlSafe(other)).execute(&world.database).await?;
    }
    sqlx::query("ANALYZE TABLE fetches, runs, run_counts").execute(&world.database).await?;
    for (statement, table, index) in [
        (NEWEST_PART, "runs", "runs_by_name"),
        (PARTS_OF_RUN, "runs", "runs_by_name"),
        (LATEST_PARTS, "runs", "runs_by_time"),
        (ROWS_OF_PART, "run_counts", "PRIMARY"),
        (ROWS_OF_RUN, "run_counts", "PRIMARY"),
        (GROUPS_OF_PART, "fetches", "fetches_by_run"),
        (GROUPS_OF_RUN, "fetches", "fetches_by_run"),
    ] {
        let bound = if statement == LATEST_PARTS { ["20", ""] } else { ["'nightly'", "'p1'"] };
        for plan in explain(&world, statement, &bound).await? {
            assert_eq!((&*plan.table, plan.key.as_deref()), (table, Some(index)), "{statement}");
            // Rows of `fetches` are grouped without reading any of them.
            assert!(
                table != "fetches" || plan.extra.contains("Using index"),
                "{statement}: {plan:?}"
            );
        }
    }
    // A statement that reads rows reads each of them once, however many pages there are.
    let (time, later) = ("'2027-01-15 08:00:01'", "'2027-01-15 08:00:02'");
    for (statement, index, bound) in [
        (ROWS_OF_REPORT, "fetches_by_run", ["'nightly'", "'p1'", "'ok'", "UNHEX('80')", "50"]),
        (ROWS_OF_PRUNE, "fetches_by_time", [later, time, time, "UNHEX('80')", "50"]),
        (FETCHES_OF_PERIOD, "fetches_by_time", [time, time, "UNHEX('80')", later, "50"]),
    ] {
        for plan in explain(&world, statement, &bound).await? {
            assert_eq!((&*plan.by, plan.key.as_deref()), ("range", Some(index)), "{statement}");
            assert!(!plan.extra.contains("filesort"), "{statement}: {plan:?}");
        }
    }
    // The server's own counts confirm it.
    let mut connection = world.database.acquire().await?;
    sqlx::query("FLUSH STATUS").execute(&mut *connection).await?;
    sqlx::query(NEWEST_PART).bind("nightly").fetch_all(&mut *connection).await?;
    sqlx::query(ROWS_OF_PART).bind("nightly").bind("p1").fetch_all(&mut *connection).await?;
    let reads: Vec<(String, String)> = sqlx::query_as("SHOW SESSION STATUS LIKE 'Handler_read%'")
        .fetch_all(&mut *connection)
        .await?;
    let reads: u64 = reads.iter().filter_map(|(_, reads)| reads.parse::<u64>().ok()).sum();
    assert!((1..100).contains(&reads), "{reads} rows were read");
    Ok(())
}

#[tokio::test]
async fn a_cancelled_run_is_no_longer_fetched_and_a_later_part_is() -> anyhow::Result<()> {
    let world = World::new().await?;
    let slow: Vec<String> = (0..300).map(|id| world.shop.url(&format!("/slow/300/{id}"))).collect();
    let worker = world.worker(&["--concurrency", "4", "--prefetch", "50"])?;
    world.produce("bad", &slow).await?;
    // A task that belongs to the run and to none of its parts.
    let mut headers = FieldTable::default();
    headers.insert("x-run".into(), AMQPValue::LongString("bad".into()));
    world
        .publish(
            &world.shop.url("/slow/300/no-part"),
            BasicProperties::default().with_headers(headers),
        )
        .await?;
    let rows = async || world.rows().await;
    wait::until("some rows", rows, |rows| *rows >= 4).await?;

    let cancelled = world.run(&["runs", "cancel", "bad"], "").await?;
    assert!(
        cancelled.code == Some(0) && cancelled.stdout.contains("cancelled: 1 part"),
        "{cancelled:?}"
    );
    let output =
        world.run(&["status", "--run", "bad", "--wait", "--for", "1m", "--json"], "").await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    wait::until("every row", rows, |rows| *rows == 301).await?;
    let not_fetched = world
        .count("SELECT COUNT(*) FROM fetches WHERE outcome = 'cancelled' AND attempts = 0")
        .await?;
    // At 4 fetches per 300 ms, at most the tasks of a few seconds were fetched.
    assert!(not_fetched > 200, "{not_fetched}");
    assert_eq!(world.shop.visits().total(), 301 - not_fetched.unsigned_abs());
    assert_eq!((world.ready("urls").await?, world.ready("dead").await?), (0, 0));
    assert_eq!(
        store(&world)?.run("bad", &Selection::All).await?.outcomes,
        row_counts(&world, "bad").await?
    );

    world.produce("bad", &world.pages(3)).await?;
    let ok = async || {
        world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'ok' AND url LIKE '%/p/%'").await
    };
    wait::until("the rows of the later part", ok, |ok| *ok == 3).await?;
    let list = world.run(&["runs", "list", "--json"], "").await?.json()?;
    let states: Vec<_> =
        [0, 1].map(|part| (&list[part]["name"], &list[part]["state"], &list[part]["rows"])).into();
    let bad = &"bad".into();
    assert_eq!(
        states,
        [(bad, &"complete".into(), &3.into()), (bad, &"cancelled".into(), &300.into())]
    );
    let refused = world.run(&["runs", "cancel", "adhoc"], "").await?;
    assert!(refused.code == Some(2) && refused.stderr.contains("purge"), "{refused:?}");
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn cancellation_reaches_tasks_that_wait_for_a_slow_host() -> anyhow::Result<()> {
    let world = World::new().await?;
    let host = world.shop.addr().to_string();
    let set = world.run(&["hosts", "set", &host, "--rate", "0.1/s"], "").await?;
    assert_eq!(set.code, Some(0), "{set:?}");
    let worker = world.worker(&["--retry-delays", "60s"])?;
    world.produce("bad", &world.pages(10)).await?;
    let visits = async || Ok(world.shop.visits().total());
    wait::until("the first page", visits, |visits| *visits == 1).await?;
    let cancelled = world.run(&["runs", "cancel", "bad"], "").await?;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let not_fetched =
        async || world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'cancelled'").await;
    // There is one slot every ten seconds, and none may be used for a cancelled task.
    wait::until("the tasks that waited at this worker", not_fetched, |not_fetched| {
        *not_fetched >= 8
    })
    .await?;
    assert!(world.shop.visits().total() <= 2, "{}", world.shop.visits().total());
    worker.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_run_may_be_cancelled_before_any_worker_knows_it() -> anyhow::Result<()> {
    let world = World::new().await?;
    let slow: Vec<String> = (0..20).map(|id| world.shop.url(&format!("/slow/500/{id}"))).collect();
    world.produce("bad", &slow).await?;
    let cancelled = world.run(&["runs", "cancel", "bad"], "").await?;
    assert!(
        cancelled.code == Some(0) && cancelled.stdout.contains("no worker has reported"),
        "{cancelled:?}"
    );
    // The part report and the first tasks reach the worker together; it reads cancelled parts again
    // within a second.
    let worker = world.worker(&["--concurrency", "1"])?;
    let rows = async || world.rows().await;
    wait::until("every row", rows, |rows| *rows == 20).await?;
    worker.terminate().await?;
    assert_eq!(
        world.count("SELECT COUNT(*) FROM runs WHERE run = 'bad' AND cancelled_at IS NULL").await?,
        0
    );
    let not_fetched =
        world.count("SELECT COUNT(*) FROM fetches WHERE outcome = 'cancelled'").await?;
    assert!(not_fetched >= 10, "{not_fetched}");
    Ok(())
}

#[tokio::test]
async fn old_rows_are_pruned_and_the_counts_of_the_others_stay_exact() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("old", &world.pages(1_200)).await?;
    world.produce("young", &world.pages(30)).await?;
    for page in world.pages(40) {
        world.type_message(&page).await?;
    }
    world.work_until_empty(&[]).await?;
    for statement in [
        "UPDATE fetches SET fetched_at = fetched_at - INTERVAL 40 DAY WHERE run = 'old'",
        "UPDATE runs SET created_at = created_at - INTERVAL 40 DAY, \
         closed_at = closed_at - INTERVAL 40 DAY WHERE run = 'old'",
        "UPDATE fetches SET fetched_at = fetched_at - INTERVAL 40 DAY \
         WHERE run = 'adhoc' AND url LIKE '%/p/1%'",
    ] {
        sqlx::query(statement).execute(&world.database).await?;
    }
    let old = world
        .count("SELECT COUNT(*) FROM fetches WHERE fetched_at < UTC_TIMESTAMP(6) - INTERVAL 30 DAY")
        .await?;
    assert_eq!(old, 1_211);
    for never in ["1000000d", "1000000000d"] {
        let never = world.run(&["runs", "prune", "--older-than", never, "--json"], "").await?;
        assert_eq!((never.code, &never.json()?["rows"]), (Some(0), &0.into()), "{never:?}");
    }
    let dry = world
        .run(&["runs", "prune", "--older-than", "30d", "--dry-run", "--json"], "")
        .await?
        .json()?;
    assert_eq!((&dry["rows"], world.rows().await?), (&1_211.into(), 1_270));
    let pruned = world.run(&["runs", "prune", "--older-than", "30d", "--json"], "").await?;
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    assert_eq!((&pruned.json()?["rows"], &pruned.json()?["parts"]), (&1_211.into(), &1.into()));
    assert_eq!(world.rows().await?, 59);
    let store = store(&world)?;
    assert!(!store.run("old", &Selection::All).await?.is_known());
    for run in ["young", "adhoc"] {
        assert_eq!(
            store.run(run, &Selection::All).await?.outcomes,
            row_counts(&world, run).await?,
            "{run}"
        );
    }
    assert!(store.run("young", &Selection::Newest).await?.is_complete());
    assert_eq!(world.count("SELECT COUNT(*) FROM items").await?, 1_200, "prices are kept");
    Ok(())
}

#[tokio::test]
async fn status_shows_ready_and_unacked_messages() -> anyhow::Result<()> {
    let world = World::new().await?;
    let management_url = world.management_url.clone().context("MANAGEMENT_URL is not set")?;
    world
        .produce(
            "held",
            &(0..30).map(|id| world.shop.url(&format!("/slow/20000/{id}"))).collect::<Vec<_>>(),
        )
        .await?;
    let worker = world.worker(&["--concurrency", "5", "--prefetch", "10"])?;
    let urls_queue = async || {
        let output =
            world.run(&["status", "--json", "--management-url", &management_url], "").await?;
        anyhow::ensure!(output.code == Some(0), "{output:?}");
        let status = output.json()?;
        let queues = status["queues"].as_array().cloned().unwrap_or_default();
        let urls = queues
            .into_iter()
            .find(|queue| queue["name"].as_str().is_some_and(|name| name.ends_with(".urls")));
        Ok(urls.map(|queue| {
            (queue["ready"].as_u64(), queue["unacked"].as_u64(), queue["consumers"].as_u64())
        }))
    };
    wait::until("ten unacked messages", urls_queue, |counts| {
        *counts == Some((Some(20), Some(10), Some(1)))
    })
    .await?;
    worker.kill().await?;
    Ok(())
}
