//! The schema, old and new.

use fetchline_store::Store;
use fetchline_tests::world::World;
use sqlx::Executor;

/// What a newer release would leave in the table of migrations.
const NEWER_RELEASE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                             VALUES (9999, 'of a newer release', TRUE, 'x', 1)";

#[tokio::test]
async fn two_releases_may_migrate_at_the_same_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute("DROP TABLE fetches, _sqlx_migrations").await?;
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
    world.database.execute("UPDATE _sqlx_migrations SET version = 0 WHERE version = 1").await?;
    let ended = world.run(&["work", "--listen", "off"], "").await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("schema version 0") && ended.stderr.contains("fetchline migrate"), "{ended:?}");
    assert!(ended.stderr.contains(&format!("needs {}", Store::schema_needed())), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_worker_without_a_schema_says_what_to_do() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.database.execute("DROP TABLE fetches, _sqlx_migrations").await?;
    let ended = world.run(&["work", "--listen", "off"], "").await?;
    assert!(ended.code == Some(1) && ended.stderr.contains("fetchline migrate"), "{ended:?}");
    Ok(())
}
