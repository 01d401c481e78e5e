//! The steps of a migration, each of which may be done several times.
//!
//! The statements of a file run one by one. A change of a table is not transactional, so a process
//! that is killed leaves some of them done. Those fail when they are repeated, with an error that
//! says so. A last statement that changes rows commits together with the record of its migration;
//! any other one that changes rows has to be written so that repeating it does no harm.

use std::collections::BTreeSet;

use sqlx::migrate::Migration;
use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, MySql};

use super::{MIGRATIONS, former_keys};
use crate::Error;

/// What says that a change of a table is done already.
const ALREADY_DONE: [u16; 5] = [
    1050, // ER_TABLE_EXISTS_ERROR
    1051, // ER_BAD_TABLE_ERROR: the table to drop does not exist
    1060, // ER_DUP_FIELDNAME
    1061, // ER_DUP_KEYNAME
    1091, // ER_CANT_DROP_FIELD_OR_KEY
];
/// The table of applied migrations, as defined by the library with which earlier releases migrated.
const RECORDS: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)";
/// Records a migration. Earlier releases have left records of migrations that were interrupted.
const RECORD: &str = "INSERT INTO _sqlx_migrations \
                      (version, description, success, checksum, execution_time) \
                      VALUES (?, ?, TRUE, ?, -1) ON DUPLICATE KEY UPDATE success = TRUE";

/// Applies all migrations that have not been applied.
pub(super) async fn run(connection: &mut MySqlConnection) -> Result<(), Error> {
    let failed = Error::database("cannot read which migrations were applied");
    connection.execute(RECORDS).await.map_err(&failed)?;
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut *connection)
            .await
            .map_err(&failed)?;
    let applied = BTreeSet::from_iter(applied);
    for migration in MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)) {
        apply(connection, migration).await?;
    }
    Ok(())
}

async fn apply(connection: &mut MySqlConnection, migration: &Migration) -> Result<(), Error> {
    let failed = Error::database("a migration failed");
    let statements = statements(migration.sql.as_str());
    let (changes_rows, changes_tables) = match statements.split_last() {
        Some((last, others)) if changes_rows(last) => (Some(last), others),
        _ => (None, &statements[..]),
    };
    for statement in changes_tables {
        let changed = connection.execute(AssertSqlSafe(statement.clone())).await;
        match changed.map_err(&failed) {
            Err(error) if error.number().is_some_and(|n| ALREADY_DONE.contains(&n)) => {}
            changed => _ = changed?,
        }
    }
    if migration.version == former_keys::VERSION {
        former_keys::exchange_tables(connection).await?;
    }
    let mut transaction = connection.begin().await.map_err(&failed)?;
    let recorded = record(migration).execute(&mut *transaction).await.map_err(&failed)?;
    // One affected row is a new record. If there is one already, another process was faster.
    if let Some(statement) = changes_rows.filter(|_| recorded.rows_affected() == 1) {
        transaction.execute(AssertSqlSafe(statement.clone())).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}

fn record(migration: &Migration) -> Query<'_, MySql, MySqlArguments> {
    sqlx::query(RECORD)
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
}

/// The statements of a file. Each one ends with a semicolon at the end of a line.
fn statements(file: &str) -> Vec<String> {
    let lines: Vec<&str> =
        file.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements = lines.join("\n");
    let statements = statements.split(";\n").map(|text| text.trim().trim_end_matches(';'));
    statements.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn changes_rows(statement: &str) -> bool {
    ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| statement.starts_with(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_split_at_the_ends_of_its_statements() {
        let file = "-- A note; of two parts.\nCREATE TABLE a (\n    b INT COMMENT 'one; two'\n);\n\
                    -- Next;\nINSERT INTO a\nVALUES (1);\n";
        assert_eq!(
            statements(file),
            ["CREATE TABLE a (\n    b INT COMMENT 'one; two'\n)", "INSERT INTO a\nVALUES (1)"]
        );
        assert!(!changes_rows(&statements(file)[0]) && changes_rows(&statements(file)[1]));
    }

    #[test]
    fn only_the_last_statement_of_a_migration_changes_rows() {
        for migration in MIGRATIONS.iter() {
            let statements = statements(migration.sql.as_str());
            let (_, others) = statements.split_last().unwrap();
            assert!(!others.iter().any(|text| changes_rows(text)), "{}", migration.description);
        }
    }
}
