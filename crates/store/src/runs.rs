//! Runs: which parts they have, how many of their tasks have a row, and what is left.
//!
//! Nothing here counts rows: they are counted as they are written (`counts.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::pool::contended;
use crate::{Error, Outcome, Store};

/// The parts of a run; binds the run.
pub const PARTS_OF_RUN: &str =
    "SELECT part, planned, created_at, closed_at, cancelled_at FROM runs WHERE run = ? ORDER BY created_at";
/// How many rows a run has, by part and outcome; binds the run.
pub const ROWS_OF_RUN: &str = "SELECT part, outcome, CAST(SUM(tasks) AS SIGNED) FROM run_counts WHERE run = ? \
                               GROUP BY part, outcome";
/// The latest runs; binds how many. There are as many rows as there were parts, and they are short.
pub const LATEST_RUNS: &str = "SELECT run, MAX(created_at) FROM runs GROUP BY run ORDER BY 2 DESC, 1 LIMIT ?";

/// What was told of a part of a run. It is safe to write twice, and in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTold {
    /// The run, at most 100 characters.
    pub run: String,
    /// The part, at most 100 characters.
    pub part: String,
    /// How many tasks were published; `None` where it only began.
    pub planned: Option<u64>,
    /// When it was told.
    pub at: OffsetDateTime,
}

/// A part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name; empty for messages that belong to none.
    pub part: String,
    /// How many tasks were published; `None` while it is open.
    pub planned: Option<u64>,
    /// How many of its tasks have a row.
    pub rows: u64,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When all was published.
    pub closed_at: Option<OffsetDateTime>,
    /// Since when its tasks are not fetched any more.
    pub cancelled_at: Option<OffsetDateTime>,
}

impl Part {
    /// How many of its tasks have no row yet; `None` where that is not known.
    pub fn remaining(&self) -> Option<u64> {
        self.planned.map(|planned| planned.saturating_sub(self.rows))
    }

    /// Whether more is published: nothing has ended it, and nobody has cancelled it.
    pub fn is_open(&self) -> bool {
        !self.part.is_empty() && self.planned.is_none() && self.cancelled_at.is_none()
    }
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its parts, the oldest first. None for a run that only messages from elsewhere belong to, and for one that no worker
    /// has heard of.
    pub parts: Vec<Part>,
    /// Its rows by outcome, also those that belong to no part.
    pub outcomes: BTreeMap<String, u64>,
    /// When this was asked, by the database's clock.
    pub asked_at: OffsetDateTime,
}

impl Run {
    /// Whether anything is known of it.
    pub fn is_known(&self) -> bool {
        !self.parts.is_empty() || !self.outcomes.is_empty()
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// How many rows have this outcome.
    pub fn rows_with(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// How many tasks were published; `None` while a part is open, and where there is no part.
    pub fn planned(&self) -> Option<u64> {
        let named = || self.parts.iter().filter(|part| !part.part.is_empty());
        named().next()?;
        named().map(|part| part.planned.or(part.cancelled_at.map(|_| part.rows))).sum()
    }

    /// How many tasks have no row yet; `None` where that is not known.
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

/// How long the fetches of a run took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTimes {
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 of 100 took no longer.
    pub p95: Duration,
}

/// As the database has it.
fn utc(at: OffsetDateTime) -> PrimitiveDateTime {
    let utc = at.to_offset(UtcOffset::UTC);
    PrimitiveDateTime::new(utc.date(), utc.time())
}

/// A part that began. What is known of it stays.
const BEGAN: &str = "INSERT INTO runs (run, part, created_at) VALUES (?, ?, ?) \
                     ON DUPLICATE KEY UPDATE created_at = LEAST(created_at, VALUES(created_at))";
/// A part that ended; of several ends the latest counts. Assigned in order, so `closed_at`, which is compared, comes later.
const ENDED: &str = "INSERT INTO runs (run, part, planned, created_at, closed_at) VALUES (?, ?, ?, ?, ?) \
                     ON DUPLICATE KEY UPDATE \
                     planned = IF(closed_at > VALUES(closed_at), planned, VALUES(planned)), \
                     closed_at = GREATEST(COALESCE(closed_at, VALUES(closed_at)), VALUES(closed_at)), \
                     created_at = LEAST(created_at, VALUES(created_at))";
/// A part that began before its run was cancelled, and is heard of only now: so it is cancelled now,
/// and pollers, who ask what is new, see it.
const CANCELLED_BEFORE: &str = "UPDATE runs AS part JOIN runs AS cancelled ON cancelled.run = part.run AND cancelled.part = '' \
                                SET part.cancelled_at = UTC_TIMESTAMP(6) \
                                WHERE part.run = ? AND part.part = ? AND part.cancelled_at IS NULL \
                                AND part.created_at <= cancelled.cancelled_at";

/// Writes what was told of parts, in the transaction of `connection`. They come in key order, as
/// all locks of rows are taken.
pub(crate) async fn write_parts(connection: &mut MySqlConnection, told: &[&PartTold]) -> Result<(), Error> {
    let failed = Error::database("cannot write the parts of runs");
    for PartTold { run, part, planned, at } in told {
        let at = utc(*at);
        let told = match planned {
            None => sqlx::query(BEGAN).bind(run).bind(part).bind(at),
            Some(planned) => sqlx::query(ENDED).bind(run).bind(part).bind(*planned).bind(at).bind(at),
        };
        told.execute(&mut *connection).await.map_err(&failed)?;
        let cancelled = sqlx::query(CANCELLED_BEFORE).bind(run).bind(part);
        cancelled.execute(&mut *connection).await.map_err(&failed)?;
    }
    Ok(())
}

/// A part of a run that nobody has, to be rolled back: if this is taken, a part that is not taken is
/// itself at fault.
pub(crate) async fn write_sample_part(connection: &mut MySqlConnection) -> Result<(), Error> {
    let sample = sqlx::query("INSERT INTO runs (run, part, created_at) VALUES ('', 'sample', UTC_TIMESTAMP(6))");
    sample.execute(connection).await.map(drop).map_err(Error::database("cannot write a part of a run"))
}

impl Store {
    /// What is known of a run. Reads as many rows as the run has parts, and outcomes in them, whatever its size.
    pub async fn run(&self, run: &str) -> Result<Run, Error> {
        self.with_connection("asking about a run", async |connection| {
            let failed = Error::database("cannot read a run");
            // The counts first: what is planned only grows, so no run seems complete before it is.
            let counts = rows_of(connection, run).await?;
            type Row = (String, Option<u64>, PrimitiveDateTime, Option<PrimitiveDateTime>, Option<PrimitiveDateTime>);
            let parts: Vec<Row> =
                sqlx::query_as(PARTS_OF_RUN).bind(run).fetch_all(&mut *connection).await.map_err(&failed)?;
            let now: PrimitiveDateTime =
                sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await.map_err(&failed)?;
            let rows = |part: &str| -> u64 {
                let rows: i64 = counts.iter().filter(|(of, ..)| of == part).map(|(.., rows)| rows).sum();
                rows.max(0).unsigned_abs()
            };
            let parts = parts.into_iter().map(|(part, planned, created_at, closed_at, cancelled_at)| Part {
                rows: rows(&part),
                part,
                planned,
                created_at: created_at.assume_utc(),
                closed_at: closed_at.map(PrimitiveDateTime::assume_utc),
                cancelled_at: cancelled_at.map(PrimitiveDateTime::assume_utc),
            });
            let parts = parts.collect();
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for (_, outcome, rows) in counts {
                *sums.entry(outcome).or_default() += rows;
            }
            let there = sums.into_iter().filter(|(_, rows)| *rows > 0);
            let outcomes = there.map(|(outcome, rows)| (outcome, rows.unsigned_abs())).collect();
            Ok(Run { parts, outcomes, asked_at: now.assume_utc() })
        })
        .await
    }

    /// The latest runs by name, the newest first. One that has no part is not among them.
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

    /// Cancels the parts that a run has so far, those that are not heard of yet, and its messages that belong to no part.
    /// Returns how many parts that were.
    pub async fn cancel_run(&self, run: &str) -> Result<u64, Error> {
        const OF_NO_PART: &str = "INSERT INTO runs (run, part, created_at, cancelled_at) \
                                  VALUES (?, '', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
                                  ON DUPLICATE KEY UPDATE cancelled_at = VALUES(cancelled_at)";
        const PARTS: &str = "UPDATE runs SET cancelled_at = UTC_TIMESTAMP(6) \
                             WHERE run = ? AND part <> '' AND cancelled_at IS NULL";
        let cancel = || {
            self.with_connection("cancelling a run", async |connection| {
                let failed = Error::database("cannot cancel a run");
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let of_no_part = sqlx::query(OF_NO_PART).bind(run);
                of_no_part.execute(&mut *transaction).await.map_err(&failed)?;
                let parts = sqlx::query(PARTS).bind(run).execute(&mut *transaction).await.map_err(&failed)?;
                transaction.commit().await.map_err(&failed)?;
                Ok(parts.rows_affected())
            })
        };
        contended(cancel).await
    }

    /// Percentiles of the fetch time over all rows of a run; `None` for a run without rows. Reads every row's time.
    pub async fn fetch_times(&self, run: &str) -> Result<Option<FetchTimes>, Error> {
        self.with_connection("reading a run's fetch times", async |connection| {
            let mut times: Vec<u32> = sqlx::query_scalar("SELECT elapsed_ms FROM fetches WHERE run = ?")
                .bind(run)
                .fetch_all(connection)
                .await
                .map_err(Error::database("cannot read a run's fetch times"))?;
            times.sort_unstable();
            Ok(times.len().checked_sub(1).map(|last| {
                let at = |percent: usize| Duration::from_millis(u64::from(times[last * percent / 100]));
                FetchTimes { p50: at(50), p95: at(95) }
            }))
        })
        .await
    }
}

/// Rows by part and outcome. Those of one part may be negative, where rows were pruned, or counted before their part was
/// known; the sum over the parts is right.
async fn rows_of(connection: &mut MySqlConnection, run: &str) -> Result<Vec<(String, String, i64)>, Error> {
    let counts: Vec<(String, String, i64)> = sqlx::query_as(ROWS_OF_RUN)
        .bind(run)
        .fetch_all(connection)
        .await
        .map_err(Error::database("cannot read a run's counts"))?;
    Ok(counts.into_iter().filter(|(.., rows)| *rows != 0).collect())
}
