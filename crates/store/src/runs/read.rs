//! Reads of runs and their counts.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{FromRow, Row};
use time::PrimitiveDateTime;

use super::part::{Part, Selection};
use super::run::Run;
use crate::{Error, Store};

/// The newest part of a run; binds the run. The index is forced: otherwise a short table is sorted.
pub const NEWEST_PART: &str = "SELECT run, part, planned, created_at, closed_at, cancelled_at, \
                               completed_at FROM runs FORCE INDEX (runs_by_name) \
                               WHERE run = ? AND part <> '' \
                               ORDER BY created_at DESC, part DESC LIMIT 1";
/// A part of a run; binds the run and the part.
const ONE_PART: &str = "SELECT run, part, planned, created_at, closed_at, cancelled_at, \
                        completed_at FROM runs WHERE run = ? AND part = ? AND part <> ''";
/// The parts of a run, the newest first; binds the run, and the maximum number.
pub const PARTS_OF_RUN: &str = "SELECT run, part, planned, created_at, closed_at, cancelled_at, \
                                completed_at FROM runs FORCE INDEX (runs_by_name) \
                                WHERE run = ? AND part <> '' \
                                ORDER BY created_at DESC, part DESC LIMIT ?";
/// The latest parts of all runs; binds their maximum number.
pub const LATEST_PARTS: &str = "SELECT run, part, planned, created_at, closed_at, cancelled_at, \
                                completed_at FROM runs FORCE INDEX (runs_by_time) \
                                WHERE part <> '' ORDER BY created_at DESC LIMIT ?";
/// The number of a part's rows, by outcome and product; binds the run and the part. Reads at most
/// as many rows as there are slots of each.
pub const ROWS_OF_PART: &str = "SELECT part, outcome, product, \
                                CAST(SUM(tasks) AS SIGNED) AS tasks FROM run_counts \
                                WHERE run = ? AND part = ? GROUP BY part, outcome, product";
/// The number of all rows of a run, by part, outcome and product; binds the run.
pub const ROWS_OF_RUN: &str = "SELECT part, outcome, product, \
                               CAST(SUM(tasks) AS SIGNED) AS tasks FROM run_counts \
                               WHERE run = ? GROUP BY part, outcome, product";

/// The maximum number of parts that a selection of all of them has: thirty years of nights.
const MAX_PARTS: u32 = 10_000;

/// Percentiles of the fetch times of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTimes {
    /// The median.
    pub p50: Duration,
    /// The 95th percentile.
    pub p95: Duration,
}

/// The number of rows of one part with one outcome and one product.
#[derive(FromRow)]
struct RowCount {
    part: String,
    outcome: String,
    product: String,
    /// May be negative if rows were pruned, or were counted before their part was known. The sum
    /// over the parts is right.
    tasks: i64,
}

/// A part as it is stored, with the name of its run. Its rows are not counted yet.
struct StoredPart {
    run: String,
    part: Part,
}

impl Store {
    /// The state of the newest part of a run, of one part, or of all parts. For one part, the
    /// number of rows that this reads depends neither on its size nor on the other parts.
    pub async fn run(&self, run: &str, selection: &Selection) -> Result<Run, Error> {
        self.with_connection("reading a run", async |connection| {
            read(connection, run, selection.clone()).await
        })
        .await
    }

    /// The latest parts of all runs, or of one run, each with the name of its run, the newest
    /// first. Messages that belong to no part are missing.
    pub async fn latest_parts(
        &self,
        run: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Run)>, Error> {
        self.with_connection("listing runs", async |connection| {
            let query = match run {
                Some(run) => sqlx::query_as(PARTS_OF_RUN).bind(run),
                None => sqlx::query_as(LATEST_PARTS),
            };
            let parts: Vec<StoredPart> = query
                .bind(limit)
                .fetch_all(&mut *connection)
                .await
                .map_err(Error::database("cannot list runs"))?;
            let mut runs = Vec::with_capacity(parts.len());
            for StoredPart { run, part } in parts {
                let counts = counts_of_part(connection, &run, &part.part).await?;
                let asked_at = read_time(connection).await?;
                let selection = Selection::Part(part.part.clone());
                runs.push((run, Run::new(selection, vec![part], &counts, asked_at)));
            }
            Ok(runs)
        })
        .await
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

/// Reads the state of the selected parts.
async fn read(
    connection: &mut MySqlConnection,
    run: &str,
    selection: Selection,
) -> Result<Run, Error> {
    let part = match &selection {
        Selection::Part(part) => Some(part.clone()),
        Selection::Newest => {
            let newest = read_parts(connection, sqlx::query_as(NEWEST_PART).bind(run)).await?;
            newest.into_iter().next().map(|newest| newest.part)
        }
        Selection::All => None,
    };
    // The counts before the plan: it only grows, so nothing seems complete too early.
    let (parts, counts) = match (part, &selection) {
        (Some(part), _) => {
            let counts = counts_of_part(connection, run, &part).await?;
            let part = sqlx::query_as(ONE_PART).bind(run).bind(part);
            (read_parts(connection, part).await?, counts)
        }
        (None, Selection::All) => {
            let counts = counts_of_run(connection, run).await?;
            let parts = sqlx::query_as(PARTS_OF_RUN).bind(run).bind(MAX_PARTS);
            (read_parts(connection, parts).await?, counts)
        }
        // A run without parts: all its rows belong to none.
        (None, _) => (Vec::new(), counts_of_run(connection, run).await?),
    };
    let asked_at = read_time(connection).await?;
    Ok(Run::new(selection, parts, &counts, asked_at))
}

impl Run {
    fn new(
        selection: Selection,
        mut parts: Vec<Part>,
        counts: &[RowCount],
        asked_at: PrimitiveDateTime,
    ) -> Self {
        let mut of_parts: BTreeMap<&str, i64> = BTreeMap::new();
        let (mut outcomes, mut products) = (BTreeMap::new(), BTreeMap::new());
        for RowCount { part, outcome, product, tasks } in counts {
            *of_parts.entry(part).or_default() += tasks;
            *outcomes.entry(outcome.clone()).or_default() += tasks;
            if !product.is_empty() {
                *products.entry(product.clone()).or_default() += tasks;
            }
        }
        for part in &mut parts {
            let rows = of_parts.get(&*part.part).copied().unwrap_or(0);
            part.rows = rows.max(0).unsigned_abs();
        }
        let (outcomes, products) = (positive(outcomes), positive(products));
        Self { selection, parts, outcomes, products, asked_at: asked_at.assume_utc() }
    }
}

fn positive(counts: BTreeMap<String, i64>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter().filter(|(_, rows)| *rows > 0);
    counts.map(|(word, rows)| (word, rows.unsigned_abs())).collect()
}

type PartQuery<'q> = sqlx::query::QueryAs<'q, sqlx::MySql, StoredPart, sqlx::mysql::MySqlArguments>;

async fn read_parts(
    connection: &mut MySqlConnection,
    query: PartQuery<'_>,
) -> Result<Vec<Part>, Error> {
    let parts = query.fetch_all(connection).await.map_err(Error::database("cannot read a run"))?;
    Ok(parts.into_iter().map(|stored| stored.part).collect())
}

async fn counts_of_part(
    connection: &mut MySqlConnection,
    run: &str,
    part: &str,
) -> Result<Vec<RowCount>, Error> {
    let counts = sqlx::query_as(ROWS_OF_PART).bind(run).bind(part).fetch_all(connection).await;
    counts.map_err(Error::database("cannot read a run's counts"))
}

async fn counts_of_run(
    connection: &mut MySqlConnection,
    run: &str,
) -> Result<Vec<RowCount>, Error> {
    let counts = sqlx::query_as(ROWS_OF_RUN).bind(run).fetch_all(connection).await;
    counts.map_err(Error::database("cannot read a run's counts"))
}

async fn read_time(connection: &mut MySqlConnection) -> Result<PrimitiveDateTime, Error> {
    let now = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await;
    now.map_err(Error::database("cannot read the time"))
}

impl FromRow<'_, MySqlRow> for StoredPart {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let time = |column| {
            let time: sqlx::Result<Option<PrimitiveDateTime>> = row.try_get(column);
            time.map(|time| time.map(PrimitiveDateTime::assume_utc))
        };
        let part = Part {
            part: row.try_get("part")?,
            planned: row.try_get("planned")?,
            rows: 0,
            created_at: row.try_get::<PrimitiveDateTime, _>("created_at")?.assume_utc(),
            closed_at: time("closed_at")?,
            cancelled_at: time("cancelled_at")?,
            completed_at: time("completed_at")?,
        };
        Ok(Self { run: row.try_get("run")?, part })
    }
}
