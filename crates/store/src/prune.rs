//! Deleting what is old, beside workers that write: in small chunks, by key, with a pause after each.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::counts::{self, Changes};
use crate::pool::contended;
use crate::{Error, Store, upsert};

/// Rows that are looked at, and deleted, together.
const CHUNK: usize = 500;
/// The longest pause after a chunk; else as long as the chunk took, so that half of the time is the workers' alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The next rows of a run and an outcome; binds both, the last key, and how many. The index is forced, as for reports: left
/// to itself, MariaDB passes over every row before the page.
pub const ROWS_OF_PRUNE: &str = "SELECT id, fetched_at FROM fetches FORCE INDEX (fetches_by_run) \
                                 WHERE run = ? AND outcome = ? AND id > ? ORDER BY id LIMIT ?";

/// What pruning has done, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows of `fetches`.
    pub rows: u64,
    /// Runs of which nothing is left.
    pub runs: u64,
}

/// Where a walk through the rows of a run and an outcome has come to.
struct Walk<'a> {
    run: &'a str,
    outcome: &'a str,
    /// The last key that was looked at.
    after: Vec<u8>,
    cutoff: PrimitiveDateTime,
}

impl Store {
    /// Deletes rows that were fetched longer ago, and the runs that began longer ago and have no rows left. Items and
    /// prices stay. `tell` is told how far it has come; in a dry run nothing is deleted, and only rows are counted.
    pub async fn prune(
        &self,
        older_than: Duration,
        dry_run: bool,
        mut tell: impl FnMut(Pruned),
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let older_than = time::Duration::try_from(older_than).unwrap_or(time::Duration::MAX);
        // The database has no times before the year 1000, and no row is as old as that.
        let cutoff = self.ask_for_the_time().await?.checked_sub(older_than).filter(|cutoff| cutoff.year() >= 1000);
        let Some(cutoff) = cutoff else { return Ok(pruned) };
        let cutoff = PrimitiveDateTime::new(cutoff.date(), cutoff.time());
        for run in self.runs_with_rows_or_parts_before(cutoff).await? {
            for outcome in self.run(&run).await?.outcomes.into_keys() {
                let mut walk = Walk { run: &run, outcome: &outcome, after: Vec::new(), cutoff };
                loop {
                    let began = Instant::now();
                    let (old, is_last) = self.next_old(&mut walk).await?;
                    if !old.is_empty() {
                        pruned.rows += if dry_run { old.len() as u64 } else { self.delete(&walk, &old).await? };
                        tell(pruned);
                    }
                    if is_last {
                        break;
                    }
                    tokio::time::sleep(began.elapsed().min(LONGEST_PAUSE)).await;
                }
            }
            if !dry_run && self.forget_if_empty(&run, cutoff).await? {
                pruned.runs += 1;
                tell(pruned);
            }
        }
        Ok(pruned)
    }

    async fn ask_for_the_time(&self) -> Result<OffsetDateTime, Error> {
        self.with_connection("asking for the time", async |connection| {
            let now: PrimitiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
                .fetch_one(connection)
                .await
                .map_err(Error::database("cannot ask for the time"))?;
            Ok(now.assume_utc())
        })
        .await
    }

    /// Runs that may have old rows: not those of which every part is young.
    async fn runs_with_rows_or_parts_before(&self, cutoff: PrimitiveDateTime) -> Result<Vec<String>, Error> {
        const RUNS: &str = "SELECT run FROM run_counts WHERE run NOT IN (SELECT run FROM runs WHERE part <> '') \
                            UNION SELECT run FROM runs WHERE created_at < ?";
        self.with_connection("listing old runs", async |connection| {
            let query = sqlx::query_scalar(RUNS).bind(cutoff);
            query.fetch_all(connection).await.map_err(Error::database("cannot list old runs"))
        })
        .await
    }

    /// The old ones of the next rows, and whether there are no more.
    async fn next_old(&self, walk: &mut Walk<'_>) -> Result<(Vec<Vec<u8>>, bool), Error> {
        let rows: Vec<(Vec<u8>, PrimitiveDateTime)> = self
            .with_connection("looking for old rows", async |connection| {
                let query = sqlx::query_as(ROWS_OF_PRUNE).bind(walk.run).bind(walk.outcome).bind(&walk.after[..]);
                let query = query.bind(CHUNK as u32);
                query.fetch_all(connection).await.map_err(Error::database("cannot look for old rows"))
            })
            .await?;
        let is_last = rows.len() < CHUNK;
        if let Some((id, _)) = rows.last() {
            walk.after.clone_from(id);
        }
        Ok((rows.into_iter().filter(|(_, at)| *at < walk.cutoff).map(|(id, _)| id).collect(), is_last))
    }

    /// Deletes rows, unless they have become others meanwhile.
    async fn delete(&self, walk: &Walk<'_>, ids: &[Vec<u8>]) -> Result<u64, Error> {
        let failed = Error::database("cannot delete old rows");
        let statement = format!(
            "DELETE FROM fetches WHERE id IN ({}) AND run = ? AND outcome = ? AND fetched_at < ?",
            upsert::list("?", ids.len())
        );
        let delete = || {
            self.with_connection("deleting old rows", async |connection| {
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
                for id in ids {
                    query = query.bind(&id[..]);
                }
                let query = query.bind(walk.run).bind(walk.outcome).bind(walk.cutoff).persistent(false);
                let deleted = query.execute(&mut *transaction).await.map_err(&failed)?.rows_affected();
                Changes::deleted(walk.run, walk.outcome, deleted).write(&mut transaction, counts::DELETED).await?;
                transaction.commit().await.map_err(&failed)?;
                Ok(deleted)
            })
        };
        contended(delete).await
    }

    /// Deletes what is known of a run that has no rows. `false` where it has some.
    async fn forget_if_empty(&self, run: &str, cutoff: PrimitiveDateTime) -> Result<bool, Error> {
        const COUNTS: &str = "SELECT part, outcome, slot, tasks FROM run_counts WHERE run = ? \
                              ORDER BY part, outcome, slot FOR UPDATE";
        // What was begun, ended or cancelled since is still needed: of a cancelled part tasks may be waiting.
        const PARTS: &str = "DELETE FROM runs WHERE run = ? AND GREATEST(created_at, COALESCE(closed_at, created_at), \
                             COALESCE(cancelled_at, created_at)) < ?";
        const YOUNG: &str = "SELECT COUNT(*) FROM runs WHERE run = ? AND GREATEST(created_at, \
                             COALESCE(closed_at, created_at), COALESCE(cancelled_at, created_at)) >= ?";
        const COUNT: &str = "DELETE FROM run_counts WHERE run = ? AND part = ? AND outcome = ? AND slot = ?";
        let forget = || {
            self.with_connection("deleting old runs", async |connection| {
                let failed = Error::database("cannot delete old runs");
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let counts: Vec<(String, String, u8, i64)> =
                    sqlx::query_as(COUNTS).bind(run).fetch_all(&mut *transaction).await.map_err(&failed)?;
                let young: i64 = sqlx::query_scalar(YOUNG)
                    .bind(run)
                    .bind(cutoff)
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(&failed)?;
                if young > 0 || counts.iter().map(|(.., tasks)| tasks).sum::<i64>() != 0 {
                    return Ok(false);
                }
                // One by one: what a worker adds in the meantime is no row that was read.
                for (part, outcome, slot, _) in counts {
                    let count = sqlx::query(COUNT).bind(run).bind(part).bind(outcome).bind(slot);
                    count.execute(&mut *transaction).await.map_err(&failed)?;
                }
                let parts = sqlx::query(PARTS).bind(run).bind(cutoff);
                parts.execute(&mut *transaction).await.map_err(&failed)?;
                transaction.commit().await.map_err(&failed)?;
                Ok(true)
            })
        };
        contended(forget).await
    }
}
