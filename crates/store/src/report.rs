//! What a run's rows tell together. Every row is read once, page by page, and what is kept of them is bounded.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::{Error, Outcome, Store};

/// Rows that are read together.
const PAGE: u32 = 5_000;
/// Hosts that are told apart; those that are met later are one.
const MOST_HOSTS: usize = 2_000;
/// Reasons that are told apart.
const MOST_REASONS: usize = 5_000;
/// Failed URLs that are kept of each outcome.
const MOST_FAILED: u64 = 50;
/// Spans of time that are counted apart; with more of them, each becomes twice as long.
const MOST_SPANS: usize = 120;
/// The longest fetch that is told apart, in milliseconds.
const LONGEST_MS: u64 = 3_600_000;

/// The next rows of a run and an outcome; binds both, the last key, and how many.
pub const ROWS_OF_REPORT: &str = "SELECT id, url, status, elapsed_ms, fetched_at, body_bytes, attempts, error \
                                  FROM fetches WHERE run = ? AND outcome = ? AND id > ? ORDER BY id LIMIT ?";

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

/// What came of the rows of one host.
#[derive(Clone, Debug)]
pub struct HostReport {
    /// Rows.
    pub rows: u64,
    /// Those that are not `ok`.
    pub failed: u64,
    /// Rows by outcome.
    pub outcomes: BTreeMap<String, u64>,
    times: Histogram<u64>,
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
    /// The first hosts that were met, by name.
    pub hosts: HashMap<String, HostReport>,
    /// All others.
    pub other_hosts: HostReport,
    /// How often which reason was given, the first ones that were met.
    pub reasons: HashMap<String, u64>,
    /// Some of the URLs that failed, of each outcome.
    pub failed_urls: Vec<FailedUrl>,
    times: Histogram<u64>,
    throughput: Throughput,
}

/// Rows by time.
#[derive(Clone, Debug)]
struct Throughput {
    /// Seconds of one span.
    step: i64,
    spans: BTreeMap<i64, u64>,
}

fn times(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_MS, digits).unwrap_or_else(|_| unreachable!("fixed bounds"))
}

impl HostReport {
    fn new() -> Self {
        // One digit: there are many hosts.
        Self { rows: 0, failed: 0, outcomes: BTreeMap::new(), times: times(1) }
    }

    fn take(&mut self, row: &Reported<'_>) {
        self.rows += 1;
        self.failed += u64::from(row.outcome != Outcome::Ok.as_str());
        *self.outcomes.entry(row.outcome.to_owned()).or_default() += 1;
        if was_tried(row) {
            self.times.saturating_record(row.elapsed_ms.into());
        }
    }

    /// So much of 100 fetches took no longer, in milliseconds and to about a tenth; `None` where nothing was fetched.
    pub fn fetch_ms(&self, percent: f64) -> Option<u64> {
        (!self.times.is_empty()).then(|| self.times.value_at_quantile(percent / 100.0))
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
            hosts: HashMap::new(),
            other_hosts: HostReport::new(),
            reasons: HashMap::new(),
            failed_urls: Vec::new(),
            times: times(3),
            throughput: Throughput { step: 1, spans: BTreeMap::new() },
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
        self.throughput.take(row.fetched_at);
        if was_tried(row) {
            self.times.saturating_record(row.elapsed_ms.into());
        }
        self.host(host(row.url)).take(row);
        if row.outcome == Outcome::Ok.as_str() {
            self.ok += 1;
        } else {
            self.take_failure(row);
        }
    }

    fn host(&mut self, name: &str) -> &mut HostReport {
        if self.hosts.len() >= MOST_HOSTS && !self.hosts.contains_key(name) {
            return &mut self.other_hosts;
        }
        self.hosts.entry(name.to_owned()).or_insert_with(HostReport::new)
    }

    fn take_failure(&mut self, row: &Reported<'_>) {
        let reason = row.error.map(str::to_owned).or_else(|| row.status.map(|status| format!("status {status}")));
        let reason = reason.unwrap_or_else(|| row.outcome.to_owned());
        if self.reasons.len() < MOST_REASONS || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += 1;
        }
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

    /// Rows in spans of time, from the first to the last, each with how long it was: at both ends a span counts as far as
    /// it belongs to the run.
    pub fn throughput(&self) -> Vec<(u64, Duration)> {
        let Throughput { step, spans } = &self.throughput;
        let (Some((first, _)), Some((last, _)), Some((begin, end))) =
            (spans.first_key_value(), spans.last_key_value(), self.period)
        else {
            return Vec::new();
        };
        let length = |span: i64| {
            let from = (span * step).max(begin.unix_timestamp());
            let until = ((span + 1) * step).min(end.unix_timestamp() + 1);
            Duration::from_secs((until - from).unsigned_abs())
        };
        (*first..=*last).map(|span| (spans.get(&span).copied().unwrap_or(0), length(span))).collect()
    }
}

impl Throughput {
    fn take(&mut self, at: OffsetDateTime) {
        *self.spans.entry(at.unix_timestamp().div_euclid(self.step)).or_default() += 1;
        while let (Some((first, _)), Some((last, _))) = (self.spans.first_key_value(), self.spans.last_key_value())
            && (last - first) as usize >= MOST_SPANS
        {
            self.step *= 2;
            let mut longer = BTreeMap::new();
            for (span, rows) in std::mem::take(&mut self.spans) {
                *longer.entry(span.div_euclid(2)).or_default() += rows;
            }
            self.spans = longer;
        }
    }
}

/// Whether the time tells of a fetch.
fn was_tried(row: &Reported<'_>) -> bool {
    ![Outcome::Cancelled, Outcome::Poison].map(Outcome::as_str).contains(&row.outcome)
}

/// The host of a URL as it is stored: normalised, credentials struck out.
fn host(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
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
    fn a_host_is_told_from_the_url_that_is_stored() {
        for (url, expected) in [
            ("https://shop.example/p/1?x=//y", "shop.example"),
            ("http://***@shop.example:8080/", "shop.example:8080"),
            ("http://[::1]:80/x", "[::1]:80"),
            ("http://shop.example?q=a@b", "shop.example"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
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
                report.take(&row("http://a.example/", at * length / 500, 1));
            }
            let spans = report.throughput();
            assert_eq!(spans.iter().map(|(rows, _)| rows).sum::<u64>(), 500, "{length}");
            let all: u64 = spans.iter().map(|(_, long)| long.as_secs()).sum();
            assert!(spans.len() <= MOST_SPANS && all.abs_diff(report.duration().as_secs() + 1) == 0, "{length} {all}");
        }
    }

    #[test]
    fn what_is_kept_of_hosts_reasons_and_failures_is_bounded() {
        let mut report = Report::default();
        for host in 0..2 * MOST_REASONS {
            let (url, error) = (format!("http://{host}.example/"), format!("reason {host}"));
            report.take(&Reported { outcome: "dns", status: None, error: Some(&error), ..row(&url, 0, 1) });
        }
        let rows = 2 * MOST_REASONS as u64;
        assert_eq!((report.rows, report.failed(), report.hosts.len()), (rows, rows, MOST_HOSTS));
        assert_eq!(report.other_hosts.rows, rows - MOST_HOSTS as u64);
        assert_eq!((report.reasons.len(), report.failed_urls.len()), (MOST_REASONS, MOST_FAILED as usize));
    }
}
