//! What `fetchline check` asks the database. Changes nothing.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use time::OffsetDateTime;

use crate::pool::{DEADLINE, within};
use crate::{Error, Store};

/// What the server says about itself and the session.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Such as `10.11.6-MariaDB`.
    pub version: String,
    /// The account that the server has chosen, such as `fetchline@%`.
    pub account: String,
    /// The cipher of the session; `None` if it is not encrypted.
    pub cipher: Option<String>,
    /// `max_allowed_packet` in bytes.
    pub max_packet: u64,
    /// The most connections that the server takes, from this account or from all together; `None`
    /// if there is no limit.
    pub max_connections: Option<u32>,
    /// The difference between the server's clock and this machine's.
    pub clock_difference: Duration,
}

/// The tables of the schema.
const TABLES: [&str; 11] = [
    "facts",
    "fetches",
    "hosts",
    "items",
    "pages",
    "price_history",
    "quarantine",
    "robots",
    "run_counts",
    "runs",
    "workers",
];

/// What is tried on each table: the right, and a statement that touches no row. `{table}` and
/// `{column}` are replaced.
const RIGHTS: [(&str, &str); 4] = [
    ("SELECT", "SELECT 1 FROM `{table}` LIMIT 0"),
    ("INSERT", "INSERT INTO `{table}` SELECT * FROM `{table}` WHERE FALSE"),
    ("UPDATE", "UPDATE `{table}` SET `{column}` = `{column}` WHERE FALSE"),
    ("DELETE", "DELETE FROM `{table}` WHERE FALSE"),
];
/// Errors that are about rights: ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR,
/// ER_COLUMNACCESS_DENIED_ERROR and ER_SPECIFIC_ACCESS_DENIED_ERROR.
const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];

impl Store {
    /// Connects with a connection of its own, and asks the server about itself.
    pub async fn server_facts(&self) -> Result<ServerFacts, Error> {
        within("asking the server about itself", DEADLINE, async {
            let mut connection = self.connect().await?;
            let facts = facts(&mut connection).await.map_err(Error::database("cannot ask"))?;
            connection.close().await.map_err(Error::database("cannot close the connection"))?;
            Ok(facts)
        })
        .await
    }

    /// The tables of the schema that do not exist, or that the account may not even see.
    pub async fn missing_tables(&self) -> Result<Vec<&'static str>, Error> {
        within("looking for the tables", DEADLINE, async {
            let mut connection = self.connect().await?;
            let found = tables(&mut connection).await?;
            connection.close().await.map_err(Error::database("cannot close the connection"))?;
            let is_missing = |table: &&str| found.iter().all(|(name, _)| name != table);
            Ok(TABLES.into_iter().filter(is_missing).collect())
        })
        .await
    }

    /// The rights on tables that the account lacks, such as `DELETE on fetches`.
    pub async fn missing_rights(&self) -> Result<Vec<String>, Error> {
        within("trying the rights", DEADLINE, async {
            let mut connection = self.connect().await?;
            let mut missing = Vec::new();
            for (table, column) in tables(&mut connection).await? {
                for (right, statement) in RIGHTS {
                    let statement = statement.replace("{table}", &table);
                    let statement = statement.replace("{column}", &column);
                    let tried = connection.execute(AssertSqlSafe(statement)).await;
                    let tried = tried.map_err(Error::database("cannot try a right"));
                    if tried.err().and_then(|e| e.number()).is_some_and(|n| DENIED.contains(&n)) {
                        missing.push(format!("{right} on {table}"));
                    }
                }
            }
            connection.close().await.map_err(Error::database("cannot close the connection"))?;
            Ok(missing)
        })
        .await
    }
}

async fn facts(connection: &mut MySqlConnection) -> sqlx::Result<ServerFacts> {
    const FACTS: &str = "SELECT VERSION(), CURRENT_USER(), \
         CAST(@@max_allowed_packet AS UNSIGNED), \
         CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED), \
         CAST(@@max_connections AS SIGNED), CAST(@@max_user_connections AS SIGNED)";
    let row = sqlx::query(FACTS).fetch_one(&mut *connection).await?;
    let now = OffsetDateTime::now_utc();
    let micros: i64 = row.try_get(3)?;
    // Without a limit, a number is 0.
    let limits: [i64; 2] = [row.try_get(4)?, row.try_get(5)?];
    let limits = limits.into_iter().filter_map(|limit| u32::try_from(limit).ok());
    let server = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
    let cipher = connection.fetch_one("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
    let cipher: String = cipher.try_get(1)?;
    Ok(ServerFacts {
        version: row.try_get(0)?,
        account: row.try_get(1)?,
        cipher: Some(cipher).filter(|cipher| !cipher.is_empty()),
        max_packet: row.try_get(2)?,
        max_connections: limits.filter(|limit| *limit > 0).min(),
        clock_difference: (server.unwrap_or(now) - now).unsigned_abs(),
    })
}

/// The tables of the schema that the account can see, each with its first column. The table of
/// migrations is only written by `fetchline migrate`.
async fn tables(connection: &mut MySqlConnection) -> Result<Vec<(String, String)>, Error> {
    const TABLES: &str = "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) \
         FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND ordinal_position = 1 \
         AND table_name <> '_sqlx_migrations' ORDER BY table_name";
    sqlx::query_as(TABLES)
        .fetch_all(connection)
        .await
        .map_err(Error::database("cannot list the tables"))
}
