//! Migrations from earlier releases.

use fetchline_store::{Fetch, Outcome, Selection, Store};
use sqlx::{AssertSqlSafe, Row};

use crate::database::{Database, Result, row};

/// A `UUIDv7` of another program, from 2026-11-30.
const UUID: &str = "019ad032-5a3c-7f31-a530-00000119b2c7";

/// Writes a row as the last release did. `number` decides its key.
async fn insert_former(database: &mut Database, table: &str, number: u64, id: &str) -> Result {
    let statement = format!(
        "INSERT INTO {table} (id, run, url, method, outcome, body_json, attempts, elapsed_ms, \
         fetched_at, worker, message_id) VALUES (UNHEX(SHA2('{number}', 256)), 'nightly', \
         'http://a.example/{number}', 'GET', 'ok', '{{\"z\":1.10, \"a\":[ 2]}}', 1, 5, \
         '2026-03-01 10:00:00.000001', 'pod', '{id}')"
    );
    database.execute(&statement).await
}

/// The rows: URL and key.
async fn rows(database: &mut Database) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query("SELECT url, LOWER(HEX(id)) FROM fetches ORDER BY url")
        .fetch_all(&mut database.connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The number of rows by outcome, as they are counted.
async fn counted(store: &Store) -> Result<Vec<(String, u64)>> {
    Ok(store.run("nightly", &Selection::All).await?.outcomes.into_iter().collect())
}

#[tokio::test]
async fn former_rows_keep_their_identity_and_their_counts() -> Result {
    let mut database = Database::with_former_keys().await?;
    let ids = ["ab".repeat(32), "order-17".to_owned(), UUID.to_owned(), UUID.replace('-', "")];
    for (number, id) in (0..).zip(&ids) {
        insert_former(&mut database, "fetches", number, id).await?;
    }
    let store = database.store(2)?;
    for statement in [
        "INSERT INTO run_counts VALUES ('nightly', 'p', 'ok', 3, 4)",
        "INSERT INTO quarantine VALUES (UNHEX(SHA2('0', 256)), 2, 'pod', UTC_TIMESTAMP(6))",
    ] {
        database.execute(statement).await?;
    }
    let former = store.former_rows().await?.ok_or("no former rows")?;
    assert_eq!((former.rows, former.has_begun), (4, false));
    assert_eq!(store.migrate(|_| {}).await?, (11, Store::schema_needed()));
    let hashes: Vec<String> = sqlx::query_scalar(
        "SELECT LOWER(LEFT(SHA2(number, 256), 20)) FROM (SELECT '0' AS number UNION SELECT '1' \
         UNION SELECT '2' UNION SELECT '3') AS numbers ORDER BY number",
    )
    .fetch_all(&mut database.connection)
    .await?;
    let (undated, time) = ("0".repeat(12), UUID.replace('-', "")[..12].to_owned());
    let times = [&undated, &undated, &time, &time];
    let expected: Vec<_> =
        times.iter().zip(&hashes).map(|(time, hash)| format!("{time}{hash}")).collect();
    let found: Vec<_> = rows(&mut database).await?.into_iter().map(|(_, key)| key).collect();
    assert_eq!(found, expected);
    let mark = format!("SELECT COUNT(*) FROM quarantine WHERE id = UNHEX('{}')", expected[0]);
    assert_eq!(database.count(&mark).await?, 1);
    assert_eq!(counted(&store).await?, [("ok".to_owned(), 4)]);
    let tables = "SELECT COUNT(*) FROM information_schema.tables \
                  WHERE table_schema = DATABASE() AND table_name REGEXP '_(former|next)$'";
    assert_eq!((database.count(tables).await?, store.former_rows().await?), (0, None));
    assert_eq!(store.migrate(|_| {}).await?.0, Store::schema_needed());
    Ok(())
}

#[tokio::test]
async fn a_row_that_was_written_during_the_copy_is_newer_and_counts_once() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(2)?;
    // As a process that was killed after the exchange of the tables has left it.
    let former = include_str!("../../migrations/0001_fetches.sql");
    let quarantine = include_str!("../../migrations/0011_quarantine.sql");
    for statement in [
        &*former.replace("TABLE fetches", "TABLE fetches_former"),
        &quarantine.replace("EXISTS quarantine", "EXISTS quarantine_former"),
        "ALTER TABLE fetches_former ADD COLUMN product VARCHAR(10) NULL, \
         ADD COLUMN given_url TEXT NULL, ADD COLUMN rewrites INT UNSIGNED NOT NULL DEFAULT 0",
        "INSERT INTO run_counts VALUES ('nightly', '', 'ok', '', 3, 3)",
    ] {
        database.execute(statement).await?;
    }
    for number in 0..3 {
        insert_former(&mut database, "fetches_former", number, "order-17").await?;
    }
    let id: Vec<u8> =
        sqlx::query_scalar("SELECT CONCAT(X'000000000000', LEFT(UNHEX(SHA2('1', 256)), 10))")
            .fetch_one(&mut database.connection)
            .await?;
    let id = <[u8; 16]>::try_from(id).map_err(|_| "not a key")?;
    let mut newer = fetchline_store::Batch::default();
    newer.push(Box::new(Fetch { id, outcome: Outcome::Timeout, ..row(1) }), 1_u8);
    assert!(store.write(newer).await.unwritten.is_none());
    let former = store.former_rows().await?.ok_or("no former rows")?;
    assert!(former.has_begun);
    store.migrate(|_| {}).await?;
    for (outcome, expected) in [("ok", 2), ("timeout", 1)] {
        let count = format!("SELECT COUNT(*) FROM fetches WHERE outcome = '{outcome}'");
        assert_eq!(database.count(&count).await?, expected, "{outcome}");
    }
    assert_eq!(counted(&store).await?, [("ok".to_owned(), 2), ("timeout".to_owned(), 1)]);
    Ok(())
}

#[tokio::test]
async fn a_migration_goes_on_wherever_an_earlier_one_was_interrupted() -> Result {
    // What may be done already: a table, an index, a record as earlier releases leave it when they
    // are killed; or a statement whose migration was not recorded.
    let next = include_str!("../../migrations/0012_time_ordered_keys.sql");
    let next = next.split(";\n").next().unwrap_or_default();
    let dirty = "INSERT INTO _sqlx_migrations VALUES (12, 'keys', NOW(), FALSE, 'x', -1)";
    for done in [
        vec![next],
        vec![dirty],
        vec![next, dirty],
        vec!["DELETE FROM _sqlx_migrations WHERE version >= 10"],
        vec!["DELETE FROM _sqlx_migrations WHERE version IN (1, 2, 6, 10, 11)"],
        vec!["ALTER TABLE items DROP INDEX items_by_time"],
        vec!["UPDATE _sqlx_migrations SET success = FALSE WHERE version >= 7"],
    ] {
        let mut database = Database::with_former_keys().await?;
        insert_former(&mut database, "fetches", 1, "order-17").await?;
        for statement in &done {
            database.execute(statement).await?;
        }
        let store = database.store(2)?;
        assert_eq!(store.migrate(|_| {}).await?.1, Store::schema_needed(), "{done:?}");
        assert_eq!(rows(&mut database).await?.len(), 1, "{done:?}");
        let dirty = "SELECT COUNT(*) FROM _sqlx_migrations WHERE NOT success";
        assert_eq!(database.count(dirty).await?, 0, "{done:?}");
        store.check_schema().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_migration_may_have_been_done_and_not_recorded() -> Result {
    let database = Database::new().await?;
    let mut connection = database.connect().await?;
    let store = database.store(2)?;
    for version in (1..=Store::schema_needed()).rev() {
        let forget = format!("DELETE FROM _sqlx_migrations WHERE version >= {version}");
        sqlx::query(AssertSqlSafe(forget)).execute(&mut connection).await?;
        assert_eq!(store.migrate(|_| {}).await?.1, Store::schema_needed(), "{version}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_migrate_at_the_same_time() -> Result {
    for round in 0..3 {
        let mut database = Database::with_former_keys().await?;
        for number in 0..200 {
            insert_former(&mut database, "fetches", number, "order-17").await?;
        }
        database.execute("INSERT INTO run_counts VALUES ('nightly', '', 'ok', 3, 200)").await?;
        let mut migrating = Vec::new();
        for _ in 0..6 {
            let store = database.store(1)?;
            migrating.push(tokio::spawn(async move { store.migrate(|_| {}).await }));
        }
        for migrated in migrating {
            assert_eq!(migrated.await??.1, Store::schema_needed(), "{round}");
        }
        assert_eq!(rows(&mut database).await?.len(), 200, "{round}");
        assert_eq!(counted(&database.store(1)?).await?, [("ok".to_owned(), 200)], "{round}");
    }
    Ok(())
}

#[tokio::test]
async fn a_migration_names_what_was_dropped_since() -> Result {
    let mut database = Database::new().await?;
    let store = database.store(1)?;
    database.execute("ALTER TABLE items DROP COLUMN brand").await?;
    for (change, missing) in [
        ("DROP TABLE hosts", "items.brand"),
        ("RENAME TABLE fetches TO x", "the table hosts"),
        ("DROP TABLE runs", "the table fetches"),
    ] {
        database.execute(change).await?;
        let error = store.migrate(|_| {}).await.err().ok_or("not noticed")?;
        assert!(error.is_configuration() && error.to_string().contains(missing), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn tables_of_another_program_are_named_and_nothing_is_created_beside_them() -> Result {
    let mut database = Database::empty().await?;
    database.execute("CREATE TABLE runs (number INT)").await?;
    let error = database.store(1)?.migrate(|_| {}).await.err().ok_or("not noticed")?;
    assert!(error.is_configuration() && error.to_string().ends_with("program: runs"), "{error}");
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    assert_eq!(database.count(tables).await?, 1);
    Ok(())
}
