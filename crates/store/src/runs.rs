//! What is asked about a run.

use std::time::Duration;

use crate::{Error, Store};

/// How long the fetches of a run took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTimes {
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 of 100 took no longer.
    pub p95: Duration,
}

impl Store {
    /// Rows of a run by outcome, the most frequent first.
    pub async fn outcomes(&self, run: &str) -> Result<Vec<(String, u64)>, Error> {
        self.with_connection("counting a run's rows", async |connection| {
            let counted: Vec<(String, i64)> = sqlx::query_as(
                "SELECT outcome, COUNT(*) FROM fetches WHERE run = ? GROUP BY outcome ORDER BY COUNT(*) DESC, outcome",
            )
            .bind(run)
            .fetch_all(connection)
            .await
            .map_err(Error::database("cannot count a run's rows"))?;
            Ok(counted.into_iter().map(|(outcome, rows)| (outcome, rows.unsigned_abs())).collect())
        })
        .await
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
