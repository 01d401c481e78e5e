//! Rows that were fetched too long ago.

use std::collections::BTreeMap;
use std::time::Instant;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection};
use time::PrimitiveDateTime;

use super::{CHUNK, Pruned, pause_after};
use crate::keys::part_of_key;
use crate::statements::counts::{CountChanges, CountedRow, DELETED_SLOT};
use crate::statements::placeholders::{bind_keys, list};
use crate::{Error, Store, contention};

/// The next old rows; binds the time and twice the position, and the maximum number of rows.
pub const ROWS_OF_PRUNE: &str = "SELECT id, fetched_at FROM fetches FORCE INDEX (fetches_by_time) \
                                 WHERE fetched_at < ? \
                                 AND (fetched_at > ? OR (fetched_at = ? AND id > ?)) \
                                 ORDER BY fetched_at, id LIMIT ?";

/// The key of a task.
type Key = [u8; 16];

/// A position in the rows, in the order of their time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    cutoff: PrimitiveDateTime,
    /// The time and the key of the last row that was read.
    after: (PrimitiveDateTime, Key),
}

impl Scan {
    pub(super) fn from_the_first(cutoff: PrimitiveDateTime) -> Self {
        Self { cutoff, after: (time::macros::datetime!(1000-01-01 0:00), [0; 16]) }
    }

    pub(super) fn from(cutoff: PrimitiveDateTime, after: (PrimitiveDateTime, Key)) -> Self {
        Self { cutoff, after }
    }

    /// The keys of the next rows, and the time of the last one.
    pub(super) async fn next(
        &mut self,
        connection: &mut MySqlConnection,
    ) -> Result<Vec<Key>, Error> {
        let (after, key) = self.after;
        let rows: Vec<(Vec<u8>, PrimitiveDateTime)> = sqlx::query_as(ROWS_OF_PRUNE)
            .bind(self.cutoff)
            .bind(after)
            .bind(after)
            .bind(key.as_slice())
            .bind(CHUNK as u32)
            .fetch_all(connection)
            .await
            .map_err(Error::database("cannot read old rows"))?;
        let mut keys = Vec::with_capacity(rows.len());
        for (id, fetched_at) in rows {
            let Ok(key) = Key::try_from(id) else { continue };
            self.after = (fetched_at, key);
            keys.push(key);
        }
        // Rows are locked in key order, as everywhere.
        keys.sort_unstable();
        Ok(keys)
    }

    /// The last row that was read.
    pub(super) fn position(&self) -> (PrimitiveDateTime, Key) {
        self.after
    }
}

impl Store {
    pub(super) async fn prune_rows(
        &self,
        cutoff: PrimitiveDateTime,
        dry_run: bool,
        pruned: &mut Pruned,
        on_progress: &mut impl FnMut(Pruned),
    ) -> Result<(), Error> {
        let unfinished = self.unfinished_parts(cutoff).await?;
        if !dry_run {
            self.drop_weeks(cutoff, &unfinished, pruned, on_progress).await?;
        }
        let mut scan = Scan::from_the_first(cutoff);
        loop {
            let began = Instant::now();
            let reading = self.with_connection("reading old rows", async |connection| {
                scan.next(connection).await
            });
            let mut keys = reading.await?;
            if keys.is_empty() {
                return Ok(());
            }
            keys.retain(|key| part_of_key(*key).is_none_or(|part| !unfinished.contains(&part)));
            pruned.rows += match dry_run {
                true => keys.len() as u64,
                false => self.delete_rows(&keys, cutoff).await?,
            };
            on_progress(*pruned);
            pause_after(began).await;
        }
    }

    /// Deletes rows, unless they have been replaced by newer ones meanwhile.
    pub(super) async fn delete_rows(
        &self,
        keys: &[Key],
        cutoff: PrimitiveDateTime,
    ) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let failed = Error::database("cannot delete old rows");
        let delete = || {
            self.with_connection("deleting old rows", async |connection| {
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let old = lock_old_rows(&mut transaction, keys, cutoff).await?;
                let deletion =
                    format!("DELETE FROM fetches WHERE id IN ({})", list("?", old.len()));
                if !old.is_empty() {
                    let keys = bind_keys(old.iter().map(|row| &row.key)).map_err(&failed)?;
                    let query = sqlx::query_with(AssertSqlSafe(deletion), keys).persistent(false);
                    query.execute(&mut *transaction).await.map_err(&failed)?;
                    count_deleted(&mut transaction, &old).await?;
                }
                transaction.commit().await.map_err(&failed)?;
                Ok(old.len() as u64)
            })
        };
        contention::retry(delete).await
    }
}

/// A row to delete.
struct OldRow {
    key: Key,
    counted: CountedRow,
}

async fn lock_old_rows(
    connection: &mut MySqlConnection,
    keys: &[Key],
    cutoff: PrimitiveDateTime,
) -> Result<Vec<OldRow>, Error> {
    type Row = (Vec<u8>, String, String, String, Option<String>);
    let failed = Error::database("cannot read old rows");
    let statement = format!(
        "SELECT id, run, part, outcome, product FROM fetches WHERE id IN ({}) AND fetched_at < ? \
         ORDER BY id FOR UPDATE",
        list("?", keys.len())
    );
    let keys = bind_keys(keys).map_err(&failed)?;
    let query = sqlx::query_as_with(AssertSqlSafe(statement), keys).bind(cutoff).persistent(false);
    let rows: Vec<Row> = query.fetch_all(connection).await.map_err(&failed)?;
    let rows = rows.into_iter().filter_map(|(id, run, part, outcome, product)| {
        let counted = CountedRow { run, part, outcome, product };
        Some(OldRow { key: id.try_into().ok()?, counted })
    });
    Ok(rows.collect())
}

/// Subtracts deleted rows from the counts, and from the planned tasks of their part: what remained
/// of it still does. A part that is recorded as complete keeps its plan.
async fn count_deleted(connection: &mut MySqlConnection, rows: &[OldRow]) -> Result<(), Error> {
    const PLANNED: &str = "UPDATE runs SET planned = planned - ? WHERE run = ? AND part = ? \
                           AND planned >= ? AND completed_at IS NULL";
    let mut counts = CountChanges::default();
    let mut deleted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for OldRow { counted, .. } in rows {
        counts.remove(counted);
        if !counted.part.is_empty() {
            *deleted.entry((&counted.run, &counted.part)).or_default() += 1;
        }
    }
    for ((run, part), rows) in deleted {
        let planned = sqlx::query(PLANNED).bind(rows).bind(run).bind(part).bind(rows);
        let planned = planned.execute(&mut *connection).await;
        planned.map_err(Error::database("cannot count deleted rows"))?;
    }
    counts.write(connection, DELETED_SLOT).await
}
