//! The HTML page of a run. It loads nothing from elsewhere and holds no script.

mod numbers;
mod time_format;
mod chart;
mod throughput;
mod fetch_times;
mod hosts;
mod figure;
mod products;
mod failures;
#[cfg(test)]
mod sample;

use std::cmp::Reverse;

use askama::Template;
use fetchline_store::{Changes, Outcome, Report, Run};
use reqwest::StatusCode;
use time::OffsetDateTime;

use self::chart::bar;
use self::failures::{Failure, Reason};
use self::fetch_times::FetchTimes;
use self::figure::Figure;
use self::hosts::{Host, Hosts, SlowHost};
use self::numbers::{count, ms, percent, rate, share, size};
pub(crate) use self::products::MAX_CHANGES;
use self::products::{ChangeTable, HostProducts};
use self::throughput::Throughput;
use self::time_format::{DATE_TIME, TIME, format_time};
use crate::runs;
use crate::table::format_duration;

/// The page. The template escapes all texts.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    run: &'a str,
    parts: String,
    state: &'static str,
    period: String,
    figures: Vec<Figure>,
    /// Empty if no page was examined; so are the next two.
    product_figures: Vec<Figure>,
    changes: Vec<ChangeTable<'a>>,
    product_hosts: Vec<HostProducts<'a>>,
    note: String,
    outcomes: Vec<OutcomeShare>,
    throughput: Throughput,
    times: Option<FetchTimes>,
    statuses: Vec<StatusShare>,
    slowest: Vec<SlowHost<'a>>,
    hosts: Vec<Host<'a>>,
    hosts_note: &'static str,
    reasons: Vec<Reason<'a>>,
    failed_urls: Vec<Failure<'a>>,
    failed_note: String,
    generator: String,
}

/// An outcome and its share of all rows.
struct OutcomeShare {
    name: String,
    count: String,
    percent: f64,
    share: String,
    colour: usize,
}

/// An HTTP status and its share of all rows.
struct StatusShare {
    code: String,
    name: &'static str,
    count: String,
    bar: f64,
    is_good: bool,
}

/// Renders the page of a run.
pub(crate) fn render(
    name: &str,
    run: &Run,
    report: &Report,
    changes: Option<&Changes>,
) -> anyhow::Result<String> {
    let hosts = Hosts::of(report);
    let failed_urls = failures::urls(report);
    let page = Page {
        title: format!(
            "Run {name}: {} rows, {} failed",
            count(report.rows),
            count(report.failed())
        ),
        run: name,
        parts: runs::selected_parts(run).trim_start_matches(", ").to_owned(),
        state: runs::state(run),
        period: format_period(report),
        figures: figures(run, report),
        product_figures: products::figures(report, changes),
        changes: changes.map(products::tables).unwrap_or_default(),
        product_hosts: products::hosts(report),
        note: missing_rows(run, report),
        outcomes: outcomes(report),
        throughput: Throughput::draw(report),
        times: FetchTimes::draw(report),
        statuses: statuses(report),
        slowest: hosts.slowest(),
        hosts: hosts.table(),
        hosts_note: hosts.note(),
        reasons: failures::reasons(report),
        failed_note: failures::note(report, failed_urls.len()),
        failed_urls,
        generator: format!(
            "fetchline {}, {} UTC",
            env!("CARGO_PKG_VERSION"),
            format_time(OffsetDateTime::now_utc(), DATE_TIME)
        ),
    };
    Ok(page.render()?)
}

/// Says that rows are missing; empty if none are. Rows from before parts were recorded belong to no
/// part, and rows may have been deleted.
fn missing_rows(run: &Run, report: &Report) -> String {
    match run.rows().saturating_sub(report.rows) {
        0 => String::new(),
        missing if runs::only_part(run).is_some() => format!(
            "{} rows are not shown: they were deleted, or were written by a release that did not \
             record their part. `--part all` shows all rows that are left.",
            count(missing)
        ),
        missing => format!("{} rows are not shown: they were deleted.", count(missing)),
    }
}

fn format_period(report: &Report) -> String {
    let Some((first, last)) = report.period else { return "no row has been written".to_owned() };
    let start = format_time(first, DATE_TIME);
    if report.duration().as_secs() == 0 {
        return format!("{start} UTC");
    }
    let end = format_time(last, if first.date() == last.date() { TIME } else { DATE_TIME });
    format!("{start} – {end} UTC, {}", format_duration(report.duration()))
}

fn figures(run: &Run, report: &Report) -> Vec<Figure> {
    let planned = match run.planned() {
        Some(planned) => format!("of {} planned", count(planned)),
        // Other programs publish into a run without reporting a part.
        None if run.parts.is_empty() => "none planned".to_owned(),
        None => "more may be published".to_owned(),
    };
    // Less than a second, or a single row, has no meaningful rate.
    let seconds = report.duration().as_secs_f64();
    let rate = if seconds < 1.0 { "–".to_owned() } else { rate(report.rows as f64 / seconds) };
    let attempts = match report.attempts {
        1 => "1 attempt".to_owned(),
        attempts => format!("{} attempts", count(attempts)),
    };
    let (failed, rows) = (report.failed(), report.rows);
    vec![
        Figure::new("Rows", count(rows), planned),
        Figure::new("ok", count(report.ok), share(report.ok, rows)),
        Figure::new("Failed", count(failed), share(failed, rows)),
        Figure::new("Rate", rate, "over the whole run".to_owned()),
        Figure::new(
            "Fetch time",
            ms(report.fetch_ms(50.0)),
            format!("median; p95 {}", ms(report.fetch_ms(95.0))),
        ),
        Figure::new("Data", size(report.bytes), attempts),
    ]
}

/// The outcomes, most frequent first. A success always has the first colour.
fn outcomes(report: &Report) -> Vec<OutcomeShare> {
    const COLOURS: usize = 8;
    let mut outcomes: Vec<_> = report.outcomes.iter().collect();
    outcomes.sort_by_key(|(_, rows)| Reverse(**rows));
    let mut failure_colours = (1..COLOURS).chain(std::iter::repeat(COLOURS - 1));
    let row = |(outcome, rows): (&String, &u64)| OutcomeShare {
        name: outcome.clone(),
        count: count(*rows),
        percent: percent(*rows, report.rows),
        share: share(*rows, report.rows),
        colour: match Outcome::is_success_word(outcome) {
            true => 0,
            false => failure_colours.next().unwrap_or_default(),
        },
    };
    outcomes.into_iter().map(row).collect()
}

/// The statuses, most frequent first, then the rows without one.
fn statuses(report: &Report) -> Vec<StatusShare> {
    let mut statuses: Vec<_> =
        report.statuses.iter().map(|(status, rows)| (*status, *rows)).collect();
    statuses.sort_by_key(|(_, rows)| Reverse(*rows));
    let unanswered = report.rows - statuses.iter().map(|(_, rows)| rows).sum::<u64>();
    let most = statuses.iter().map(|(_, rows)| *rows).fold(unanswered, u64::max);
    let row = |(status, rows): (u16, u64)| {
        let known = StatusCode::from_u16(status).ok();
        StatusShare {
            code: status.to_string(),
            name: known.and_then(|known| known.canonical_reason()).unwrap_or_default(),
            count: count(rows),
            bar: bar(rows, most),
            is_good: known.is_some_and(|known| known.is_success()),
        }
    };
    let unanswered = (unanswered > 0).then(|| StatusShare {
        code: "–".to_owned(),
        name: "no response",
        count: count(unanswered),
        bar: bar(unanswered, most),
        is_good: false,
    });
    statuses.into_iter().map(row).chain(unanswered).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fetchline_store::{Change, ChangeKind, ReportRow, Selection};

    use super::sample::row;
    use super::*;

    fn run() -> Run {
        Run {
            selection: Selection::Newest,
            parts: Vec::new(),
            outcomes: BTreeMap::new(),
            products: BTreeMap::new(),
            asked_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn texts_of_sites_are_escaped() {
        let mut report = Report::default();
        let error = "</td><script>alert('x')</script>";
        report.add(&ReportRow {
            outcome: "dns",
            status: None,
            error: Some(error),
            ..row("http://<b>\"&/?<script>")
        });
        let html = render("<i>nightly", &run(), &report, None).unwrap();
        assert!(
            !html.contains("<script") && !html.contains("<b>\"") && !html.contains("<i>nightly"),
            "{html}"
        );
        assert!(html.contains("&#60;script&#62;alert"), "{html}");
    }

    /// A page with one product, and with one change of each kind of a product with this name.
    fn page_of_changes(name: &str) -> String {
        let price = |price: i64| Some((price.into(), Some("EUR".to_owned())));
        let change = |kind| Change {
            kind,
            item: 1,
            name: Some(name.to_owned()),
            category: None,
            source_url: format!("http://a.example/?{name}"),
            old_price: matches!(kind, ChangeKind::PriceUp | ChangeKind::PriceDown)
                .then(|| price(80))
                .flatten(),
            price: price(if kind == ChangeKind::PriceUp { 100 } else { 60 }),
            old_availability: None,
            availability: Some(name.to_owned()),
            at: OffsetDateTime::UNIX_EPOCH,
            source: "page".to_owned(),
        };
        let changes = Changes {
            counts: ChangeKind::ALL.map(|kind| (kind, 1_234)).into(),
            changes: ChangeKind::ALL.map(change).into(),
            is_truncated: false,
        };
        let mut report = Report::default();
        report.add(&ReportRow { product: Some("found"), ..row("http://a.example/") });
        render("nightly", &run(), &report, Some(&changes)).unwrap()
    }

    #[test]
    fn changes_are_shown_with_the_old_and_the_new_price() {
        let html = page_of_changes("Tea");
        for text in ["80.00 EUR", "100.00 EUR", "+25.0 %", "-25.0 %", "Vanished products"] {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(html.contains("1\u{202f}233 more are not"), "{html}");
    }

    #[test]
    fn names_of_products_are_escaped() {
        let html = page_of_changes("<script>alert('x')</script>");
        assert!(!html.contains("<script"), "{html}");
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let mut report = Report::default();
        report.add(&row("http://a.example/1"));
        report.add(&ReportRow {
            outcome: "http_error",
            status: Some(404),
            ..row("http://a.example/2")
        });
        let html = render("nightly", &run(), &report, None).unwrap();
        for reference in ["src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert!(html.contains("http://a.example/2") && html.contains("404"), "{html}");
    }

    #[test]
    fn a_run_without_rows_and_a_run_with_one_row_have_a_page() {
        let empty = render("nightly", &run(), &Report::default(), None).unwrap();
        assert!(
            empty.contains("no rows yet") && !empty.contains("NaN") && !empty.contains("inf"),
            "{empty}"
        );
        let mut report = Report::default();
        report.add(&row("http://a.example/"));
        let single = render("nightly", &run(), &report, None).unwrap();
        assert!(
            single.contains("No URL failed") && !single.contains("NaN") && !single.contains("inf"),
            "{single}"
        );
    }
}
