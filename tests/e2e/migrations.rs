//! Migrations of old and new schemas.

use std::time::Duration;

use fetchline_store::Store;
use fetchline_tests::former_schema::{self, LAST_FORMER};
use fetchline_tests::world::World;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Executor};

/// The entry of a newer release in the table of migrations.
const NEWER_RELEASE: &str = "INSERT INTO _sqlx_migrations \
                             (version, description, success, checksum, execution_time) \
                             VALUES (9999, 'of a newer release', TRUE, 'x', 1)";

#[tokio::test]
async fn two_releases_may_migrate_at_the_same_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    former_schema::drop_tables(&world.database).await?;
    let outputs = futures_util::future::join_all((0..6).map(|_| world.run(&["migrate"], ""))).await;
    for output in outputs {
        let output = output?;
        assert_eq!(output.code, Some(0), "{output:?}");
    }
    world.database.execute(NEWER_RELEASE).await?;
    let outputs = futures_util::future::join_all((0..3).map(|_| world.run(&["migrate"], ""))).await;
    for output in outputs {
        let output = output?;
        assert_eq!(output.code, Some(0), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_runs_on_a_newer_schema() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute(NEWER_RELEASE).await?;
    world.produce("newer", &world.pages(3)).await?;
    world.work_until_empty(&[]).await?;
    assert_eq!(world.rows().await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_worker_refuses_an_older_schema_and_says_what_to_do() -> anyhow::Result<()> {
    let world = World::new().await?;
    former_schema::drop_tables(&world.database).await?;
    former_schema::install(&world.database, 1).await?;
    let output = world.run(&["work", "--listen", "off"], "").await?;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(
        output.stderr.contains("schema version 1") && output.stderr.contains("fetchline migrate"),
        "{output:?}"
    );
    assert!(
        output.stderr.contains(&format!("needs version {}", Store::schema_needed())),
        "{output:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_worker_without_a_schema_says_what_to_do() -> anyhow::Result<()> {
    let world = World::new().await?;
    former_schema::drop_tables(&world.database).await?;
    let output = world.run(&["work", "--listen", "off"], "").await?;
    assert!(output.code == Some(2) && output.stderr.contains("fetchline migrate"), "{output:?}");
    Ok(())
}

/// Goes back to the schema of an earlier release, and writes rows of the run `before` into it.
async fn go_back(world: &World, last: i64, rows: u32) -> anyhow::Result<()> {
    former_schema::drop_tables(&world.database).await?;
    former_schema::install(&world.database, last).await?;
    let insert = format!(
        "INSERT INTO fetches (id, run, url, method, outcome, body_text, attempts, elapsed_ms, \
         fetched_at, worker) WITH RECURSIVE \
         numbers AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < 999), \
         pairs AS (SELECT one.n + 1000 * other.n AS n FROM numbers AS one \
         JOIN numbers AS other ON other.n <= {rows} DIV 1000) \
         SELECT UNHEX(SHA2(n, 256)), 'before', CONCAT('http://shop.example/', n), 'GET', 'ok', \
         REPEAT('x', 300), 1, 5, '2026-03-01 10:00:00', 'pod' FROM pairs WHERE n < {rows}"
    );
    world.database.execute(AssertSqlSafe(insert)).await?;
    if last >= LAST_FORMER {
        let count = format!("INSERT INTO run_counts VALUES ('before', '', 'ok', 0, {rows})");
        world.database.execute(AssertSqlSafe(count)).await?;
    }
    Ok(())
}

/// The rows of a run, and how many are counted.
async fn rows_and_count(world: &World, run: &str) -> anyhow::Result<(i64, i64)> {
    let rows = format!("SELECT COUNT(*) FROM fetches WHERE run = '{run}'");
    let counted = format!("SELECT CAST(SUM(tasks) AS SIGNED) FROM run_counts WHERE run = '{run}'");
    Ok((world.count(&rows).await?, world.count(&counted).await?))
}

#[tokio::test]
async fn a_migration_keeps_existing_data() -> anyhow::Result<()> {
    for last in [1, 6, LAST_FORMER] {
        let world = World::new().await?;
        go_back(&world, last, 3).await?;
        let output = world.run(&["migrate"], "").await?;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.stdout.contains("3 rows copied"), "{output:?}");
        world.produce("after", &world.pages(3)).await?;
        world.work_until_empty(&[]).await?;
        for run in ["before", "after"] {
            assert_eq!(rows_and_count(&world, run).await?, (3, 3), "{last} {run}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_migration_that_is_killed_goes_on_while_workers_run() -> anyhow::Result<()> {
    // MIGRATION_ROWS=1000000 tries it at the size of a real table.
    let rows = std::env::var("MIGRATION_ROWS").map_or(Ok(20_000), |rows| rows.parse::<u32>())?;
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new().await?;
    go_back(&world, LAST_FORMER, rows).await?;
    let mut worker = None;
    let mut kills = 0;
    loop {
        let migrating = world.start(&["migrate"])?;
        let end = migrating.end();
        tokio::pin!(end);
        let after = Duration::from_millis(rng.random_range(0..u64::from(rows / 100) + 20 * kills));
        // The moment of the kill is what the test varies. On a busy machine, where hardly anything
        // is done before it, it comes later and later.
        tokio::select! {
            output = &mut end => {
                let output = output?;
                assert_eq!(output.code, Some(0), "seed {seed}, {kills} kills: {output:?}");
                break;
            }
            () = tokio::time::sleep(after) => kills += 1,
        }
        // Dropping the process kills it.
        if worker.is_none() && fetchline_tests::rows::store(&world)?.check_schema().await.is_ok() {
            world.produce("during", &world.pages(200)).await?;
            worker = Some(world.worker(&[])?);
        }
    }
    assert!(kills > 0, "seed {seed}");
    if worker.is_none() {
        world.produce("during", &world.pages(200)).await?;
        worker = Some(world.worker(&[])?);
    }
    let waited = world.run(&["status", "--run", "during", "--wait", "--for", "1m"], "").await?;
    assert_eq!(waited.code, Some(0), "seed {seed}: {waited:?}");
    assert_eq!(rows_and_count(&world, "before").await?, (i64::from(rows), i64::from(rows)));
    assert_eq!(rows_and_count(&world, "during").await?, (200, 200), "seed {seed}");
    if let Some(worker) = worker {
        worker.terminate().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_long_migration_begins_only_with_consent() -> anyhow::Result<()> {
    let world = World::new().await?;
    go_back(&world, LAST_FORMER, 1_000).await?;
    // The counts say how many rows there are.
    world.database.execute("UPDATE run_counts SET tasks = 40000000").await?;
    let refused = world.run(&["migrate"], "").await?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("40000000 rows") && refused.stderr.contains("--yes"),
        "{refused:?}"
    );
    let former = "SELECT COUNT(*) FROM fetches WHERE LENGTH(id) = 32";
    assert_eq!(world.count(former).await?, 1_000, "nothing has been changed");
    let agreed = world.run(&["migrate", "--yes"], "").await?;
    assert_eq!(agreed.code, Some(0), "{agreed:?}");
    assert_eq!(world.rows().await?, 1_000);
    Ok(())
}
