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

/// A table as the migrations leave it. What an operator adds to it does no harm.
struct Table {
    name: &'static str,
    /// Names with blanks between them.
    columns: &'static str,
    /// The columns of the primary key and of each other unique one, without which rows multiply.
    unique: &'static [&'static str],
}

/// The tables of the schema.
const TABLES: [Table; 12] = [
    Table { name: "facts", columns: "fact claim told noted_at", unique: &["fact"] },
    Table {
        name: "fetches",
        columns: "id run part url given_url final_url method outcome status content_type \
                 body_bytes body_sha256 body_json body_text body product error attempts \
                 elapsed_ms fetched_at worker message_id rewrites body_zstd",
        unique: &["id"],
    },
    Table {
        name: "hosts",
        columns: "host rate paused cool_down_until slowed slowed_at crawl_delay next_us note \
                 changed_at",
        unique: &["host"],
    },
    Table {
        name: "items",
        columns: "id source_sha256 source_url name price currency category sku brand availability \
                 image_url canonical_url variants updated_at run created_at status status_since \
                 availability_before availability_since seen_at",
        unique: &["id", "source_sha256"],
    },
    Table {
        name: "pages",
        columns: "page fetch_id body_sha256 has_body etag last_modified address reader trusted \
                 unchanged checks fetched_at",
        unique: &["page"],
    },
    Table { name: "positions", columns: "operation last_key fetched_at", unique: &["operation"] },
    Table {
        name: "price_history",
        columns: "item_id seen_at price currency source",
        unique: &["item_id seen_at"],
    },
    Table { name: "quarantine", columns: "id begun worker begun_at", unique: &["id"] },
    Table {
        name: "robots",
        columns: "origin fetched_at status body lease_until",
        unique: &["origin"],
    },
    Table {
        name: "run_counts",
        columns: "run part outcome product slot tasks",
        unique: &["run part outcome product slot"],
    },
    Table {
        name: "runs",
        columns: "run part planned created_at closed_at cancelled_at completed_at",
        unique: &["run part"],
    },
    Table {
        name: "workers",
        columns: "prefix pod started_at seen_at paused_since concurrency unacked directive \
                 obstacle",
        unique: &["prefix pod"],
    },
];

/// The columns of each table.
const COLUMNS: &str = "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) \
     FROM information_schema.columns WHERE table_schema = DATABASE()";
/// The unique keys of each table, as in [`Table::unique`], in brackets. An expression has no name.
const UNIQUE: &str = "SELECT CAST(table_name AS CHAR), CAST(CONCAT('(', \
     GROUP_CONCAT(IFNULL(column_name, '') ORDER BY seq_in_index SEPARATOR ' '), ')') AS CHAR) \
     FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND non_unique = 0 GROUP BY table_name, index_name";

impl Table {
    /// What the database lacks of this table. `found` are columns and keys by table.
    fn missing(&self, found: &[(String, String)]) -> Vec<String> {
        let has = |part: &str| found.iter().any(|(table, it)| table == self.name && it == part);
        let columns = self.columns.split(' ').filter(|column| !has(column));
        let columns: Vec<String> = columns.map(|it| format!("{}.{it}", self.name)).collect();
        if columns.len() == self.columns.split(' ').count() {
            return vec![format!("the table {}", self.name)];
        }
        let unique = self.unique.iter().filter(|columns| !has(&format!("({columns})")));
        let unique = unique.map(|it| format!("the unique key of {} ({it})", self.name));
        columns.into_iter().chain(unique).collect()
    }
}

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

    /// Fails if the schema is older than this program, like [`Self::check_schema`], or if it lacks
    /// a part of what the migrations have created. An account does not see what it has no right on.
    /// The tables of a newer release are not looked at.
    pub async fn check_tables(&self) -> Result<(), Error> {
        if self.newer_schema().await? {
            return Ok(());
        }
        let found = within("looking at the tables", DEADLINE, async {
            let mut connection = self.connect().await?;
            let mut found = pairs(&mut connection, COLUMNS).await?;
            found.extend(pairs(&mut connection, UNIQUE).await?);
            connection.close().await.map_err(Error::database("cannot close the connection"))?;
            Ok(found)
        });
        let found = found.await?;
        let missing: Vec<String> = TABLES.iter().flat_map(|table| table.missing(&found)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::SchemaDamaged(missing.join(", "))),
        }
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
    pairs(connection, TABLES).await
}

/// The tables that have the names of ours although no migration has begun here.
pub(crate) async fn foreign_tables(connection: &mut MySqlConnection) -> Result<Vec<String>, Error> {
    let found = sqlx::query_scalar(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
         WHERE table_schema = DATABASE() ORDER BY table_name",
    );
    let found = found.fetch_all(connection).await;
    let mut found: Vec<String> = found.map_err(Error::database("cannot look at the tables"))?;
    let has_begun = found.iter().any(|name| name == "_sqlx_migrations");
    found.retain(|name| !has_begun && TABLES.iter().any(|table| table.name == name));
    Ok(found)
}

async fn pairs(
    connection: &mut MySqlConnection,
    query: &'static str,
) -> Result<Vec<(String, String)>, Error> {
    let rows = sqlx::query_as(query).fetch_all(connection).await;
    rows.map_err(Error::database("cannot look at the tables"))
}
