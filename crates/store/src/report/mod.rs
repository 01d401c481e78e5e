//! The report of a run. It reads every row once, page by page, and keeps a bounded amount of data.

mod durations;
mod products;
mod host;
mod row;
mod spans;
mod top;

use std::collections::BTreeMap;
use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime};

pub use self::host::HostReport;
pub use self::products::ProductCounts;
pub use self::row::ReportRow;
pub use self::spans::Span;

use self::durations::Durations;
use self::spans::Spans;
use self::top::{Count, TopCounts};
use crate::row_groups::{self, RowGroup};
use crate::{Error, Store};

/// The number of rows that are read together.
const PAGE: u32 = 5_000;
/// The number of hosts that are counted separately in any case; there may be twice as many. The
/// smallest ones are merged.
const MAX_HOSTS: usize = 2_000;
/// The same for reasons, which have up to 1,000 characters each.
const MAX_REASONS: usize = 1_000;
/// The maximum number of failed URLs of each outcome.
const MAX_FAILED_URLS: u64 = 200;
/// The next rows of a group; binds the run, the part, the outcome, the last key, and the maximum
/// number of rows. The index is forced: otherwise MariaDB looks up the group only and skips
/// every row before the page, or reads the rows of all runs by key.
pub const ROWS_OF_REPORT: &str = "SELECT id, status, url, elapsed_ms, fetched_at, body_bytes, \
                                  attempts, error, product \
                                  FROM fetches FORCE INDEX (fetches_by_run) \
                                  WHERE run = ? AND part = ? AND outcome = ? AND id > ? \
                                  ORDER BY id LIMIT ?";

/// A URL that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedUrl {
    /// The URL, without credentials.
    pub url: String,
    /// The word in the database.
    pub outcome: String,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// The number of attempts.
    pub attempts: u32,
    /// The error, for people.
    pub error: Option<String>,
}

/// How often tasks failed for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// The number of rows.
    pub rows: u64,
    /// The maximum number of further rows; 0 unless there are thousands of reasons.
    pub max_missing: u64,
}

impl Count for Reason {
    fn new(max_missing: u64) -> Self {
        Self { rows: 0, max_missing }
    }

    fn rows(&self) -> u64 {
        self.rows
    }
}

/// A summary of the rows of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of rows.
    pub rows: u64,
    /// The number of rows that are successes.
    pub ok: u64,
    /// The size of all bodies after decompression.
    pub bytes: u64,
    /// The number of attempts of all tasks.
    pub attempts: u64,
    /// When the first and the last attempt ended; `None` without a row.
    pub period: Option<(OffsetDateTime, OffsetDateTime)>,
    /// The number of rows by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// The number of rows by status. Rows without an answer are missing.
    pub statuses: BTreeMap<u16, u64>,
    /// What the pages contain.
    pub products: ProductCounts,
    /// The rows of the hosts that are too small to be counted separately.
    pub other_hosts: HostReport,
    /// Some of the URLs that failed, for each outcome.
    pub failed_urls: Vec<FailedUrl>,
    hosts: TopCounts<HostReport>,
    reasons: TopCounts<Reason>,
    durations: Durations,
    spans: Spans,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            rows: 0,
            ok: 0,
            bytes: 0,
            attempts: 0,
            period: None,
            outcomes: BTreeMap::new(),
            statuses: BTreeMap::new(),
            products: ProductCounts::default(),
            other_hosts: HostReport::new(0),
            failed_urls: Vec::new(),
            hosts: TopCounts::new(MAX_HOSTS),
            reasons: TopCounts::new(MAX_REASONS),
            durations: Durations::new(3),
            spans: Spans::new(),
        }
    }
}

impl Report {
    /// Adds a row.
    pub fn add(&mut self, row: &ReportRow<'_>) {
        self.rows += 1;
        self.bytes += row.bytes;
        self.attempts += u64::from(row.attempts);
        *self.outcomes.entry(row.outcome.to_owned()).or_default() += 1;
        if let Some(status) = row.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        let (first, last) = self.period.unwrap_or((row.fetched_at, row.fetched_at));
        self.period = Some((first.min(row.fetched_at), last.max(row.fetched_at)));
        self.spans.add(row.fetched_at, !row.is_ok());
        row.product.into_iter().for_each(|word| self.products.add(word));
        row.fetch_ms().into_iter().for_each(|ms| self.durations.add(ms));
        self.hosts.entry(row.host(), |small| self.other_hosts.merge(small)).add(row);
        match row.is_ok() {
            true => self.ok += 1,
            false => self.add_failure(row),
        }
    }

    fn add_failure(&mut self, row: &ReportRow<'_>) {
        let reason = match (row.error, row.status) {
            (Some(error), _) => error,
            (None, Some(status)) => &format!("status {status}"),
            (None, None) => row.outcome,
        };
        self.reasons.entry(reason, drop).rows += 1;
        if self.outcomes.get(row.outcome).is_some_and(|rows| *rows <= MAX_FAILED_URLS) {
            self.failed_urls.push(FailedUrl {
                url: row.url.to_owned(),
                outcome: row.outcome.to_owned(),
                status: row.status,
                attempts: row.attempts,
                error: row.error.map(str::to_owned),
            });
        }
    }

    /// The number of rows that are no successes.
    pub fn failed(&self) -> u64 {
        self.rows - self.ok
    }

    /// The largest hosts by name, in no particular order: all of them, unless there are thousands.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostReport)> {
        self.hosts.iter()
    }

    /// The most frequent reasons of failures, in no particular order: all of them, unless there are
    /// thousands.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &Reason)> {
        self.reasons.iter()
    }

    /// The time from the end of the first attempt to that of the last one.
    pub fn duration(&self) -> Duration {
        self.period
            .and_then(|(first, last)| Duration::try_from(last - first).ok())
            .unwrap_or_default()
    }

    /// A percentile of the fetch times in milliseconds; `None` without a fetch.
    pub fn fetch_ms(&self, percent: f64) -> Option<u64> {
        self.durations.percentile(percent)
    }

    /// The number of fetches that took at least `from` and less than `below` milliseconds.
    pub fn fetches_within(&self, from: u64, below: u64) -> u64 {
        self.durations.count_within(from, below)
    }

    /// The rows by span of time, from the first to the last.
    pub fn throughput(&self) -> Vec<Span> {
        self.period.map(|(begin, end)| self.spans.between(begin, end)).unwrap_or_default()
    }
}

impl Store {
    /// Reads every row of a run, or of one of its parts.
    pub async fn report(&self, run: &str, part: Option<&str>) -> Result<Report, Error> {
        let groups = self
            .with_connection("listing a run's rows", async |connection| {
                row_groups::read(connection, run, part).await
            })
            .await?;
        let mut report = Report::default();
        for group in groups {
            let mut last = Some(Vec::new());
            while let Some(after) = last {
                last = self.report_page(&mut report, run, &group, &after).await?;
            }
        }
        Ok(report)
    }

    /// Adds the rows after a key. Returns the last key; `None` without a row.
    async fn report_page(
        &self,
        report: &mut Report,
        run: &str,
        group: &RowGroup,
        after: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        type Row = (
            Vec<u8>,
            Option<u16>,
            String,
            u32,
            PrimitiveDateTime,
            Option<u64>,
            u32,
            Option<String>,
            Option<String>,
        );
        let RowGroup { part, outcome } = group;
        let rows: Vec<Row> = self
            .with_connection("reading a run's rows", async |connection| {
                let query = sqlx::query_as(ROWS_OF_REPORT).bind(run).bind(part).bind(outcome);
                let page = query.bind(after).bind(PAGE);
                let rows = page.fetch_all(connection).await;
                rows.map_err(Error::database("cannot read a run's rows"))
            })
            .await?;
        for (_, status, url, elapsed_ms, fetched_at, bytes, attempts, error, product) in &rows {
            report.add(&ReportRow {
                url,
                outcome,
                status: *status,
                elapsed_ms: *elapsed_ms,
                fetched_at: fetched_at.assume_utc(),
                bytes: bytes.unwrap_or(0),
                attempts: *attempts,
                error: error.as_deref(),
                product: product.as_deref(),
            });
        }
        Ok(rows.into_iter().last().map(|(id, ..)| id))
    }
}

#[cfg(test)]
mod tests {
    use super::spans::MAX_SPANS;
    use super::*;

    fn row(url: &str, second: i64, elapsed_ms: u32) -> ReportRow<'_> {
        let fetched_at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
        ReportRow {
            url,
            outcome: "ok",
            status: Some(200),
            elapsed_ms,
            fetched_at,
            bytes: 10,
            attempts: 1,
            error: None,
            product: None,
        }
    }

    #[test]
    fn percentiles_are_those_of_the_tasks_that_were_fetched() {
        let mut report = Report::default();
        for ms in 1..=1_000 {
            report.add(&row("http://a.example/", 0, ms));
        }
        report.add(&ReportRow { outcome: "cancelled", ..row("http://a.example/", 0, 0) });
        let percentiles = [50.0, 95.0, 100.0].map(|percent| report.fetch_ms(percent));
        assert_eq!(percentiles, [Some(500), Some(950), Some(1_000)]);
        assert_eq!((report.fetches_within(0, 100), report.fetches_within(100, 5_000)), (99, 901));
        assert_eq!(Report::default().fetch_ms(50.0), None);
    }

    #[test]
    fn spans_add_up_to_the_rows_however_long_the_run_was() {
        for length in [1, 119, 120, 10_000, 1_000_000] {
            let mut report = Report::default();
            // From the end to the beginning, because rows come in any order.
            for at in (0..500).rev() {
                let outcome = if at % 10 == 0 { "dns" } else { "ok" };
                let row = row("http://a.example/", at * length / 500, 1);
                report.add(&ReportRow { outcome, ..row });
            }
            let spans = report.throughput();
            let rows: u64 = spans.iter().map(|span| span.rows).sum();
            let failed: u64 = spans.iter().map(|span| span.failed).sum();
            assert_eq!((rows, failed), (500, 50), "{length}");
            let seconds: u64 = spans.iter().map(|span| span.duration.as_secs()).sum();
            assert_eq!(seconds, report.duration().as_secs() + 1, "{length}");
            let max = MAX_SPANS as usize;
            assert!(spans.len() <= max, "{length} {}", spans.len());
            assert!(length < MAX_SPANS || spans.len() >= max / 2, "{length} {}", spans.len());
        }
    }

    #[test]
    fn a_large_host_is_told_apart_although_many_small_ones_came_first() {
        let mut report = Report::default();
        for host in 0..20_000 {
            let url = format!("http://{host}.example/");
            report.add(&ReportRow {
                outcome: "dns",
                status: None,
                error: Some("no address"),
                ..row(&url, 0, 1)
            });
        }
        for _ in 0..10_000 {
            report.add(&row("http://large.example/", 0, 70));
        }
        let hosts: BTreeMap<_, _> = report.hosts().collect();
        let large = hosts["large.example"];
        assert_eq!((large.rows, large.failed), (10_000, 0));
        let median = large.fetch_ms(50.0);
        assert!(median.is_some_and(|ms| ms.abs_diff(70) < 7), "{median:?}");
        assert!((MAX_HOSTS..=2 * MAX_HOSTS).contains(&hosts.len()), "{}", hosts.len());
        // Every row is counted once, and so is every fetch.
        let all = || hosts.values().copied().chain([&report.other_hosts]);
        assert_eq!(all().map(|host| host.rows).sum::<u64>(), report.rows);
        assert_eq!(all().map(HostReport::fetches).sum::<u64>(), report.rows);
        let reasons: Vec<_> = report.reasons().map(|(text, reason)| (text, reason.rows)).collect();
        assert_eq!(reasons, [("no address", 20_000)]);
    }

    #[test]
    fn pages_are_counted_by_what_they_contain_and_by_host() {
        let mut report = Report::default();
        let words = ["found", "found", "suspect", "no_price", "none", "of a newer release"];
        for word in words {
            report.add(&ReportRow { product: Some(word), ..row("http://a.example/", 0, 1) });
        }
        report.add(&ReportRow { product: Some("none"), ..row("http://b.example/", 0, 1) });
        report.add(&row("http://b.example/image", 0, 1));
        let products = report.products;
        assert_eq!((products.found, products.pages(), products.without_price()), (2, 6, 4));
        let hosts: BTreeMap<_, _> = report.hosts().collect();
        let of_host = |host: &str| hosts[host].products;
        assert_eq!(of_host("a.example"), ProductCounts { none: 1, ..products });
        assert_eq!(of_host("b.example"), ProductCounts { none: 1, ..ProductCounts::default() });
    }

    #[test]
    fn the_number_of_reasons_and_failed_urls_is_bounded() {
        let mut report = Report::default();
        for number in 0..5 * MAX_REASONS {
            let error = format!("reason {number}");
            report.add(&ReportRow {
                outcome: "dns",
                status: None,
                error: Some(&error),
                ..row("http://a.example/", 0, 1)
            });
        }
        assert!((MAX_REASONS..=2 * MAX_REASONS).contains(&report.reasons().count()));
        assert_eq!(report.failed(), 5 * MAX_REASONS as u64);
        assert_eq!(report.failed_urls.len(), MAX_FAILED_URLS as usize);
    }
}
