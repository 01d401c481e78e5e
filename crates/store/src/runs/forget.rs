//! Forgetting: old parts of which no rows are left lose their record and their counts.

use std::collections::BTreeMap;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;
use time::macros::datetime;

use crate::contention;
use crate::statements::counts::DELETED_SLOT;
use crate::{Error, Store};

/// The old parts after a position; binds the cutoff three times, the position (its time twice, the
/// run, the part), and the maximum number. Parts that began, ended or were cancelled since are
/// still needed: tasks of a cancelled part may be waiting.
const OLD_PARTS: &str = "SELECT created_at, run, part FROM runs FORCE INDEX (runs_by_time) \
                         WHERE created_at < ? \
                         AND COALESCE(closed_at, created_at) < ? \
                         AND COALESCE(cancelled_at, created_at) < ? \
                         AND (created_at > ? OR (created_at = ? AND (run, part) > (?, ?))) \
                         ORDER BY created_at, run, part LIMIT ?";
/// The number of parts that are read together.
const CHUNK: u32 = 500;

type OldPart = (PrimitiveDateTime, String, String);

impl Store {
    /// Forgets the parts, and their counts, that ended before a time and of which no rows are left
    /// in `fetches`. Returns their number. It runs in one short transaction per part, so workers
    /// can write at the same time.
    pub async fn forget_parts(&self, before: PrimitiveDateTime) -> Result<u64, Error> {
        let mut forgotten = 0;
        let mut position: OldPart = (datetime!(1000-01-01 00:00), String::new(), String::new());
        loop {
            let parts = self.old_parts(before, &position).await?;
            let is_last = parts.len() < CHUNK as usize;
            for (_, run, part) in &parts {
                forgotten += u64::from(self.forget_part(run, part).await?);
            }
            match parts.into_iter().last() {
                Some(last) if !is_last => position = last,
                _ => break,
            }
        }
        self.delete_void_counts().await?;
        Ok(forgotten)
    }

    /// Deletes the counts of runs of which every row without a part has been deleted.
    async fn delete_void_counts(&self) -> Result<(), Error> {
        const VOID: &str = "SELECT run FROM run_counts WHERE part = '' \
                            GROUP BY run, outcome HAVING SUM(tasks) = 0";
        let runs: Vec<String> = self
            .with_connection("listing void counts of runs", async |connection| {
                let runs = sqlx::query_scalar(VOID).fetch_all(connection).await;
                runs.map_err(Error::database("cannot list void counts of runs"))
            })
            .await?;
        for run in runs {
            let delete = || {
                self.with_connection("deleting void counts of a run", async |connection| {
                    let failed = Error::database("cannot delete void counts of a run");
                    let mut transaction = connection.begin().await.map_err(&failed)?;
                    delete_void_counts(&mut transaction, &run).await?;
                    transaction.commit().await.map_err(&failed)
                })
            };
            contention::retry(delete).await?;
        }
        Ok(())
    }

    async fn old_parts(
        &self,
        before: PrimitiveDateTime,
        (created_at, run, part): &OldPart,
    ) -> Result<Vec<OldPart>, Error> {
        self.with_connection("listing old parts of runs", async |connection| {
            let cutoff = sqlx::query_as(OLD_PARTS).bind(before).bind(before).bind(before);
            let position = cutoff.bind(created_at).bind(created_at).bind(run).bind(part);
            let parts = position.bind(CHUNK).fetch_all(connection).await;
            parts.map_err(Error::database("cannot list old parts of runs"))
        })
        .await
    }

    /// Returns `false` if the part has rows.
    async fn forget_part(&self, run: &str, part: &str) -> Result<bool, Error> {
        let forget = || {
            self.with_connection("forgetting a part of a run", async |connection| {
                forget(connection, run, part).await
            })
        };
        contention::retry(forget).await
    }
}

async fn forget(connection: &mut MySqlConnection, run: &str, part: &str) -> Result<bool, Error> {
    const HAS_ROWS: &str = "SELECT 1 FROM fetches WHERE run = ? AND part = ? LIMIT 1";
    const DELETE: &str = "DELETE FROM runs WHERE run = ? AND part = ?";
    let failed = Error::database("cannot forget a part of a run");
    let mut transaction = connection.begin().await.map_err(&failed)?;
    // A part without a name only records that the run was cancelled.
    if !part.is_empty() {
        let has_rows: Option<i64> = sqlx::query_scalar(HAS_ROWS)
            .bind(run)
            .bind(part)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        if has_rows.is_some() {
            transaction.rollback().await.map_err(&failed)?;
            return Ok(false);
        }
        move_counts(&mut transaction, run, part).await?;
    }
    let delete = sqlx::query(DELETE).bind(run).bind(part).execute(&mut *transaction);
    delete.await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    Ok(!part.is_empty())
}

/// Moves the counts of a part to the rows without a part. Deleted rows are counted there, so the
/// sums become 0 once all rows of a run are deleted.
async fn move_counts(connection: &mut MySqlConnection, run: &str, part: &str) -> Result<(), Error> {
    const ADD: &str = "INSERT INTO run_counts (run, part, outcome, product, slot, tasks) \
                       VALUES (?, '', ?, ?, ?, ?) \
                       ON DUPLICATE KEY UPDATE tasks = tasks + VALUES(tasks)";
    let failed = Error::database("cannot move the counts of a part");
    for CountRow { outcome, product, slot, tasks } in lock_counts(connection, run, part).await? {
        delete_count(connection, run, part, (&outcome, &product, slot)).await?;
        let add = sqlx::query(ADD).bind(run).bind(outcome).bind(product).bind(DELETED_SLOT);
        add.bind(tasks).execute(&mut *connection).await.map_err(&failed)?;
    }
    Ok(())
}

/// Deletes the counts of a run without a part of those outcomes whose sum is 0.
async fn delete_void_counts(connection: &mut MySqlConnection, run: &str) -> Result<(), Error> {
    let counts = lock_counts(connection, run, "").await?;
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for count in &counts {
        *sums.entry(&count.outcome).or_default() += count.tasks;
    }
    for CountRow { outcome, product, slot, .. } in &counts {
        if sums.get(&**outcome) == Some(&0) {
            delete_count(connection, run, "", (outcome, product, *slot)).await?;
        }
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct CountRow {
    outcome: String,
    product: String,
    slot: u8,
    tasks: i64,
}

async fn lock_counts(
    connection: &mut MySqlConnection,
    run: &str,
    part: &str,
) -> Result<Vec<CountRow>, Error> {
    const COUNTS: &str = "SELECT outcome, product, slot, tasks FROM run_counts \
                          WHERE run = ? AND part = ? ORDER BY outcome, product, slot FOR UPDATE";
    let counts = sqlx::query_as(COUNTS).bind(run).bind(part).fetch_all(connection).await;
    counts.map_err(Error::database("cannot read the counts of a part"))
}

/// Deletes one count: one that a worker adds meanwhile was not read, and stays.
async fn delete_count(
    connection: &mut MySqlConnection,
    run: &str,
    part: &str,
    (outcome, product, slot): (&str, &str, u8),
) -> Result<(), Error> {
    const DELETE: &str = "DELETE FROM run_counts WHERE run = ? AND part = ? AND outcome = ? \
                          AND product = ? AND slot = ?";
    let delete = sqlx::query(DELETE).bind(run).bind(part).bind(outcome).bind(product).bind(slot);
    let deleted = delete.execute(connection).await;
    deleted.map(drop).map_err(Error::database("cannot delete a count"))
}
