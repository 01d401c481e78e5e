//! The settings of a session, which do not depend on the server's defaults.

use sqlx::Executor;

use crate::database::{Database, Result, batch, row};

/// Runs when a user without administrative rights connects. Only the user of this test is affected.
const ODD_DEFAULTS: &str = "SET SESSION \
    sql_mode = IF(CURRENT_USER() LIKE 'odd@%', IF(VERSION() LIKE '%MariaDB%', 'ORACLE', 'ANSI'), \
        @@sql_mode), \
    sql_select_limit = IF(CURRENT_USER() LIKE 'odd@%', 1, @@sql_select_limit), \
    sql_safe_updates = IF(CURRENT_USER() LIKE 'odd@%', 1, @@sql_safe_updates), \
    completion_type = IF(CURRENT_USER() LIKE 'odd@%', 'CHAIN', @@completion_type), \
    autocommit = IF(CURRENT_USER() LIKE 'odd@%', 0, @@autocommit)";

#[tokio::test]
async fn the_defaults_of_the_server_change_neither_migrations_nor_rows() -> Result {
    let mut database = Database::new().await?;
    let name = database.name().to_owned();
    for statement in [
        &format!("DROP DATABASE {name}"),
        &format!("CREATE DATABASE {name} CHARACTER SET latin1"),
        "CREATE USER IF NOT EXISTS odd",
        &format!("GRANT ALL ON {name}.* TO odd"),
        &format!("SET GLOBAL init_connect = \"{ODD_DEFAULTS}\""),
    ] {
        database.execute(statement).await?;
    }
    let written = write_as_odd_user(&database).await;
    database.execute("SET GLOBAL init_connect = ''").await?;
    database.execute("DROP USER odd").await?;
    assert_eq!(written?, 3);
    let rows = database.connect().await?.fetch_all("SELECT id FROM fetches").await?.len();
    assert_eq!(rows, 3, "other sessions see what was committed");
    Ok(())
}

/// Migrates and writes three rows; returns how many are reported as committed.
async fn write_as_odd_user(database: &Database) -> Result<usize> {
    let store = database.store_as("odd", 2)?;
    store.migrate(|_| {}).await?;
    let written = store.write(batch([1, 2, 3].map(row))).await;
    store.close().await;
    Ok(written.committed.receipts().count())
}
