//! A run as one HTML page: nothing in it is loaded from elsewhere, and it holds no script.

mod charts;

use std::cmp::Reverse;

use askama::Template;
use fetchline_store::{FailedUrl, HostReport, Outcome, Report, Run};
use indicatif::{HumanBytes, HumanCount};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::charts::{Throughput, Times};
use crate::runs;
use crate::table::{or_dash, span};

/// Rows of the tables.
const HOSTS: usize = 30;
const SLOWEST: usize = 10;
const REASONS: usize = 15;
/// A host's fetch time is told from so many fetches on.
const ENOUGH: u64 = 5;
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]:[second]");
const TIME_OF_DAY: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]:[second]");

/// The page. Texts are escaped by the template.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    run: &'a str,
    state: &'static str,
    period: String,
    figures: Vec<Figure>,
    outcomes: Vec<Share>,
    throughput: Throughput,
    times: Times,
    statuses: Vec<Share>,
    slowest: Vec<Slow<'a>>,
    hosts: Vec<Host<'a>>,
    more_hosts: String,
    reasons: Vec<Share>,
    failed_urls: Vec<Failed<'a>>,
    more_failed: String,
    made: String,
}

struct Figure {
    name: &'static str,
    value: String,
    note: String,
}

/// A name, and how many of all it has.
struct Share {
    name: String,
    count: String,
    /// Of 100, for a width.
    percent: f64,
    /// The same for people.
    share: String,
    colour: usize,
}

struct Slow<'a> {
    name: &'a str,
    rows: String,
    p50: String,
    p95: String,
}

struct Host<'a> {
    name: &'a str,
    rows: String,
    ok: String,
    failed: String,
    failures: String,
    percent: f64,
    failed_percent: f64,
}

struct Failed<'a> {
    url: &'a str,
    outcome: &'a str,
    status: String,
    attempts: u32,
    error: &'a str,
}

/// The page of a run.
pub(crate) fn html(name: &str, run: &Run, report: &Report) -> anyhow::Result<String> {
    let state = runs::state(run);
    let mut hosts: Vec<(&str, &HostReport)> = report.hosts.iter().map(|(name, host)| (name.as_str(), host)).collect();
    hosts.sort_by_key(|(name, host)| (Reverse(host.rows), *name));
    let shown: u64 = hosts.iter().take(HOSTS).map(|(_, host)| host.rows).sum();
    let page = Page {
        title: format!("Run {name}: {} rows, {} failed", HumanCount(report.rows), HumanCount(report.failed())),
        run: name,
        state,
        period: period(report),
        figures: figures(run, report),
        outcomes: outcomes(report),
        throughput: charts::throughput(report),
        times: charts::times(report),
        statuses: shares(report.statuses.iter().map(|(status, rows)| (status.to_string(), *rows)), usize::MAX),
        slowest: slowest(&hosts),
        more_hosts: match report.rows - shown {
            0 => String::new(),
            rows => format!("{} rows of other hosts are not shown.", HumanCount(rows)),
        },
        hosts: hosts.iter().take(HOSTS).map(|(name, host)| Host::of(name, host, hosts[0].1.rows)).collect(),
        reasons: shares(report.reasons.iter().map(|(reason, rows)| (reason.clone(), *rows)), REASONS),
        failed_urls: failed_urls(report),
        more_failed: match report.failed() - report.failed_urls.len() as u64 {
            0 => String::new(),
            more => format!(
                "And {} more: SELECT url, outcome, status, error FROM fetches WHERE run = '…' AND outcome <> 'ok'",
                HumanCount(more)
            ),
        },
        made: format!("fetchline {}, {} UTC", env!("CARGO_PKG_VERSION"), text(OffsetDateTime::now_utc(), TIME)),
    };
    Ok(page.render()?)
}

fn text(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    at.format(format).unwrap_or_default()
}

fn ms(ms: Option<u64>) -> String {
    match ms {
        None => "–".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) => format!("{:.1} s", ms as f64 / 1_000.0),
    }
}

/// To a unit without places: it stands in a small space.
fn size(bytes: u64) -> String {
    let text = HumanBytes(bytes).to_string();
    match text.split_once('.') {
        Some((whole, rest)) if whole.len() > 1 => {
            let unit = rest.split_once(' ').map_or("", |(_, unit)| unit);
            format!("{whole} {unit}")
        }
        _ => text,
    }
}

/// Of 100; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 10_000.0 / whole as f64).round() / 100.0 }
}

fn period(report: &Report) -> String {
    let Some((first, last)) = report.period else { return "no row has been written".to_owned() };
    let end = if first.date() == last.date() { text(last, TIME_OF_DAY) } else { text(last, TIME) };
    format!("{} – {end} UTC, {}", text(first, TIME), span(report.duration()))
}

fn figures(run: &Run, report: &Report) -> Vec<Figure> {
    let figure = |name, value: String, note: String| Figure { name, value, note };
    let per_second = report.rows as f64 / report.duration().as_secs_f64().max(1.0);
    let planned = match run.planned() {
        Some(planned) => format!("of {} planned", HumanCount(planned)),
        None => "more may be published".to_owned(),
    };
    vec![
        figure("Rows", HumanCount(report.rows).to_string(), planned),
        figure("ok", HumanCount(report.ok).to_string(), format!("{:.1} %", percent(report.ok, report.rows))),
        figure(
            "Failed",
            HumanCount(report.failed()).to_string(),
            format!("{:.1} %", percent(report.failed(), report.rows)),
        ),
        figure("Rate", format!("{per_second:.0}/s"), "URLs per second".to_owned()),
        figure("Fetch time", ms(report.fetch_ms(50.0)), format!("half; 95 % within {}", ms(report.fetch_ms(95.0)))),
        figure("Data", size(report.bytes), format!("{} tries", HumanCount(report.tries))),
    ]
}

/// The most frequent ones first.
fn shares(counts: impl Iterator<Item = (String, u64)>, at_most: usize) -> Vec<Share> {
    let mut counts: Vec<(String, u64)> = counts.collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let all = counts.iter().map(|(_, rows)| rows).sum();
    let share = |(name, rows): (String, u64)| Share {
        name,
        count: HumanCount(rows).to_string(),
        percent: percent(rows, all),
        share: format!("{:.1} %", percent(rows, all)),
        colour: 0,
    };
    counts.into_iter().take(at_most).map(share).collect()
}

/// `ok` has the first colour, whatever its rank.
fn outcomes(report: &Report) -> Vec<Share> {
    const COLOURS: usize = 8;
    let mut shares = shares(report.outcomes.iter().map(|(outcome, rows)| (outcome.clone(), *rows)), usize::MAX);
    let mut colour = 0;
    for share in &mut shares {
        if share.name != Outcome::Ok.as_str() {
            colour = (colour + 1).min(COLOURS - 1);
            share.colour = colour;
        }
    }
    shares
}

fn slowest<'a>(hosts: &[(&'a str, &HostReport)]) -> Vec<Slow<'a>> {
    let mut hosts: Vec<_> =
        hosts.iter().filter(|(_, host)| host.rows >= ENOUGH && host.fetch_ms(95.0).is_some()).collect();
    hosts.sort_by_key(|(name, host)| (Reverse(host.fetch_ms(95.0)), *name));
    let slow = |(name, host): &(&'a str, &HostReport)| Slow {
        name,
        rows: HumanCount(host.rows).to_string(),
        p50: ms(host.fetch_ms(50.0)),
        p95: ms(host.fetch_ms(95.0)),
    };
    hosts.into_iter().take(SLOWEST).map(slow).collect()
}

/// Those of the most frequent outcome first.
fn failed_urls(report: &Report) -> Vec<Failed<'_>> {
    let mut failed: Vec<&FailedUrl> = report.failed_urls.iter().collect();
    failed.sort_by_key(|failed| (Reverse(report.outcomes.get(&failed.outcome)), failed.outcome.as_str()));
    failed.into_iter().map(Failed::of).collect()
}

impl<'a> Host<'a> {
    fn of(name: &'a str, host: &HostReport, most: u64) -> Self {
        let failures: Vec<String> = host
            .outcomes
            .iter()
            .filter(|(outcome, _)| *outcome != Outcome::Ok.as_str())
            .map(|(outcome, rows)| format!("{outcome} {}", HumanCount(*rows)))
            .collect();
        Self {
            name,
            rows: HumanCount(host.rows).to_string(),
            ok: HumanCount(host.rows - host.failed).to_string(),
            failed: HumanCount(host.failed).to_string(),
            failures: failures.join(", "),
            percent: percent(host.rows, most),
            failed_percent: percent(host.failed, host.rows),
        }
    }
}

impl<'a> Failed<'a> {
    fn of(failed: &'a FailedUrl) -> Self {
        Self {
            url: &failed.url,
            outcome: &failed.outcome,
            status: or_dash(failed.status),
            attempts: failed.attempts,
            error: failed.error.as_deref().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use fetchline_store::Reported;

    use super::*;

    fn run() -> Run {
        Run { parts: Vec::new(), outcomes: BTreeMap::new(), asked_at: OffsetDateTime::UNIX_EPOCH }
    }

    pub(super) fn row(url: &str) -> Reported<'_> {
        let fetched_at = OffsetDateTime::UNIX_EPOCH;
        Reported {
            url,
            outcome: "ok",
            status: Some(200),
            elapsed_ms: 15,
            fetched_at,
            bytes: 10,
            attempts: 1,
            error: None,
        }
    }

    #[test]
    fn what_sites_wrote_is_shown_and_not_obeyed() {
        let mut report = Report::default();
        let error = "</td><script>alert('x')</script>";
        report.take(&Reported { outcome: "dns", status: None, error: Some(error), ..row("http://<b>\"&/?<script>") });
        let html = html("<i>nightly", &run(), &report).unwrap();
        assert!(!html.contains("<script") && !html.contains("<b>\"") && !html.contains("<i>nightly"), "{html}");
        assert!(html.contains("&#60;script&#62;alert"), "{html}");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let mut report = Report::default();
        report.take(&row("http://a.example/1"));
        report.take(&Reported { outcome: "http_error", status: Some(404), ..row("http://a.example/2") });
        let html = html("nightly", &run(), &report).unwrap();
        for reference in ["src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert!(html.contains("http://a.example/2") && html.contains("404"), "{html}");
    }

    #[test]
    fn a_run_without_rows_and_one_with_a_single_row_have_a_page() {
        let empty = html("nightly", &run(), &Report::default()).unwrap();
        assert!(empty.contains("no rows yet") && !empty.contains("NaN") && !empty.contains("inf"), "{empty}");
        let mut report = Report::default();
        report.take(&row("http://a.example/"));
        let single = html("nightly", &run(), &report).unwrap();
        assert!(single.contains("No URL failed") && !single.contains("NaN") && !single.contains("inf"), "{single}");
    }
}
