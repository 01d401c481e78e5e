//! The schema of earlier releases.

use anyhow::Context;
use sqlx::mysql::MySqlPool;
use sqlx::{AssertSqlSafe, Executor};

/// The last migration before keys of 16 bytes.
pub const LAST_FORMER: i64 = 11;

/// Brings an empty database to the schema that a release had after this migration.
pub async fn install(database: &MySqlPool, last: i64) -> anyhow::Result<()> {
    const RECORDS: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, \
                           description TEXT NOT NULL, \
                           installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                           success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
                           execution_time BIGINT NOT NULL)";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/store/migrations");
    let files: std::io::Result<Vec<_>> =
        std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect();
    let mut files = files?;
    files.sort();
    database.execute(RECORDS).await?;
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version: i64 = name.split('_').next().context("a file without a number")?.parse()?;
        if version > last {
            break;
        }
        database.execute(AssertSqlSafe(std::fs::read_to_string(&file)?)).await?;
        let record = "INSERT INTO _sqlx_migrations VALUES (?, ?, NOW(), TRUE, 'x', 1)";
        sqlx::query(record).bind(version).bind(name).execute(database).await?;
    }
    Ok(())
}

/// Drops all tables of a database.
pub async fn drop_tables(database: &MySqlPool) -> anyhow::Result<()> {
    const TABLES: &str = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
                          WHERE table_schema = DATABASE()";
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(database).await?;
    for table in tables {
        database.execute(AssertSqlSafe(format!("DROP TABLE {table}"))).await?;
    }
    Ok(())
}
