//! What a run's rows tell together. Every row is read once, page by page, and what is kept of them is bounded.

mod host;
mod largest;
mod spans;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use time::{OffsetDateTime, PrimitiveDateTime};

pub use self::host::HostReport;
pub use self::spans::Span;

use self::host::{host, times, was_tried};
use self::largest::{Count, Largest};
use self::spans::Spans;
use crate::{Error, Outcome, Store};

/// Rows that are read together.
const PAGE: u32 = 5_000;
/// Hosts that are told apart, where there are as many; there may be twice as many. The smallest ones are counted as one.
const HOSTS: usize = 2_000;
/// The same for reasons, which have up to 1,000 characters.
const REASONS: usize = 1_000;
/// Failed URLs that are kept of each outcome.
const MOST_FAILED: u64 = 200;
/// The next rows of a run and an outcome; binds both, the last key, and how many. The index is forced: left to itself,
/// MariaDB looks up run and outcome alone and passes over every row before the page, or reads the rows of all runs by key.
pub const ROWS_OF_REPORT: &str = "SELECT id, url, status, elapsed_ms, fetched_at, body_bytes, attempts, error \
                                  FROM fetches FORCE INDEX (fetches_by_run) \
                                  WHERE run = ? AND outcome = ? AND id > ? ORDER BY id LIMIT ?";

/// A row, as far as it is reported.
#[derive(Clone, Debug)]
pub struct Reported<'a> {
    /// Credentials struck out.
    pub url: &'a str,
    /// The word in the database.
    pub outcome: &'a str,
    /// Of the last answer.
    pub status: Option<u16>,
    /// The last try.
    pub elapsed_ms: u32,
    /// When the last try ended.
    pub fetched_at: OffsetDateTime,
    /// After decompression.
    pub bytes: u64,
    /// Tries.
    pub attempts: u32,
    /// For people.
    pub error: Option<&'a str>,
}

/// A URL that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedUrl {
    /// Credentials struck out.
    pub url: String,
    /// What became of it.
    pub outcome: String,
    /// Of the last answer.
    pub status: Option<u16>,
    /// Tries.
    pub attempts: u32,
    /// Why.
    pub error: Option<String>,
}

/// How often a reason was given.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// Rows.
    pub rows: u64,
    /// How many more there may be; 0 unless there are thousands of reasons.
    pub lacks: u64,
}

/// What the rows of a run tell.
#[derive(Clone, Debug)]
pub struct Report {
    /// Rows.
    pub rows: u64,
    /// Those with the outcome `ok`.
    pub ok: u64,
    /// Bytes of all bodies, after decompression.
    pub bytes: u64,
    /// Tries of all tasks.
    pub tries: u64,
    /// When the first and the last try ended; `None` without a row.
    pub period: Option<(OffsetDateTime, OffsetDateTime)>,
    /// Rows by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Rows by status; those without an answer are not among them.
    pub statuses: BTreeMap<u16, u64>,
    /// What belongs to hosts that are too small to be told apart.
    pub other_hosts: HostReport,
    /// Some of the URLs that failed, of each outcome.
    pub failed_urls: Vec<FailedUrl>,
    hosts: Largest<HostReport>,
    reasons: Largest<Reason>,
    times: Histogram<u64>,
    spans: Spans,
}

impl Count for Reason {
    fn begin(lacks: u64) -> Self {
        Self { rows: 0, lacks }
    }

    fn rows(&self) -> u64 {
        self.rows
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            rows: 0,
            ok: 0,
            bytes: 0,
            tries: 0,
            period: None,
            outcomes: BTreeMap::new(),
            statuses: BTreeMap::new(),
            other_hosts: HostReport::begin(0),
            failed_urls: Vec::new(),
            hosts: Largest::new(HOSTS),
            reasons: Largest::new(REASONS),
            times: times(3),
            spans: Spans::new(),
        }
    }
}

impl Report {
    /// Adds a row.
    pub fn take(&mut self, row: &Reported<'_>) {
        self.rows += 1;
        self.bytes += row.bytes;
        self.tries += u64::from(row.attempts);
        *self.outcomes.entry(row.outcome.to_owned()).or_default() += 1;
        if let Some(status) = row.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        let (first, last) = self.period.unwrap_or((row.fetched_at, row.fetched_at));
        self.period = Some((first.min(row.fetched_at), last.max(row.fetched_at)));
        let failed = row.outcome != Outcome::Ok.as_str();
        self.spans.take(row.fetched_at, failed);
        if was_tried(row) {
            self.times.saturating_record(row.elapsed_ms.into());
        }
        self.hosts.of(host(row.url), |small| self.other_hosts.add(small)).take(row);
        if failed {
            self.take_failure(row);
        } else {
            self.ok += 1;
        }
    }

    fn take_failure(&mut self, row: &Reported<'_>) {
        let reason = row.error.map(str::to_owned).or_else(|| row.status.map(|status| format!("status {status}")));
        let reason = reason.unwrap_or_else(|| row.outcome.to_owned());
        self.reasons.of(&reason, drop).rows += 1;
        if self.outcomes.get(row.outcome).is_some_and(|rows| *rows <= MOST_FAILED) {
            self.failed_urls.push(FailedUrl {
                url: row.url.to_owned(),
                outcome: row.outcome.to_owned(),
                status: row.status,
                attempts: row.attempts,
                error: row.error.map(str::to_owned),
            });
        }
    }

    /// Rows that are not `ok`.
    pub fn failed(&self) -> u64 {
        self.rows - self.ok
    }

    /// The largest hosts by name, in no order: all of them, unless there are thousands.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostReport)> {
        self.hosts.iter()
    }

    /// The most frequent reasons of failures, in no order: all of them, unless there are thousands.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &Reason)> {
        self.reasons.iter()
    }

    /// From the end of the first try to that of the last one.
    pub fn duration(&self) -> Duration {
        self.period.and_then(|(first, last)| Duration::try_from(last - first).ok()).unwrap_or_default()
    }

    /// So much of 100 fetches took no longer, in milliseconds; `None` where nothing was fetched.
    pub fn fetch_ms(&self, percent: f64) -> Option<u64> {
        (!self.times.is_empty()).then(|| self.times.value_at_quantile(percent / 100.0))
    }

    /// How many fetches took from `from` on and less than `below` milliseconds.
    pub fn fetches_within(&self, from: u64, below: u64) -> u64 {
        self.times
            .iter_recorded()
            .filter(|step| (from..below).contains(&step.value_iterated_to()))
            .map(|step| step.count_since_last_iteration())
            .sum()
    }

    /// Rows in spans of time, from the first to the last.
    pub fn throughput(&self) -> Vec<Span> {
        self.period.map(|(begin, end)| self.spans.between(begin, end)).unwrap_or_default()
    }
}

impl Store {
    /// Reads every row of a run.
    pub async fn report(&self, run: &str) -> Result<Report, Error> {
        type Row = (Vec<u8>, String, Option<u16>, u32, PrimitiveDateTime, Option<u64>, u32, Option<String>);
        let mut report = Report::default();
        for outcome in self.run(run).await?.outcomes.into_keys() {
            let mut after = Vec::new();
            loop {
                let rows: Vec<Row> = self
                    .with_connection("reading a run's rows", async |connection| {
                        let query = sqlx::query_as(ROWS_OF_REPORT).bind(run).bind(&outcome).bind(&after[..]).bind(PAGE);
                        query.fetch_all(connection).await.map_err(Error::database("cannot read a run's rows"))
                    })
                    .await?;
                for (_, url, status, elapsed_ms, fetched_at, bytes, attempts, error) in &rows {
                    report.take(&Reported {
                        url,
                        outcome: &outcome,
                        status: *status,
                        elapsed_ms: *elapsed_ms,
                        fetched_at: fetched_at.assume_utc(),
                        bytes: bytes.unwrap_or(0),
                        attempts: *attempts,
                        error: error.as_deref(),
                    });
                }
                match rows.into_iter().last() {
                    Some((id, ..)) => after = id,
                    None => break,
                }
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(url: &str, second: i64, elapsed_ms: u32) -> Reported<'_> {
        let fetched_at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
        Reported { url, outcome: "ok", status: Some(200), elapsed_ms, fetched_at, bytes: 10, attempts: 1, error: None }
    }

    #[test]
    fn percentiles_are_those_of_the_fetches_that_were_made() {
        let mut report = Report::default();
        for ms in 1..=1_000 {
            report.take(&row("http://a.example/", 0, ms));
        }
        report.take(&Reported { outcome: "cancelled", ..row("http://a.example/", 0, 0) });
        let told = [50.0, 95.0, 100.0].map(|percent| report.fetch_ms(percent));
        assert_eq!(told, [Some(500), Some(950), Some(1_000)]);
        assert_eq!((report.fetches_within(0, 100), report.fetches_within(100, 5_000)), (99, 901));
        assert_eq!(Report::default().fetch_ms(50.0), None);
    }

    #[test]
    fn spans_of_time_add_up_to_the_rows_however_long_the_run_was() {
        for length in [1, 119, 120, 10_000, 1_000_000] {
            let mut report = Report::default();
            // From the end to the beginning: rows come in any order.
            for at in (0..500).rev() {
                let outcome = if at % 10 == 0 { "dns" } else { "ok" };
                report.take(&Reported { outcome, ..row("http://a.example/", at * length / 500, 1) });
            }
            let spans = report.throughput();
            let counted = spans.iter().map(|span| (span.rows, span.failed));
            assert_eq!(counted.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1)), (500, 50), "{length}");
            let all: u64 = spans.iter().map(|span| span.long.as_secs()).sum();
            assert_eq!(all, report.duration().as_secs() + 1, "{length}");
            assert!(spans.len() <= spans::MOST as usize, "{length} {}", spans.len());
            assert!(length < spans::MOST || spans.len() >= spans::MOST as usize / 2, "{length} {}", spans.len());
        }
    }

    #[test]
    fn a_large_host_is_told_though_many_small_ones_came_first() {
        let mut report = Report::default();
        for host in 0..20_000 {
            let url = format!("http://{host}.example/");
            report.take(&Reported { outcome: "dns", status: None, error: Some("no address"), ..row(&url, 0, 1) });
        }
        for _ in 0..10_000 {
            report.take(&row("http://large.example/", 0, 70));
        }
        let hosts: BTreeMap<_, _> = report.hosts().collect();
        let large = hosts["large.example"];
        assert_eq!((large.rows, large.failed), (10_000, 0));
        assert!(large.fetch_ms(50.0).is_some_and(|ms| ms.abs_diff(70) < 7), "{:?}", large.fetch_ms(50.0));
        assert!((HOSTS..=2 * HOSTS).contains(&hosts.len()), "{}", hosts.len());
        // Every row is counted once, and so is every fetch.
        let kept = hosts.values().fold((0, 0), |all, host| (all.0 + host.rows, all.1 + host.fetches()));
        let others = (report.other_hosts.rows, report.other_hosts.fetches());
        assert_eq!((kept.0 + others.0, kept.1 + others.1), (report.rows, report.rows));
        assert_eq!(
            report.reasons().map(|(reason, told)| (reason, told.rows)).collect::<Vec<_>>(),
            [("no address", 20_000)]
        );
    }

    #[test]
    fn what_is_kept_of_reasons_and_failures_is_bounded() {
        let mut report = Report::default();
        for number in 0..5 * REASONS {
            let error = format!("reason {number}");
            report.take(&Reported {
                outcome: "dns",
                status: None,
                error: Some(&error),
                ..row("http://a.example/", 0, 1)
            });
        }
        assert!((REASONS..=2 * REASONS).contains(&report.reasons().count()));
        assert_eq!((report.failed(), report.failed_urls.len()), (5 * REASONS as u64, MOST_FAILED as usize));
    }
}
