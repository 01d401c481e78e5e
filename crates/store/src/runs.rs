//! Runs: their parts, their rows, and how many tasks remain.
//!
//! Nothing here counts rows of `fetches`: writes keep the counts in `run_counts` up to date.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::contention;
use crate::{Error, Outcome, Store};

/// The parts of a run; binds the run.
pub const PARTS_OF_RUN: &str = "SELECT part, planned, created_at, closed_at, cancelled_at \
                                FROM runs WHERE run = ? ORDER BY created_at";
/// The number of a run's rows, by part and outcome; binds the run.
pub const ROWS_OF_RUN: &str = "SELECT part, outcome, CAST(SUM(tasks) AS SIGNED) FROM run_counts \
                               WHERE run = ? GROUP BY part, outcome";
/// The latest runs; binds their maximum number. Reads one short row per part.
pub const LATEST_RUNS: &str =
    "SELECT run, MAX(created_at) FROM runs GROUP BY run ORDER BY 2 DESC, 1 LIMIT ?";

/// A part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name; empty for messages that belong to no part.
    pub part: String,
    /// The number of published tasks; `None` while the part is open.
    pub planned: Option<u64>,
    /// The number of its tasks that have a row.
    pub rows: u64,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When all tasks had been published.
    pub closed_at: Option<OffsetDateTime>,
    /// When it was cancelled; its tasks have not been fetched since.
    pub cancelled_at: Option<OffsetDateTime>,
}

impl Part {
    /// The number of its tasks that have no row yet; `None` if that is unknown.
    pub fn remaining(&self) -> Option<u64> {
        self.planned.map(|planned| planned.saturating_sub(self.rows))
    }

    /// Whether more tasks may be published: the part is neither closed nor cancelled.
    pub fn is_open(&self) -> bool {
        !self.part.is_empty() && self.planned.is_none() && self.cancelled_at.is_none()
    }
}

/// The state of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its parts, the oldest first. Empty for a run of other programs' messages without a part, and
    /// for a run that no worker knows.
    pub parts: Vec<Part>,
    /// Its rows by outcome, including those that belong to no part.
    pub outcomes: BTreeMap<String, u64>,
    /// When this was read, by the database's clock.
    pub asked_at: OffsetDateTime,
}

impl Run {
    /// Whether the database knows the run.
    pub fn is_known(&self) -> bool {
        !self.parts.is_empty() || !self.outcomes.is_empty()
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// The number of rows with this outcome.
    pub fn rows_with(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// The number of rows whose task has what it asked for.
    pub fn succeeded(&self) -> u64 {
        let succeeded = self.outcomes.iter().filter(|(word, _)| Outcome::is_success_word(word));
        succeeded.map(|(_, rows)| rows).sum()
    }

    /// The number of published tasks; `None` while a part is open, and without a part.
    pub fn planned(&self) -> Option<u64> {
        let named = || self.parts.iter().filter(|part| !part.part.is_empty());
        named().next()?;
        named().map(|part| part.planned.or(part.cancelled_at.map(|_| part.rows))).sum()
    }

    /// The number of tasks that have no row yet; `None` if that is unknown.
    pub fn remaining(&self) -> Option<u64> {
        self.planned()?;
        Some(self.parts.iter().filter_map(Part::remaining).sum())
    }

    /// Whether every part is closed, and every planned task has its row.
    pub fn is_complete(&self) -> bool {
        self.remaining() == Some(0)
    }

    /// Whether any part was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.parts.iter().any(|part| part.cancelled_at.is_some())
    }
}

/// Percentiles of the fetch times of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTimes {
    /// The median.
    pub p50: Duration,
    /// The 95th percentile.
    pub p95: Duration,
}

/// The number of rows of one part with one outcome.
struct RowCount {
    part: String,
    outcome: String,
    /// May be negative if rows were pruned, or were counted before their part was known. The sum
    /// over the parts is right.
    rows: i64,
}

impl Store {
    /// The state of a run. The number of rows that this reads depends on the run's parts and their
    /// outcomes, not on its size.
    pub async fn run(&self, run: &str) -> Result<Run, Error> {
        self.with_connection("reading a run", async |connection| {
            // The counts first: planned tasks only increase, so no run seems complete too early.
            let counts = read_counts(connection, run).await?;
            let parts = read_parts(connection, run, &counts).await?;
            let now: PrimitiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
                .fetch_one(connection)
                .await
                .map_err(Error::database("cannot read a run"))?;
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for RowCount { outcome, rows, .. } in counts {
                *sums.entry(outcome).or_default() += rows;
            }
            let outcomes = sums.into_iter().filter(|(_, rows)| *rows > 0);
            let outcomes = outcomes.map(|(outcome, rows)| (outcome, rows.unsigned_abs())).collect();
            Ok(Run { parts, outcomes, asked_at: now.assume_utc() })
        })
        .await
    }

    /// The names of the latest runs, the newest first. Runs without a part are missing.
    pub async fn latest_runs(&self, limit: u32) -> Result<Vec<String>, Error> {
        self.with_connection("listing runs", async |connection| {
            let runs: Vec<(String, PrimitiveDateTime)> = sqlx::query_as(LATEST_RUNS)
                .bind(limit)
                .fetch_all(connection)
                .await
                .map_err(Error::database("cannot list runs"))?;
            Ok(runs.into_iter().map(|(run, _)| run).collect())
        })
        .await
    }

    /// Cancels the known parts of a run, its parts whose reports arrive later, and its messages
    /// that belong to no part. Returns the number of known parts that were cancelled.
    pub async fn cancel_run(&self, run: &str) -> Result<u64, Error> {
        const WITHOUT_PART: &str = "INSERT INTO runs (run, part, created_at, cancelled_at) \
                                    VALUES (?, '', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
                                    ON DUPLICATE KEY UPDATE cancelled_at = VALUES(cancelled_at)";
        const PARTS: &str = "UPDATE runs SET cancelled_at = UTC_TIMESTAMP(6) \
                             WHERE run = ? AND part <> '' AND cancelled_at IS NULL";
        let cancel = || {
            self.with_connection("cancelling a run", async |connection| {
                let failed = Error::database("cannot cancel a run");
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let without_part = sqlx::query(WITHOUT_PART).bind(run);
                without_part.execute(&mut *transaction).await.map_err(&failed)?;
                let parts = sqlx::query(PARTS).bind(run).execute(&mut *transaction).await;
                let cancelled = parts.map_err(&failed)?.rows_affected();
                transaction.commit().await.map_err(&failed)?;
                Ok(cancelled)
            })
        };
        contention::retry(cancel).await
    }

    /// Percentiles of the fetch times of a run; `None` for a run without rows. Reads the time of
    /// every row.
    pub async fn fetch_times(&self, run: &str) -> Result<Option<FetchTimes>, Error> {
        self.with_connection("reading a run's fetch times", async |connection| {
            let mut times: Vec<u32> =
                sqlx::query_scalar("SELECT elapsed_ms FROM fetches WHERE run = ?")
                    .bind(run)
                    .fetch_all(connection)
                    .await
                    .map_err(Error::database("cannot read a run's fetch times"))?;
            times.sort_unstable();
            Ok(times.len().checked_sub(1).map(|last| {
                let percentile =
                    |percent: usize| Duration::from_millis(times[last * percent / 100].into());
                FetchTimes { p50: percentile(50), p95: percentile(95) }
            }))
        })
        .await
    }
}

async fn read_counts(connection: &mut MySqlConnection, run: &str) -> Result<Vec<RowCount>, Error> {
    let counts: Vec<(String, String, i64)> = sqlx::query_as(ROWS_OF_RUN)
        .bind(run)
        .fetch_all(connection)
        .await
        .map_err(Error::database("cannot read a run's counts"))?;
    let counts = counts.into_iter().filter(|(.., rows)| *rows != 0);
    Ok(counts.map(|(part, outcome, rows)| RowCount { part, outcome, rows }).collect())
}

async fn read_parts(
    connection: &mut MySqlConnection,
    run: &str,
    counts: &[RowCount],
) -> Result<Vec<Part>, Error> {
    type Row = (
        String,
        Option<u64>,
        PrimitiveDateTime,
        Option<PrimitiveDateTime>,
        Option<PrimitiveDateTime>,
    );
    let parts: Vec<Row> = sqlx::query_as(PARTS_OF_RUN)
        .bind(run)
        .fetch_all(connection)
        .await
        .map_err(Error::database("cannot read a run"))?;
    let parts = parts.into_iter().map(|(part, planned, created_at, closed_at, cancelled_at)| {
        let rows: i64 = counts.iter().filter(|count| count.part == part).map(|c| c.rows).sum();
        Part {
            part,
            planned,
            rows: rows.max(0).unsigned_abs(),
            created_at: created_at.assume_utc(),
            closed_at: closed_at.map(PrimitiveDateTime::assume_utc),
            cancelled_at: cancelled_at.map(PrimitiveDateTime::assume_utc),
        }
    });
    Ok(parts.collect())
}
