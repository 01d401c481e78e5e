//! A run as one HTML page: nothing in it is loaded from elsewhere, and it holds no script.

mod charts;
mod numbers;

use std::cmp::Reverse;

use askama::Template;
use fetchline_store::{FailedUrl, HostReport, Outcome, Report, Run};
use reqwest::StatusCode;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::charts::{Throughput, Times, bar};
use self::numbers::{about_ms, count, ms, percent, rate, share, size};
use crate::runs;
use crate::table::{or_dash, span};

/// Rows of the tables.
const HOSTS: usize = 30;
const SLOWEST: usize = 10;
const REASONS: usize = 15;
const FAILED: usize = 200;
/// A host's fetch time is told from so many fetches on: a 95th percentile of fewer is their longest.
const ENOUGH: u64 = 20;
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
    times: Option<Times>,
    statuses: Vec<Status>,
    slowest: Vec<Slow<'a>>,
    hosts: Vec<Host<'a>>,
    hosts_note: &'static str,
    reasons: Vec<Reason<'a>>,
    failed_urls: Vec<Failed<'a>>,
    more_failed: String,
    made: String,
}

struct Figure {
    name: &'static str,
    value: String,
    note: String,
}

/// An outcome, and how many of all rows have it.
struct Share {
    name: String,
    count: String,
    percent: f64,
    share: String,
    colour: usize,
}

struct Status {
    code: String,
    name: &'static str,
    count: String,
    bar: f64,
    is_good: bool,
}

struct Reason<'a> {
    count: String,
    text: &'a str,
}

struct Slow<'a> {
    name: &'a str,
    fetches: String,
    p50: String,
    p95: String,
}

struct Host<'a> {
    name: &'a str,
    rows: String,
    ok: String,
    failed: String,
    failures: String,
    bar: f64,
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
    let mut by_size: Vec<(&str, &HostReport)> = report.hosts().collect();
    by_size.sort_by_key(|(name, host)| (Reverse(host.rows), *name));
    let (hosts, failed_urls) = (hosts(&by_size, report), failed_urls(report));
    let page = Page {
        title: format!("Run {name}: {} rows, {} failed", count(report.rows), count(report.failed())),
        run: name,
        state: runs::state(run),
        period: period(report),
        figures: figures(run, report),
        outcomes: outcomes(report),
        throughput: charts::throughput(report),
        times: charts::times(report),
        statuses: statuses(report),
        slowest: slowest(&by_size),
        hosts_note: match by_size.iter().take(HOSTS).any(|(_, host)| host.lacks > 0) {
            true => "There are too many hosts to count each of them exactly: “≥” is what is certain.",
            false => "",
        },
        hosts,
        reasons: reasons(report),
        more_failed: match report.failed() - failed_urls.len() as u64 {
            0 => String::new(),
            more => format!(
                "And {} more: SELECT url, outcome, status, error FROM fetches WHERE run = '…' AND outcome <> 'ok'",
                count(more)
            ),
        },
        failed_urls,
        made: format!("fetchline {}, {} UTC", env!("CARGO_PKG_VERSION"), text(OffsetDateTime::now_utc(), TIME)),
    };
    Ok(page.render()?)
}

fn text(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    at.format(format).unwrap_or_default()
}

/// What was counted, and a sign where there may be more.
fn at_least(rows: u64, lacks: u64) -> String {
    if lacks > 0 { format!("≥ {}", count(rows)) } else { count(rows) }
}

fn period(report: &Report) -> String {
    let Some((first, last)) = report.period else { return "no row has been written".to_owned() };
    if report.duration().as_secs() == 0 {
        return format!("{} UTC", text(first, TIME));
    }
    let end = if first.date() == last.date() { text(last, TIME_OF_DAY) } else { text(last, TIME) };
    format!("{} – {end} UTC, {}", text(first, TIME), span(report.duration()))
}

fn figures(run: &Run, report: &Report) -> Vec<Figure> {
    let figure = |name, value: String, note: String| Figure { name, value, note };
    let planned = match run.planned() {
        Some(planned) => format!("of {} planned", count(planned)),
        // A run whose messages are from elsewhere has no part that tells.
        None if run.parts.iter().all(|part| part.part.is_empty()) => "none planned".to_owned(),
        None => "more may be published".to_owned(),
    };
    // Of less than a second, or of one row, nothing can be said.
    let seconds = report.duration().as_secs_f64();
    let per_second = if seconds < 1.0 { "–".to_owned() } else { rate(report.rows as f64 / seconds) };
    let (failed, rows) = (report.failed(), report.rows);
    vec![
        figure("Rows", count(rows), planned),
        figure("ok", count(report.ok), share(report.ok, rows)),
        figure("Failed", count(failed), share(failed, rows)),
        figure("Rate", per_second, "of the whole run".to_owned()),
        figure("Fetch time", ms(report.fetch_ms(50.0)), format!("median; p95 {}", ms(report.fetch_ms(95.0)))),
        figure(
            "Data",
            size(report.bytes),
            match report.tries {
                1 => "1 try".to_owned(),
                tries => format!("{} tries", count(tries)),
            },
        ),
    ]
}

/// The most frequent ones first. `ok` has the first colour, whatever its rank.
fn outcomes(report: &Report) -> Vec<Share> {
    const COLOURS: usize = 8;
    let mut outcomes: Vec<_> = report.outcomes.iter().collect();
    outcomes.sort_by_key(|(_, rows)| Reverse(**rows));
    let mut colour = 0;
    let outcome = |(outcome, rows): (&String, &u64)| Share {
        name: outcome.clone(),
        count: count(*rows),
        percent: percent(*rows, report.rows),
        share: share(*rows, report.rows),
        colour: if outcome == Outcome::Ok.as_str() {
            0
        } else {
            colour = (colour + 1).min(COLOURS - 1);
            colour
        },
    };
    outcomes.into_iter().map(outcome).collect()
}

/// The most frequent ones first, and at last what has none.
fn statuses(report: &Report) -> Vec<Status> {
    let mut statuses: Vec<_> = report.statuses.iter().map(|(status, rows)| (*status, *rows)).collect();
    statuses.sort_by_key(|(_, rows)| Reverse(*rows));
    let none = report.rows - statuses.iter().map(|(_, rows)| rows).sum::<u64>();
    let most = statuses.iter().map(|(_, rows)| *rows).fold(none, u64::max);
    let status = |(status, rows): (u16, u64)| {
        let known = StatusCode::from_u16(status).ok();
        Status {
            code: status.to_string(),
            name: known.and_then(|known| known.canonical_reason()).unwrap_or_default(),
            count: count(rows),
            bar: bar(rows, most),
            is_good: known.is_some_and(|known| known.is_success()),
        }
    };
    let none = (none > 0).then(|| Status {
        code: "–".to_owned(),
        name: "no answer",
        count: count(none),
        bar: bar(none, most),
        is_good: false,
    });
    statuses.into_iter().map(status).chain(none).collect()
}

fn slowest<'a>(hosts: &[(&'a str, &HostReport)]) -> Vec<Slow<'a>> {
    let mut hosts: Vec<_> = hosts.iter().filter(|(_, host)| host.fetches() >= ENOUGH).collect();
    hosts.sort_by_key(|(name, host)| (Reverse(host.fetch_ms(95.0)), *name));
    let slow = |(name, host): &(&'a str, &HostReport)| Slow {
        name,
        fetches: count(host.fetches()),
        p50: about_ms(host.fetch_ms(50.0)),
        p95: about_ms(host.fetch_ms(95.0)),
    };
    hosts.into_iter().take(SLOWEST).map(slow).collect()
}

/// The largest ones, and at last all others together.
fn hosts<'a>(by_size: &[(&'a str, &HostReport)], report: &Report) -> Vec<Host<'a>> {
    let most = by_size.first().map_or(0, |(_, host)| host.rows);
    let (shown, others) = by_size.split_at(by_size.len().min(HOSTS));
    let mut hosts: Vec<_> = shown.iter().map(|(name, host)| Host::of(name, host, most)).collect();
    let others = || others.iter().map(|(_, host)| *host).chain([&report.other_hosts]);
    let (rows, failed) = others().fold((0, 0), |all, host| (all.0 + host.rows, all.1 + host.failed));
    if rows > 0 {
        hosts.push(Host {
            name: "all other hosts",
            rows: count(rows),
            ok: count(rows - failed),
            failed: count(failed),
            failures: String::new(),
            bar: 0.0,
            failed_percent: 0.0,
        });
    }
    hosts
}

/// The most frequent ones first.
fn reasons(report: &Report) -> Vec<Reason<'_>> {
    let mut reasons: Vec<_> = report.reasons().collect();
    reasons.sort_by_key(|(text, reason)| (Reverse(reason.rows), *text));
    let reason =
        |(text, reason): (_, &fetchline_store::Reason)| Reason { count: at_least(reason.rows, reason.lacks), text };
    reasons.into_iter().take(REASONS).map(reason).collect()
}

/// Those of the most frequent outcome first, and of each outcome as many as there is room for: one alone does not hide the
/// others.
fn failed_urls(report: &Report) -> Vec<Failed<'_>> {
    let mut by_outcome: Vec<(u64, Vec<&FailedUrl>)> = Vec::new();
    for (outcome, rows) in &report.outcomes {
        let failed: Vec<_> = report.failed_urls.iter().filter(|failed| failed.outcome == *outcome).collect();
        if !failed.is_empty() {
            by_outcome.push((*rows, failed));
        }
    }
    // The fewest first: what they leave is for the others.
    by_outcome.sort_by_key(|(rows, _)| *rows);
    let (mut room, mut left) = (FAILED, by_outcome.len());
    for (_, failed) in &mut by_outcome {
        failed.truncate(room / left);
        room -= failed.len();
        left -= 1;
    }
    by_outcome.iter().rev().flat_map(|(_, failed)| failed).map(|failed| Failed::of(failed)).collect()
}

impl<'a> Host<'a> {
    fn of(name: &'a str, host: &HostReport, most: u64) -> Self {
        let mut failures: Vec<_> =
            host.outcomes.iter().filter(|(outcome, _)| *outcome != Outcome::Ok.as_str()).collect();
        failures.sort_by_key(|(_, rows)| Reverse(**rows));
        // No line breaks between an outcome and its number.
        let failures = failures.into_iter().map(|(outcome, rows)| format!("{outcome}\u{a0}{}", count(*rows)));
        Self {
            name,
            rows: at_least(host.rows, host.lacks),
            ok: count(host.rows - host.failed),
            failed: count(host.failed),
            failures: failures.collect::<Vec<_>>().join(", "),
            bar: bar(host.rows, most),
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
