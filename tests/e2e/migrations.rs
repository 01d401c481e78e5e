//! The schema, old and new.

use fetchline_store::Store;
use fetchline_tests::world::World;
use sqlx::Executor;

/// What a newer release would leave in the table of migrations.
const NEWER_RELEASE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                             VALUES (9999, 'of a newer release', TRUE, 'x', 1)";

/// What makes a database as good as new.
const NO_SCHEMA: &str = "DROP TABLE fetches, hosts, robots, items, price_history, runs, run_counts, _sqlx_migrations";
/// What takes a database back to the first release.
const FIRST_RELEASE: [&str; 3] = [
    "DROP TABLE hosts, robots, items, price_history, runs, run_counts",
    "ALTER TABLE fetches DROP COLUMN product, DROP COLUMN given_url, DROP COLUMN rewrites",
    "DELETE FROM _sqlx_migrations WHERE version > 1",
];

#[tokio::test]
async fn two_releases_may_migrate_at_the_same_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute(NO_SCHEMA).await?;
    let many = futures_util::future::join_all((0..6).map(|_| world.run(&["migrate"], ""))).await;
    for ended in many {
        let ended = ended?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    world.database.execute(NEWER_RELEASE).await?;
    let many = futures_util::future::join_all((0..3).map(|_| world.run(&["migrate"], ""))).await;
    for ended in many {
        let ended = ended?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_goes_on_under_a_newer_schema() -> anyhow::Result<()> {
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
    for statement in FIRST_RELEASE {
        world.database.execute(statement).await?;
    }
    let ended = world.run(&["work", "--listen", "off"], "").await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("schema version 1") && ended.stderr.contains("fetchline migrate"), "{ended:?}");
    assert!(ended.stderr.contains(&format!("needs {}", Store::schema_needed())), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_worker_without_a_schema_says_what_to_do() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute(NO_SCHEMA).await?;
    let ended = world.run(&["work", "--listen", "off"], "").await?;
    assert!(ended.code == Some(1) && ended.stderr.contains("fetchline migrate"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_holds_data_keeps_them_when_it_is_migrated() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.produce("before", &world.pages(3)).await?;
    world.work_until_empty(&[]).await?;
    for statement in FIRST_RELEASE {
        world.database.execute(statement).await?;
    }
    let ended = world.run(&["migrate"], "").await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    world.produce("after", &world.pages(3)).await?;
    world.work_until_empty(&[]).await?;
    let rows = async |run| world.count(&format!("SELECT COUNT(*) FROM fetches WHERE run = '{run}'")).await;
    assert_eq!((rows("before").await?, rows("after").await?), (3, 3));
    // What was there before is counted as well.
    let counted = async |run| {
        world.count(&format!("SELECT CAST(SUM(tasks) AS SIGNED) FROM run_counts WHERE run = '{run}'")).await
    };
    assert_eq!((counted("before").await?, counted("after").await?), (3, 3));
    Ok(())
}
