//! The drawings of a report. Each is 1000 wide.

use fetchline_store::Report;
use indicatif::HumanCount;
use time::OffsetDateTime;

use super::{TIME_OF_DAY, ms, text};

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
/// URLs per second over time.
pub(super) struct Throughput {
    pub(super) label: String,
    pub(super) grid: Vec<Line>,
    pub(super) area: String,
    pub(super) edge: String,
    pub(super) begin: String,
    pub(super) end: String,
}

pub(super) struct Line {
    pub(super) y: i32,
    pub(super) text: String,
}

pub(super) struct Times {
    pub(super) label: String,
    pub(super) columns: Vec<Column>,
    pub(super) percentiles: String,
}

pub(super) struct Column {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) middle: i32,
    pub(super) count: String,
    pub(super) name: &'static str,
    pub(super) label: String,
}

/// Draws the throughput.
pub(super) fn throughput(report: &Report) -> Throughput {
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

/// Draws the fetch times.
pub(super) fn times(report: &Report) -> Times {
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

#[cfg(test)]
mod tests {
    use fetchline_store::Reported;

    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 3.0, 1_200.0, 2_000.0, 99.0].map(nice), [0.1, 5.0, 2_000.0, 2_000.0, 100.0]);
    }

    #[test]
    fn columns_of_fetch_times_hold_every_fetch() {
        let mut report = Report::default();
        for elapsed_ms in [0, 9, 10, 19, 20, 999, 1_000, 60_000] {
            report.take(&Reported { elapsed_ms, ..super::super::tests::row("http://a.example/") });
        }
        let counts: u64 = times(&report).columns.iter().filter_map(|column| column.count.parse::<u64>().ok()).sum();
        assert_eq!(counts, 8);
    }
}
