//! Deletion of old rows while workers write: in small chunks, by key, with a pause after each.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection};
use time::PrimitiveDateTime;

use crate::contention;
use crate::statements::counts::{CountChanges, DELETED_SLOT};
use crate::statements::placeholders::list;
use crate::{Error, Store};

/// The number of rows that are read, and deleted, together.
const CHUNK: usize = 500;
/// The longest pause after a chunk. Pauses otherwise take as long as their chunk, so that workers
/// have the database to themselves for half of the time.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The next rows of a run and an outcome; binds both, the last key, and the maximum number of rows.
/// The index is forced, as for reports: otherwise MariaDB skips every row before the page.
pub const ROWS_OF_PRUNE: &str = "SELECT id, fetched_at FROM fetches FORCE INDEX (fetches_by_run) \
                                 WHERE run = ? AND outcome = ? AND id > ? ORDER BY id LIMIT ?";

/// What pruning has deleted, or would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of rows of `fetches`.
    pub rows: u64,
    /// The number of runs of which nothing is left.
    pub runs: u64,
}

/// A position in the rows of a run with one outcome.
struct Scan<'a> {
    run: &'a str,
    outcome: &'a str,
    /// The last key that was read.
    after: Vec<u8>,
    cutoff: PrimitiveDateTime,
}

impl Store {
    /// Deletes rows that were fetched longer ago, and runs that began longer ago and have no rows
    /// left, and what is remembered of pages that were not fetched since. Items and prices stay. `on_progress` is called with the totals. A dry run deletes
    /// nothing, and counts only rows.
    pub async fn prune(
        &self,
        older_than: Duration,
        dry_run: bool,
        mut on_progress: impl FnMut(Pruned),
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let Some(cutoff) = self.time_before(older_than).await? else { return Ok(pruned) };
        for run in self.runs_before(cutoff).await? {
            for outcome in self.run(&run).await?.outcomes.into_keys() {
                let mut scan = Scan { run: &run, outcome: &outcome, after: Vec::new(), cutoff };
                loop {
                    let began = Instant::now();
                    let (old, is_last) = self.next_old_rows(&mut scan).await?;
                    if !old.is_empty() {
                        pruned.rows += match dry_run {
                            true => old.len() as u64,
                            false => self.delete_rows(&scan, &old).await?,
                        };
                        on_progress(pruned);
                    }
                    if is_last {
                        break;
                    }
                    tokio::time::sleep(began.elapsed().min(MAX_PAUSE)).await;
                }
            }
            if !dry_run && self.delete_if_empty(&run, cutoff).await? {
                pruned.runs += 1;
                on_progress(pruned);
            }
        }
        if !dry_run {
            self.prune_pages(cutoff).await?;
        }
        Ok(pruned)
    }

    /// The database's time this long ago; `None` before the year 1000. The database has no such
    /// times, and no row is as old as that.
    async fn time_before(&self, age: Duration) -> Result<Option<PrimitiveDateTime>, Error> {
        let age = time::Duration::try_from(age).unwrap_or(time::Duration::MAX);
        self.with_connection("reading the time", async |connection| {
            let now: PrimitiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
                .fetch_one(connection)
                .await
                .map_err(Error::database("cannot read the time"))?;
            Ok(now.checked_sub(age).filter(|time| time.year() >= 1000))
        })
        .await
    }

    /// The runs that may have old rows: all except those whose parts are all younger.
    async fn runs_before(&self, cutoff: PrimitiveDateTime) -> Result<Vec<String>, Error> {
        const RUNS: &str = "SELECT run FROM run_counts \
                            WHERE run NOT IN (SELECT run FROM runs WHERE part <> '') \
                            UNION SELECT run FROM runs WHERE created_at < ?";
        self.with_connection("listing old runs", async |connection| {
            let query = sqlx::query_scalar(RUNS).bind(cutoff);
            query.fetch_all(connection).await.map_err(Error::database("cannot list old runs"))
        })
        .await
    }

    /// The keys of the old rows among the next ones, and whether there are no more rows.
    async fn next_old_rows(&self, scan: &mut Scan<'_>) -> Result<(Vec<Vec<u8>>, bool), Error> {
        let rows: Vec<(Vec<u8>, PrimitiveDateTime)> = self
            .with_connection("reading old rows", async |connection| {
                let rows = sqlx::query_as(ROWS_OF_PRUNE)
                    .bind(scan.run)
                    .bind(scan.outcome)
                    .bind(&scan.after[..])
                    .bind(CHUNK as u32)
                    .fetch_all(connection)
                    .await;
                rows.map_err(Error::database("cannot read old rows"))
            })
            .await?;
        let is_last = rows.len() < CHUNK;
        if let Some((id, _)) = rows.last() {
            scan.after.clone_from(id);
        }
        let old = rows.into_iter().filter(|(_, at)| *at < scan.cutoff).map(|(id, _)| id);
        Ok((old.collect(), is_last))
    }

    /// Deletes rows, unless they have been replaced by newer ones meanwhile.
    async fn delete_rows(&self, scan: &Scan<'_>, ids: &[Vec<u8>]) -> Result<u64, Error> {
        let failed = Error::database("cannot delete old rows");
        let statement = format!(
            "DELETE FROM fetches WHERE id IN ({}) AND run = ? AND outcome = ? AND fetched_at < ?",
            list("?", ids.len())
        );
        let delete = || {
            self.with_connection("deleting old rows", async |connection| {
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let mut query = sqlx::query(AssertSqlSafe(statement.clone())).persistent(false);
                for id in ids {
                    query = query.bind(&id[..]);
                }
                let query = query.bind(scan.run).bind(scan.outcome).bind(scan.cutoff);
                let deleted = query.execute(&mut *transaction).await.map_err(&failed)?;
                let deleted = deleted.rows_affected();
                CountChanges::of_deletion(scan.run, scan.outcome, deleted)
                    .write(&mut transaction, DELETED_SLOT)
                    .await?;
                transaction.commit().await.map_err(&failed)?;
                Ok(deleted)
            })
        };
        contention::retry(delete).await
    }

    /// Deletes the parts and counts of a run without rows. Returns `false` if the run has rows or
    /// recent parts.
    async fn delete_if_empty(&self, run: &str, cutoff: PrimitiveDateTime) -> Result<bool, Error> {
        const COUNTS: &str = "SELECT part, outcome, slot, tasks FROM run_counts WHERE run = ? \
                              ORDER BY part, outcome, slot FOR UPDATE";
        // Parts that began, ended or were cancelled since are still needed: tasks of a cancelled
        // part may be waiting.
        const RECENT: &str = "SELECT COUNT(*) FROM runs WHERE run = ? AND GREATEST(created_at, \
                              COALESCE(closed_at, created_at), \
                              COALESCE(cancelled_at, created_at)) >= ?";
        const DELETE_COUNT: &str =
            "DELETE FROM run_counts WHERE run = ? AND part = ? AND outcome = ? AND slot = ?";
        const DELETE_PARTS: &str = "DELETE FROM runs WHERE run = ? AND GREATEST(created_at, \
                                    COALESCE(closed_at, created_at), \
                                    COALESCE(cancelled_at, created_at)) < ?";
        let delete = || {
            self.with_connection("deleting old runs", async |connection| {
                let failed = Error::database("cannot delete old runs");
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let counts: Vec<(String, String, u8, i64)> = sqlx::query_as(COUNTS)
                    .bind(run)
                    .fetch_all(&mut *transaction)
                    .await
                    .map_err(&failed)?;
                let recent: i64 = sqlx::query_scalar(RECENT)
                    .bind(run)
                    .bind(cutoff)
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(&failed)?;
                if recent > 0 || counts.iter().map(|(.., tasks)| tasks).sum::<i64>() != 0 {
                    return Ok(false);
                }
                // One by one: a count that a worker adds meanwhile was not read, and stays.
                for (part, outcome, slot, _) in counts {
                    let delete =
                        sqlx::query(DELETE_COUNT).bind(run).bind(part).bind(outcome).bind(slot);
                    delete.execute(&mut *transaction).await.map_err(&failed)?;
                }
                let delete = sqlx::query(DELETE_PARTS).bind(run).bind(cutoff);
                delete.execute(&mut *transaction).await.map_err(&failed)?;
                transaction.commit().await.map_err(&failed)?;
                Ok(true)
            })
        };
        contention::retry(delete).await
    }
}
