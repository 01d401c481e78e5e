//! Parts of runs: which keep their rows, and which are forgotten.

use std::collections::{BTreeSet, HashSet};

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use time::{Duration, PrimitiveDateTime};

use crate::keys::keys_of_part;
use crate::{Error, Store, contention};

/// How much longer a part keeps its rows that is not complete. It may be resumed, or wait for a
/// slow or paused host.
const PATIENCE: Duration = Duration::days(30);
/// When a part was last changed.
const CHANGED_AT: &str = "GREATEST(created_at, COALESCE(closed_at, created_at), \
                          COALESCE(cancelled_at, created_at))";

impl Store {
    /// The parts that are under way: their rows are kept.
    pub(super) async fn unfinished_parts(
        &self,
        cutoff: PrimitiveDateTime,
    ) -> Result<HashSet<String>, Error> {
        const PARTS: &str = "SELECT part FROM runs WHERE part <> '' AND created_at >= ? \
                             AND cancelled_at IS NULL AND (planned IS NULL OR planned > \
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
    /// which nothing is left. Returns the number of these runs.
    pub(super) async fn forget_parts(&self, cutoff: PrimitiveDateTime) -> Result<u64, Error> {
        let old = format!("SELECT run, part FROM runs WHERE part <> '' AND {CHANGED_AT} < ?");
        let parts: Vec<(String, String)> = self
            .with_connection("listing old parts", async |connection| {
                let parts =
                    sqlx::query_as(sqlx::AssertSqlSafe(old)).bind(cutoff).fetch_all(connection);
                parts.await.map_err(Error::database("cannot list old parts"))
            })
            .await?;
        let unfinished = self.unfinished_parts(cutoff).await?;
        let mut runs = self.runs_without_part().await?;
        for (run, part) in parts.iter().filter(|(_, part)| !unfinished.contains(part)) {
            if contention::retry(|| self.forget_part(run, part, cutoff)).await? {
                runs.insert(run.clone());
            }
        }
        let mut forgotten = 0;
        for run in runs {
            let delete = || self.delete_if_empty(&run, cutoff);
            forgotten += u64::from(contention::retry(delete).await?);
        }
        Ok(forgotten)
    }

    /// Deletes a part and its counts. Returns `false` if it has rows, or was changed meanwhile.
    async fn forget_part(
        &self,
        run: &str,
        part: &str,
        cutoff: PrimitiveDateTime,
    ) -> Result<bool, Error> {
        // The rows of another program's part cannot be told from other rows. They are counted among
        // those without a part from now on.
        const KEEP_COUNTS: &str = "INSERT INTO run_counts (run, part, outcome, slot, tasks) \
                                   SELECT run, '', outcome, 255, SUM(tasks) \
                                   FROM run_counts AS known WHERE run = ? AND part = ? \
                                   GROUP BY run, outcome \
                                   ON DUPLICATE KEY UPDATE tasks = run_counts.tasks + VALUES(tasks)";
        const COUNTS: &str = "DELETE FROM run_counts WHERE run = ? AND part = ?";
        let failed = Error::database("cannot forget a part of a run");
        let forget = format!("DELETE FROM runs WHERE run = ? AND part = ? AND {CHANGED_AT} < ?");
        let keys = keys_of_part(part);
        self.with_connection("forgetting a part", async |connection| {
            let mut transaction = connection.begin().await.map_err(&failed)?;
            if let Some(keys) = keys
                && has_rows(&mut transaction, keys).await?
            {
                return transaction.rollback().await.map(|()| false).map_err(&failed);
            }
            let forget = sqlx::query(sqlx::AssertSqlSafe(forget)).bind(run).bind(part).bind(cutoff);
            let forgotten = forget.execute(&mut *transaction).await.map_err(&failed)?;
            if forgotten.rows_affected() == 0 {
                return transaction.rollback().await.map(|()| false).map_err(&failed);
            }
            for statement in keys.is_none().then_some(KEEP_COUNTS).into_iter().chain([COUNTS]) {
                let change = sqlx::query(statement).bind(run).bind(part);
                change.execute(&mut *transaction).await.map_err(&failed)?;
            }
            transaction.commit().await.map(|()| true).map_err(&failed)
        })
        .await
    }

    /// The runs that have counts, and no part that is known.
    async fn runs_without_part(&self) -> Result<BTreeSet<String>, Error> {
        const RUNS: &str = "SELECT DISTINCT run FROM run_counts \
                            WHERE run NOT IN (SELECT run FROM runs WHERE part <> '') \
                            UNION SELECT run FROM runs WHERE part = ''";
        self.with_connection("listing old runs", async |connection| {
            let runs: Vec<String> = sqlx::query_scalar(RUNS)
                .fetch_all(connection)
                .await
                .map_err(Error::database("cannot list old runs"))?;
            Ok(runs.into_iter().collect())
        })
        .await
    }

    /// Deletes what is left of a run without rows. Returns `false` if the run has rows or parts.
    async fn delete_if_empty(&self, run: &str, cutoff: PrimitiveDateTime) -> Result<bool, Error> {
        const COUNTS: &str = "SELECT part, outcome, slot, tasks FROM run_counts WHERE run = ? \
                              ORDER BY part, outcome, slot FOR UPDATE";
        const DELETE_COUNT: &str =
            "DELETE FROM run_counts WHERE run = ? AND part = ? AND outcome = ? AND slot = ?";
        let failed = Error::database("cannot delete old runs");
        // Known parts have been kept for a reason. If the tasks without a part were cancelled since,
        // some of them may be waiting.
        let needed = format!(
            "SELECT COUNT(*) FROM runs WHERE run = ? AND (part <> '' OR {CHANGED_AT} >= ?)"
        );
        let delete_parts = format!("DELETE FROM runs WHERE run = ? AND {CHANGED_AT} < ?");
        self.with_connection("deleting old runs", async |connection| {
            let mut transaction = connection.begin().await.map_err(&failed)?;
            let counts: Vec<(String, String, u8, i64)> = sqlx::query_as(COUNTS)
                .bind(run)
                .fetch_all(&mut *transaction)
                .await
                .map_err(&failed)?;
            let needed: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(needed))
                .bind(run)
                .bind(cutoff)
                .fetch_one(&mut *transaction)
                .await
                .map_err(&failed)?;
            if needed > 0 || counts.iter().map(|(.., tasks)| tasks).sum::<i64>() != 0 {
                transaction.rollback().await.map_err(&failed)?;
                return Ok(false);
            }
            // One by one: a count that a worker adds meanwhile was not read, and stays.
            for (part, outcome, slot, _) in counts {
                let delete =
                    sqlx::query(DELETE_COUNT).bind(run).bind(part).bind(outcome).bind(slot);
                delete.execute(&mut *transaction).await.map_err(&failed)?;
            }
            let delete = sqlx::query(sqlx::AssertSqlSafe(delete_parts)).bind(run).bind(cutoff);
            delete.execute(&mut *transaction).await.map_err(&failed)?;
            transaction.commit().await.map_err(&failed)?;
            Ok(true)
        })
        .await
    }
}

/// Whether any task has one of these keys.
async fn has_rows(
    connection: &mut MySqlConnection,
    (first, last): ([u8; 16], [u8; 16]),
) -> Result<bool, Error> {
    const ANY: &str = "SELECT 1 FROM fetches WHERE id >= ? AND id <= ? LIMIT 1";
    let any: Option<i64> = sqlx::query_scalar(ANY)
        .bind(first.as_slice())
        .bind(last.as_slice())
        .fetch_optional(connection)
        .await
        .map_err(Error::database("cannot look for the rows of a part"))?;
    Ok(any.is_some())
}
