//! Parts of runs: which keep their rows, and which are forgotten.
//!
//! A part is forgotten, and its counts with it, once no rows of it are left and it did not begin,
//! end, or get cancelled since. This is the only place that forgets parts and counts.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, FromRow};
use time::macros::datetime;
use time::{Duration, PrimitiveDateTime};

use super::Pruned;
use crate::keys::keys_of_part;
use crate::statements::counts::DELETED_SLOT;
use crate::{Error, Store, contention};

/// How much longer a part that is not complete keeps its rows. It may be resumed, or wait for a
/// slow or paused host.
const PATIENCE: Duration = Duration::days(30);
/// When a part was last changed. Tasks of a part that was cancelled may still be waiting.
const CHANGED_AT: &str = "GREATEST(created_at, COALESCE(closed_at, created_at), \
                          COALESCE(cancelled_at, created_at))";
/// The number of parts that are read together.
const CHUNK: u32 = 500;

/// When a part began, its run, and its name.
type OldPart = (PrimitiveDateTime, String, String);

impl Store {
    /// The parts that are under way: their rows are kept.
    pub(super) async fn unfinished_parts(
        &self,
        cutoff: PrimitiveDateTime,
    ) -> Result<HashSet<String>, Error> {
        const PARTS: &str = "SELECT part FROM runs WHERE part <> '' AND created_at >= ? \
                             AND completed_at IS NULL AND cancelled_at IS NULL \
                             AND (planned IS NULL OR planned > \
                             (SELECT COALESCE(SUM(tasks), 0) FROM run_counts \
                              WHERE run_counts.run = runs.run AND run_counts.part = runs.part))";
        let since = cutoff.checked_sub(PATIENCE).unwrap_or(cutoff);
        self.with_connection("reading open parts", async |connection| {
            let parts = sqlx::query_scalar(PARTS).bind(since).fetch_all(connection).await;
            let parts: Vec<String> = parts.map_err(Error::database("cannot read open parts"))?;
            Ok(parts.into_iter().collect())
        })
        .await
    }

    /// Forgets the parts without rows that were last changed before this time, and the runs of
    /// which nothing is left. Each takes one short transaction, so workers can write meanwhile.
    pub(super) async fn forget_parts(
        &self,
        cutoff: PrimitiveDateTime,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let unfinished = self.unfinished_parts(cutoff).await?;
        let mut runs = self.runs_without_part().await?;
        let mut position: OldPart = (datetime!(1000-01-01 00:00), String::new(), String::new());
        loop {
            let parts = self.old_parts(cutoff, &position).await?;
            let is_last = parts.len() < CHUNK as usize;
            for (_, run, part) in parts.iter().filter(|(.., part)| !unfinished.contains(part)) {
                if contention::retry(|| self.forget_part(run, part, cutoff)).await? {
                    pruned.parts += u64::from(!part.is_empty());
                    runs.insert(run.clone());
                }
            }
            match parts.into_iter().last() {
                Some(last) if !is_last => position = last,
                _ => break,
            }
        }
        for run in runs {
            let delete = || self.delete_if_empty(&run, cutoff);
            pruned.runs += u64::from(contention::retry(delete).await?);
        }
        self.delete_void_counts().await
    }

    /// The old parts after a position, in the order of their beginnings.
    async fn old_parts(
        &self,
        cutoff: PrimitiveDateTime,
        (created_at, run, part): &OldPart,
    ) -> Result<Vec<OldPart>, Error> {
        let statement = format!(
            "SELECT created_at, run, part FROM runs FORCE INDEX (runs_by_time) \
             WHERE created_at < ? AND {CHANGED_AT} < ? \
             AND (created_at > ? OR (created_at = ? AND (run, part) > (?, ?))) \
             ORDER BY created_at, run, part LIMIT ?"
        );
        self.with_connection("listing old parts", async |connection| {
            let parts = sqlx::query_as(AssertSqlSafe(statement)).bind(cutoff).bind(cutoff);
            let parts = parts.bind(created_at).bind(created_at).bind(run).bind(part).bind(CHUNK);
            let parts = parts.fetch_all(connection).await;
            parts.map_err(Error::database("cannot list old parts"))
        })
        .await
    }

    /// Deletes a part and its counts. Returns `false` if it has rows, or was changed meanwhile.
    async fn forget_part(
        &self,
        run: &str,
        part: &str,
        cutoff: PrimitiveDateTime,
    ) -> Result<bool, Error> {
        let failed = Error::database("cannot forget a part of a run");
        let forget = format!("DELETE FROM runs WHERE run = ? AND part = ? AND {CHANGED_AT} < ?");
        self.with_connection("forgetting a part", async |connection| {
            let mut transaction = connection.begin().await.map_err(&failed)?;
            if has_rows(&mut transaction, run, part).await? {
                return transaction.rollback().await.map(|()| false).map_err(&failed);
            }
            let forget = sqlx::query(AssertSqlSafe(forget)).bind(run).bind(part).bind(cutoff);
            let forgotten = forget.execute(&mut *transaction).await.map_err(&failed)?;
            if forgotten.rows_affected() == 0 {
                return transaction.rollback().await.map(|()| false).map_err(&failed);
            }
            // The record without a part only says that the tasks without one were cancelled.
            if !part.is_empty() {
                forget_counts(&mut transaction, run, part).await?;
            }
            transaction.commit().await.map(|()| true).map_err(&failed)
        })
        .await
    }

    /// The runs that have counts, and no part that is known.
    async fn runs_without_part(&self) -> Result<BTreeSet<String>, Error> {
        const RUNS: &str = "SELECT DISTINCT run FROM run_counts \
                            WHERE run NOT IN (SELECT run FROM runs WHERE part <> '')";
        self.with_connection("listing old runs", async |connection| {
            let runs: Vec<String> = sqlx::query_scalar(RUNS)
                .fetch_all(connection)
                .await
                .map_err(Error::database("cannot list old runs"))?;
            Ok(runs.into_iter().collect())
        })
        .await
    }

    /// Deletes what is left of a run without rows. Returns `false` if the run has rows or parts, or
    /// if its tasks without a part were cancelled since.
    async fn delete_if_empty(&self, run: &str, cutoff: PrimitiveDateTime) -> Result<bool, Error> {
        let failed = Error::database("cannot delete old runs");
        let needed = format!(
            "SELECT COUNT(*) FROM runs WHERE run = ? AND (part <> '' OR {CHANGED_AT} >= ?)"
        );
        self.with_connection("deleting old runs", async |connection| {
            let mut transaction = connection.begin().await.map_err(&failed)?;
            let counts = lock_counts(&mut transaction, run, None).await?;
            let needed: i64 = sqlx::query_scalar(AssertSqlSafe(needed))
                .bind(run)
                .bind(cutoff)
                .fetch_one(&mut *transaction)
                .await
                .map_err(&failed)?;
            if needed > 0 || counts.iter().map(|count| count.tasks).sum::<i64>() != 0 {
                transaction.rollback().await.map_err(&failed)?;
                return Ok(false);
            }
            for count in &counts {
                count.delete(&mut transaction, run).await?;
            }
            transaction.commit().await.map_err(&failed)?;
            Ok(true)
        })
        .await
    }

    /// Deletes the counts whose rows have all been deleted, or have other outcomes by now.
    async fn delete_void_counts(&self) -> Result<(), Error> {
        const VOID: &str = "SELECT DISTINCT run, part FROM (SELECT run, part FROM run_counts \
                            GROUP BY run, part, outcome HAVING SUM(tasks) = 0) AS void_counts";
        let parts: Vec<(String, String)> = self
            .with_connection("listing void counts", async |connection| {
                let parts = sqlx::query_as(VOID).fetch_all(connection).await;
                parts.map_err(Error::database("cannot list void counts"))
            })
            .await?;
        let failed = Error::database("cannot delete void counts");
        for (run, part) in parts {
            let delete = || {
                self.with_connection("deleting void counts", async |connection| {
                    let mut transaction = connection.begin().await.map_err(&failed)?;
                    let counts = lock_counts(&mut transaction, &run, Some(&part)).await?;
                    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
                    for count in &counts {
                        *sums.entry(&count.outcome).or_default() += count.tasks;
                    }
                    for count in counts.iter().filter(|count| sums[&*count.outcome] == 0) {
                        count.delete(&mut transaction, &run).await?;
                    }
                    transaction.commit().await.map_err(&failed)
                })
            };
            contention::retry(delete).await?;
        }
        Ok(())
    }
}

/// Whether the part has rows. Reads at most one entry of the index in each partition.
async fn has_rows(connection: &mut MySqlConnection, run: &str, part: &str) -> Result<bool, Error> {
    const ANY: &str = "SELECT 1 FROM fetches WHERE run = ? AND part = ? LIMIT 1";
    if part.is_empty() {
        return Ok(false);
    }
    let any: Option<i64> = sqlx::query_scalar(ANY)
        .bind(run)
        .bind(part)
        .fetch_optional(connection)
        .await
        .map_err(Error::database("cannot look for the rows of a part"))?;
    Ok(any.is_some())
}

/// Deletes the counts of a part without rows. The rows of one of fetchline's own parts may have
/// been dropped with their week, which changes no counts. The rows of any other part are counted
/// when they are deleted, but those that an earlier release wrote do not know their part. So what
/// is left of its counts is kept among those without a part, where such rows are subtracted.
async fn forget_counts(
    connection: &mut MySqlConnection,
    run: &str,
    part: &str,
) -> Result<(), Error> {
    const KEEP: &str = "INSERT INTO run_counts (run, part, outcome, product, slot, tasks) \
                        VALUES (?, '', ?, ?, ?, ?) \
                        ON DUPLICATE KEY UPDATE tasks = tasks + VALUES(tasks)";
    let mut kept: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let counts = lock_counts(connection, run, Some(part)).await?;
    for count in &counts {
        count.delete(connection, run).await?;
        *kept.entry((&count.outcome, &count.product)).or_default() += count.tasks;
    }
    if keys_of_part(part).is_some() {
        return Ok(());
    }
    for ((outcome, product), tasks) in kept.into_iter().filter(|(_, tasks)| *tasks != 0) {
        let keep = sqlx::query(KEEP).bind(run).bind(outcome).bind(product).bind(DELETED_SLOT);
        let kept = keep.bind(tasks).execute(&mut *connection).await;
        kept.map_err(Error::database("cannot keep the counts of a part"))?;
    }
    Ok(())
}

/// A row of `run_counts`.
#[derive(FromRow)]
struct StoredCount {
    part: String,
    outcome: String,
    product: String,
    slot: u8,
    tasks: i64,
}

impl StoredCount {
    /// Counts are deleted one by one: one that a worker adds meanwhile was not read, and stays.
    async fn delete(&self, connection: &mut MySqlConnection, run: &str) -> Result<(), Error> {
        const DELETE: &str = "DELETE FROM run_counts WHERE run = ? AND part = ? AND outcome = ? \
                              AND product = ? AND slot = ?";
        let Self { part, outcome, product, slot, .. } = self;
        let delete = sqlx::query(DELETE).bind(run).bind(part).bind(outcome).bind(product);
        let deleted = delete.bind(slot).execute(connection).await;
        deleted.map(drop).map_err(Error::database("cannot delete a count"))
    }
}

/// Locks the counts of a run, or of one of its parts.
async fn lock_counts(
    connection: &mut MySqlConnection,
    run: &str,
    part: Option<&str>,
) -> Result<Vec<StoredCount>, Error> {
    const OF_RUN: &str = "SELECT part, outcome, product, slot, tasks FROM run_counts \
                          WHERE run = ? ORDER BY part, outcome, product, slot FOR UPDATE";
    const OF_PART: &str = "SELECT part, outcome, product, slot, tasks FROM run_counts \
                           WHERE run = ? AND part = ? ORDER BY outcome, product, slot FOR UPDATE";
    let counts = match part {
        Some(part) => sqlx::query_as(OF_PART).bind(run).bind(part),
        None => sqlx::query_as(OF_RUN).bind(run),
    };
    counts.fetch_all(connection).await.map_err(Error::database("cannot read counts"))
}
