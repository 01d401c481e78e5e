//! Migrations of old and new schemas.

use fetchline_store::Store;
use fetchline_tests::world::World;
use sqlx::Executor;

/// The entry of a newer release in the table of migrations.
const NEWER_RELEASE: &str = "INSERT INTO _sqlx_migrations \
                             (version, description, success, checksum, execution_time) \
                             VALUES (9999, 'of a newer release', TRUE, 'x', 1)";

/// Removes the schema.
const DROP_SCHEMA: &str =
    "DROP TABLE fetches, hosts, robots, items, price_history, runs, run_counts, _sqlx_migrations";
/// Takes a database back to the first release.
const TO_FIRST_RELEASE: [&str; 3] = [
    "DROP TABLE hosts, robots, items, price_history, runs, run_counts",
    "ALTER TABLE fetches DROP COLUMN product, DROP COLUMN given_url, DROP COLUMN rewrites, \
     DROP KEY fetches_by_run, DROP COLUMN part, ADD KEY fetches_by_run (run, outcome)",
    "DELETE FROM _sqlx_migrations WHERE version > 1",
];

#[tokio::test]
async fn two_releases_may_migrate_at_the_same_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute(DROP_SCHEMA).await?;
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
    for statement in TO_FIRST_RELEASE {
        world.database.execute(statement).await?;
    }
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
    world.database.execute(DROP_SCHEMA).await?;
    let output = world.run(&["work", "--listen", "off"], "").await?;
    assert!(output.code == Some(2) && output.stderr.contains("fetchline migrate"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_migration_keeps_existing_data() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("before", &world.pages(3)).await?;
    world.work_until_empty(&[]).await?;
    for statement in TO_FIRST_RELEASE {
        world.database.execute(statement).await?;
    }
    let output = world.run(&["migrate"], "").await?;
    assert_eq!(output.code, Some(0), "{output:?}");
    world.produce("after", &world.pages(3)).await?;
    world.work_until_empty(&[]).await?;
    let rows =
        async |run| world.count(&format!("SELECT COUNT(*) FROM fetches WHERE run = '{run}'")).await;
    assert_eq!((rows("before").await?, rows("after").await?), (3, 3));
    // Rows from before the migration are counted as well.
    let counted = async |run| {
        world
            .count(&format!(
                "SELECT CAST(SUM(tasks) AS SIGNED) FROM run_counts WHERE run = '{run}'"
            ))
            .await
    };
    assert_eq!((counted("before").await?, counted("after").await?), (3, 3));
    Ok(())
}
