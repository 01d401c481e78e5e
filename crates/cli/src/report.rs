//! A run as one HTML page: nothing in it is loaded from elsewhere, and it holds no script.

use std::cmp::Reverse;

use askama::Template;
use fetchline_store::{FailedUrl, HostReport, Outcome, Report, Run};
use indicatif::{HumanBytes, HumanCount};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::runs;
use crate::table::{or_dash, span};

/// Rows of the tables.
const HOSTS: usize = 30;
const SLOWEST: usize = 10;
const REASONS: usize = 15;
/// A host's fetch time is told from so many fetches on.
const ENOUGH: u64 = 5;
/// The lower ends of the columns of fetch times, in milliseconds.
const COLUMNS: [(u64, &str); 12] = [
    (0, "<10 ms"),
    (10, "10 ms"),
    (20, "20 ms"),
    (50, "50 ms"),
    (100, "100 ms"),
    (200, "200 ms"),
    (500, "500 ms"),
    (1_000, "1 s"),
    (2_000, "2 s"),
    (5_000, "5 s"),
    (10_000, "10 s"),
    (30_000, "30 s…"),
];
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

/// The drawing is 1000 wide.
struct Throughput {
    label: String,
    grid: Vec<Line>,
    area: String,
    edge: String,
    begin: String,
    end: String,
}

struct Line {
    y: i32,
    text: String,
}

struct Times {
    label: String,
    columns: Vec<Column>,
    percentiles: String,
}

struct Column {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
    middle: i32,
    count: String,
    name: &'static str,
    label: String,
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
        throughput: throughput(report),
        times: times(report),
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

fn throughput(report: &Report) -> Throughput {
    const TOP: f64 = 24.0;
    const BOTTOM: f64 = 190.0;
    let spans = report.throughput();
    let rates: Vec<f64> = spans.iter().map(|(rows, long)| *rows as f64 / long.as_secs_f64().max(1.0)).collect();
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let most = nice(highest);
    let y = |rate: f64| BOTTOM - (BOTTOM - TOP) * rate / most;
    // A span is a step of the line, so that one alone is seen as well.
    let width = 1_000.0 / rates.len().max(1) as f64;
    let mut edge = String::new();
    for (index, rate) in rates.iter().enumerate() {
        let (left, right) = (index as f64 * width, (index + 1) as f64 * width);
        let to = if index == 0 { 'M' } else { 'L' };
        edge.push_str(&format!("{to}{left:.1} {:.1}L{right:.1} {:.1}", y(*rate), y(*rate)));
    }
    let area = format!("{edge}L1000 {BOTTOM}L0 {BOTTOM}Z");
    let line = |rate: f64| Line { y: y(rate).round() as i32, text: format!("{}/s", short(rate)) };
    let ends = |at: fn(&(OffsetDateTime, OffsetDateTime)) -> OffsetDateTime| {
        report.period.as_ref().map(|period| text(at(period), TIME_OF_DAY)).unwrap_or_default()
    };
    Throughput {
        label: format!("URLs per second over time, at most {}/s", short(highest)),
        grid: vec![line(most), line(most / 2.0), Line { y: BOTTOM as i32, text: String::new() }],
        area,
        edge,
        begin: ends(|period| period.0),
        end: ends(|period| period.1),
    }
}

fn short(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { HumanCount(rate.round() as u64).to_string() }
}

/// The next number that begins with 1, 2 or 5.
fn nice(number: f64) -> f64 {
    let power = 10_f64.powf(number.max(0.1).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|nice| *nice >= number).unwrap_or(number)
}

fn times(report: &Report) -> Times {
    const BOTTOM: i32 = 222;
    const HIGHEST: f64 = 190.0;
    let ends = COLUMNS.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
    let all: Vec<_> = COLUMNS
        .iter()
        .zip(ends)
        .map(|((from, name), below)| (*name, *from, report.fetches_within(*from, below)))
        .collect();
    let filled = |(_, _, count): &&(&str, u64, u64)| *count > 0;
    // What is empty at both ends is left out.
    let first = all.iter().position(|column| filled(&column)).unwrap_or(all.len());
    let last = all.iter().rposition(|column| filled(&column)).map_or(first, |last| last + 1);
    let shown = &all[first..last];
    let most = shown.iter().map(|(.., count)| *count).max().unwrap_or(1).max(1);
    let step = 1_000 / i32::try_from(shown.len().max(1)).unwrap_or(1);
    let columns = (0..).zip(shown).map(|(index, (name, from, count))| {
        let height = (HIGHEST * *count as f64 / most as f64).ceil() as i32;
        let width = (step - 12).min(120);
        let middle = index * step + step / 2;
        Column {
            x: middle - width / 2,
            y: BOTTOM - height,
            width,
            height,
            middle,
            count: if *count > 0 { HumanCount(*count).to_string() } else { String::new() },
            name,
            label: format!("{} fetches from {from} ms on", HumanCount(*count)),
        }
    });
    let percentile = |percent: f64| ms(report.fetch_ms(percent));
    Times {
        label: format!("Fetches by their time, half of them within {}", percentile(50.0)),
        columns: columns.collect(),
        percentiles: format!(
            "Half of the fetches took at most {}; 90 % {}, 95 % {}, 99 % {}; the longest {}. A column begins at the time below it.",
            percentile(50.0),
            percentile(90.0),
            percentile(95.0),
            percentile(99.0),
            percentile(100.0)
        ),
    }
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
mod tests {
    use std::collections::BTreeMap;

    use fetchline_store::Reported;

    use super::*;

    fn run() -> Run {
        Run { parts: Vec::new(), outcomes: BTreeMap::new(), asked_at: OffsetDateTime::UNIX_EPOCH }
    }

    fn row(url: &str) -> Reported<'_> {
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

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 3.0, 1_200.0, 2_000.0, 99.0].map(nice), [0.1, 5.0, 2_000.0, 2_000.0, 100.0]);
    }

    #[test]
    fn columns_of_fetch_times_hold_every_fetch() {
        let mut report = Report::default();
        for elapsed_ms in [0, 9, 10, 19, 20, 999, 1_000, 60_000] {
            report.take(&Reported { elapsed_ms, ..row("http://a.example/") });
        }
        let counts: u64 = times(&report).columns.iter().filter_map(|column| column.count.parse::<u64>().ok()).sum();
        assert_eq!(counts, 8);
    }
}
