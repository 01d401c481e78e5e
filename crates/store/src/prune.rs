//! Deletion of old rows while workers write: in small chunks, by key, with a pause after each.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection};
use time::PrimitiveDateTime;

use crate::contention;
use crate::row_groups::{self, RowGroup};
use crate::statements::counts::{CountChanges, DELETED_SLOT};
use crate::statements::placeholders::list;
use crate::{Error, Store};

/// The number of rows that are read, and deleted, together.
const CHUNK: usize = 500;
/// The longest pause after a chunk. Pauses otherwise take as long as their chunk, so that workers
/// have the database to themselves for half of the time.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The next rows of a group; binds the run, the part, the outcome, the status, the last key, and
/// the maximum number of rows. The index is forced, as for reports: otherwise MariaDB skips every
/// row before the page.
pub const ROWS_OF_PRUNE: &str = "SELECT id, fetched_at FROM fetches FORCE INDEX (fetches_by_run) \
                                 WHERE run = ? AND part = ? AND outcome = ? AND status <=> ? \
                                 AND id > ? ORDER BY id LIMIT ?";

/// What pruning has deleted, or would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of rows of `fetches`.
    pub rows: u64,
    /// The number of parts of runs of which nothing is left.
    pub parts: u64,
}

/// A position in a group of rows of a run.
struct Scan<'a> {
    run: &'a str,
    group: RowGroup,
    /// The last key that was read.
    after: Vec<u8>,
    cutoff: PrimitiveDateTime,
}

impl Store {
    /// Deletes rows that were fetched longer ago, and parts of runs that ended longer ago and have
    /// no rows left. Items and prices stay. `on_progress` is called with the totals. A dry run
    /// deletes nothing, and counts only rows.
    pub async fn prune(
        &self,
        older_than: Duration,
        dry_run: bool,
        mut on_progress: impl FnMut(Pruned),
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let Some(cutoff) = self.time_before(older_than).await? else { return Ok(pruned) };
        for run in self.runs_before(cutoff).await? {
            let groups = self
                .with_connection("listing the rows of a run", async |connection| {
                    row_groups::read(connection, &run, None).await
                })
                .await?;
            for group in groups {
                let mut scan = Scan { run: &run, group, after: Vec::new(), cutoff };
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
        }
        if !dry_run {
            pruned.parts = self.forget_parts(cutoff).await?;
            on_progress(pruned);
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
                    .bind(&scan.group.part)
                    .bind(&scan.group.outcome)
                    .bind(scan.group.status)
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
                let query = query.bind(scan.run).bind(&scan.group.outcome).bind(scan.cutoff);
                let deleted = query.execute(&mut *transaction).await.map_err(&failed)?;
                let deleted = deleted.rows_affected();
                CountChanges::of_deletion(scan.run, &scan.group.outcome, deleted)
                    .write(&mut transaction, DELETED_SLOT)
                    .await?;
                transaction.commit().await.map_err(&failed)?;
                Ok(deleted)
            })
        };
        contention::retry(delete).await
    }
}
