//! Keys of 32 bytes, as earlier releases wrote them.
//!
//! Empty tables with the present keys take the place of the former tables at once, so that workers
//! can continue. Then the former rows are copied in key order, chunk by chunk. A row that a worker
//! has written meanwhile is newer, and stays.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::{BAD_TABLE, NO_SUCH_TABLE};
use crate::error::Error;
use crate::partitions::FIRST_DATED;
use crate::statements::counts::{CountChanges, CountedRow, DELETED_SLOT};
use crate::{contention, positions};

/// The migration that makes the tables with the present keys.
pub(super) const VERSION: i64 = 12;
/// The length of a present key.
const KEY_BYTES: u64 = 16;
/// The number of rows that are copied together, and their bodies' maximum size.
const CHUNK_ROWS: u32 = 1_000;
const CHUNK_BYTES: u64 = 8 << 20;
/// How often a chunk that loses against other transactions is tried.
const MAX_TRIES: u32 = 60;
/// What a server of two cores copies in a second, at the least.
const ROWS_PER_SECOND: u64 = 10_000;
const BYTES_PER_SECOND: u64 = 10 << 20;
/// The entry of `positions`.
const OPERATION: &str = "copy of fetches";
/// The columns of both tables besides the key. The former rows know no part, so theirs is empty.
const COLUMNS: &str = "run, url, given_url, final_url, method, outcome, status, content_type, \
                       body_bytes, body_sha256, body_json, body_text, body, product, error, \
                       attempts, elapsed_ms, fetched_at, worker, message_id, rewrites";
/// The first time after those that a key may hold.
const LAST_DATED: &str = "X'03BB2CC3D800'";

/// Rows with keys of an earlier release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerRows {
    /// About how many there are.
    pub rows: u64,
    /// About how long it takes to copy them.
    pub duration: Duration,
    /// Whether an earlier migration has begun to copy them.
    pub has_begun: bool,
}

/// The former rows; `None` if there are none, or no table.
pub(super) async fn count(connection: &mut MySqlConnection) -> Result<Option<FormerRows>, Error> {
    // A run's counts are exact; the server only estimates the rows of a table.
    const SIZE: &str = "SELECT CAST(GREATEST(table_rows, COALESCE( \
                            (SELECT SUM(tasks) FROM run_counts), 0)) AS UNSIGNED), \
                        CAST(data_length AS UNSIGNED) FROM information_schema.tables \
                        WHERE table_schema = DATABASE() AND table_name = ?";
    let has_begun = key_bytes(connection, "fetches_former").await?.is_some();
    let table = if has_begun { "fetches_former" } else { "fetches" };
    if !has_begun && key_bytes(connection, table).await?.is_none_or(|bytes| bytes == KEY_BYTES) {
        return Ok(None);
    }
    let size = sqlx::query_as(SIZE).bind(table).fetch_optional(connection).await;
    let size: Option<(u64, u64)> = match size.map_err(Error::database("cannot count old rows")) {
        // The first releases had no counts.
        Err(error) if error.number() == Some(NO_SUCH_TABLE) => None,
        size => size?,
    };
    let (rows, bytes) = size.unwrap_or_default();
    let duration = Duration::from_secs(rows / ROWS_PER_SECOND + bytes / BYTES_PER_SECOND);
    Ok(Some(FormerRows { rows, duration, has_begun }))
}

/// Lets the tables with the present keys take the place of the former ones.
pub(super) async fn exchange_tables(connection: &mut MySqlConnection) -> Result<(), Error> {
    const EXCHANGE: &str = "RENAME TABLE fetches TO fetches_former, fetches_next TO fetches, \
                            quarantine TO quarantine_former, quarantine_next TO quarantine";
    if key_bytes(connection, "fetches").await? != Some(KEY_BYTES) {
        let exchanged = connection.execute(EXCHANGE).await;
        let exchanged = exchanged.map_err(Error::database("cannot exchange the tables"));
        // Another process may have been faster.
        if exchanged.is_err() && key_bytes(connection, "fetches").await? != Some(KEY_BYTES) {
            return exchanged.map(drop);
        }
    }
    // What this process has created in vain.
    let dropped = connection.execute("DROP TABLE IF EXISTS fetches_next, quarantine_next").await;
    dropped.map(drop).map_err(Error::database("cannot drop a table"))
}

/// Copies the former rows, and drops their tables. `on_progress` is called with the number of rows
/// that this process has copied.
pub(super) async fn copy(
    connection: &mut MySqlConnection,
    on_progress: &mut impl FnMut(u64),
) -> Result<(), Error> {
    let mut copied = 0;
    let mut tries = 1;
    while let Some(bytes) = key_bytes(connection, "fetches_former").await? {
        match copy_chunk(connection, bytes).await {
            Ok(Chunked::Last) => finish(connection).await?,
            Ok(Chunked::Copied(rows)) => {
                (copied, tries) = (copied + rows, 1);
                on_progress(copied);
            }
            Ok(Chunked::Overtaken) => {}
            // Another process has copied the last row.
            Err(error) if error.number() == Some(NO_SUCH_TABLE) => {}
            Err(error) if error.is_contention() && tries < MAX_TRIES => {
                tokio::time::sleep(contention::pause_after(tries)).await;
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What became of a chunk.
enum Chunked {
    /// So many rows were copied.
    Copied(u64),
    /// A worker has written one of the rows in the meantime. The chunk is copied again.
    Overtaken,
    /// There are no more rows.
    Last,
}

/// Copies the next rows in one transaction.
async fn copy_chunk(connection: &mut MySqlConnection, bytes: u64) -> Result<Chunked, Error> {
    let failed = Error::database("cannot copy rows");
    let mut transaction = connection.begin().await.map_err(&failed)?;
    // The lock of the position lets one process copy at a time.
    let position = positions::lock_position(&mut transaction, OPERATION).await?;
    let after = position.map(|position| position.last_key).unwrap_or_default();
    let rows: Vec<(Vec<u8>, u64)> = sqlx::query_as(
        "SELECT id, CAST(COALESCE(body_bytes, 0) AS UNSIGNED) FROM fetches_former \
         WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(&after)
    .bind(CHUNK_ROWS)
    .fetch_all(&mut *transaction)
    .await
    .map_err(&failed)?;
    let mut sum = 0;
    let fitting = rows.iter().take_while(|(_, bytes)| {
        let fits = sum == 0 || sum + bytes <= CHUNK_BYTES;
        sum += bytes.max(&1);
        fits
    });
    let count = fitting.count();
    let Some((last, _)) = rows[..count].last() else { return Ok(Chunked::Last) };
    let chunk = Chunk { key: key_of(bytes), after: &after, last };
    let known = chunk.known_rows(&mut transaction).await?;
    let affected = chunk.copy(&mut transaction).await?;
    // A row that exists counts twice. If one has appeared meanwhile, its count is not known.
    if affected != (count + known.len()) as u64 {
        return transaction.rollback().await.map(|()| Chunked::Overtaken).map_err(&failed);
    }
    let mut counts = CountChanges::default();
    known.iter().for_each(|row| counts.remove(row));
    counts.write(&mut transaction, DELETED_SLOT).await?;
    positions::save_position(&mut transaction, OPERATION, last, None).await?;
    transaction.commit().await.map_err(&failed)?;
    Ok(Chunked::Copied(count as u64))
}

/// A range of the former rows.
struct Chunk<'a> {
    /// The present key of a former row, in SQL.
    key: String,
    after: &'a [u8],
    last: &'a [u8],
}

impl Chunk<'_> {
    /// Locks the rows that workers have written again. Returns their former rows, which are counted
    /// as well: without a part, and by an earlier release without a product.
    async fn known_rows(&self, connection: &mut MySqlConnection) -> Result<Vec<CountedRow>, Error> {
        let statement = format!(
            "SELECT former.run, '' AS part, former.outcome, NULL AS product \
             FROM fetches_former AS former \
             JOIN fetches ON fetches.id = {} \
             WHERE former.id > ? AND former.id <= ? FOR UPDATE",
            self.key
        );
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(self.after).bind(self.last);
        query.fetch_all(connection).await.map_err(Error::database("cannot copy rows"))
    }

    /// Returns the number of affected rows: one for each new row, and two for each known one.
    async fn copy(&self, connection: &mut MySqlConnection) -> Result<u64, Error> {
        let statement = format!(
            "INSERT INTO fetches (id, {COLUMNS}) SELECT {}, {COLUMNS} \
             FROM fetches_former AS former WHERE id > ? AND id <= ? ORDER BY id \
             ON DUPLICATE KEY UPDATE rewrites = fetches.rewrites + 1",
            self.key
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(self.after).bind(self.last);
        let copied = query.execute(connection).await;
        Ok(copied.map_err(Error::database("cannot copy rows"))?.rows_affected())
    }
}

/// The present key of a former row, in SQL: what `Key` in the crate `fetchline-queue` makes of the
/// same message.
fn key_of(bytes: u64) -> String {
    if bytes == KEY_BYTES {
        return "former.id".to_owned();
    }
    let uuid = "UNHEX(REPLACE(former.message_id, '-', ''))";
    format!(
        "CONCAT(IF(LENGTH({uuid}) = 16 AND ASCII(SUBSTR({uuid}, 7, 1)) >> 4 = 7 \
         AND ASCII(SUBSTR({uuid}, 9, 1)) >> 6 = 2 \
         AND LEFT({uuid}, 6) >= LEFT({FIRST_DATED}, 6) AND LEFT({uuid}, 6) < {LAST_DATED}, \
         LEFT({uuid}, 6), X'000000000000'), LEFT(former.id, 10))"
    )
}

/// Drops the former tables once every row is copied.
async fn finish(connection: &mut MySqlConnection) -> Result<(), Error> {
    const MARKS: &str = "INSERT IGNORE INTO quarantine (id, begun, worker, begun_at) \
                         SELECT CONCAT(X'000000000000', LEFT(id, 10)), begun, worker, begun_at \
                         FROM quarantine_former";
    // After the tables: without a position, everything would be copied again. The position of the
    // bodies goes too, since the rows that were copied may be older.
    const POSITIONS: &str = "DELETE FROM positions";
    for statement in [MARKS, "DROP TABLE quarantine_former", "DROP TABLE fetches_former", POSITIONS]
    {
        let done = connection.execute(statement).await;
        match done.map_err(Error::database("cannot drop the former tables")) {
            // Another process was faster, or this one was interrupted.
            Err(error) if [NO_SUCH_TABLE, BAD_TABLE].map(Some).contains(&error.number()) => {}
            done => _ = done?,
        }
    }
    Ok(())
}

/// The length of a table's key; `None` if there is no such table.
async fn key_bytes(connection: &mut MySqlConnection, table: &str) -> Result<Option<u64>, Error> {
    const KEY: &str = "SELECT CAST(character_octet_length AS UNSIGNED) \
                       FROM information_schema.columns WHERE table_schema = DATABASE() \
                       AND table_name = ? AND column_name = 'id'";
    let bytes = sqlx::query_scalar(KEY).bind(table).fetch_optional(connection).await;
    bytes.map_err(Error::database("cannot read the schema"))
}
