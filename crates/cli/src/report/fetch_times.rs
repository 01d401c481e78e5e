//! The chart of fetch times, on a logarithmic axis.

use fetchline_store::Report;

use super::chart::{SIDE, Tick, round};
use super::numbers::{count, ms};

/// Columns between a time and ten times as much.
const COLUMNS_PER_DECADE: u32 = 5;
/// Columns, at least, so that a single one does not fill the width.
const MIN_COLUMNS: usize = 8;
/// The height of a column, at least, so that one fetch of millions is visible.
const MIN_HEIGHT: f64 = 6.0;

/// How many fetches took how long.
pub(super) struct FetchTimes {
    pub(super) label: String,
    pub(super) most: String,
    pub(super) columns: Vec<Column>,
    pub(super) marks: Vec<Mark>,
    pub(super) ticks: Vec<Tick>,
    pub(super) percentiles: Vec<(&'static str, String)>,
}

pub(super) struct Column {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) label: String,
}

/// A percentile in the drawing.
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) name: &'static str,
    pub(super) text: String,
    /// The line of its text. Each mark has its own, so that texts do not overlap.
    pub(super) line: usize,
    /// Whether its text is on its left, where there is more room.
    pub(super) is_left: bool,
}

/// The fetches per column of the visible part of the axis.
struct Histogram {
    /// The number of the first visible column.
    first: usize,
    counts: Vec<u64>,
}

impl FetchTimes {
    /// `None` if nothing was fetched.
    pub(super) fn draw(report: &Report) -> Option<Self> {
        let histogram = Histogram::count(report)?;
        let percentile = |percent: f64| ms(report.fetch_ms(percent));
        let marks = [("p50", 50.0), ("p95", 95.0), ("p99", 99.0)].into_iter().enumerate().map(
            |(line, (name, percent))| {
                let at = histogram.position(report.fetch_ms(percent).unwrap_or_default());
                Mark { at, name, text: percentile(percent), line, is_left: at > 55.0 }
            },
        );
        Some(Self {
            label: format!(
                "Fetches by their time: half of them took at most {}, 95 % at most {}",
                percentile(50.0),
                percentile(95.0)
            ),
            most: count(histogram.most()),
            columns: histogram.columns(),
            marks: marks.collect(),
            ticks: histogram.ticks(),
            percentiles: [
                ("p50", 50.0),
                ("p90", 90.0),
                ("p95", 95.0),
                ("p99", 99.0),
                ("Longest", 100.0),
            ]
            .map(|(name, percent)| (name, percentile(percent)))
            .into(),
        })
    }
}

impl Histogram {
    fn count(report: &Report) -> Option<Self> {
        let longest = report.fetch_ms(100.0)?;
        let mut counts: Vec<u64> = Vec::new();
        let mut from = 0;
        for column in 1.. {
            let below = column_start(column);
            counts.push(report.fetches_within(from, below));
            from = below;
            if below > longest {
                break;
            }
        }
        let first_filled = counts.iter().position(|count| *count > 0)?;
        // A few columns get empty ones on both sides. There is none before the column of 0 ms.
        let missing = MIN_COLUMNS.saturating_sub(counts.len() - first_filled);
        let first = first_filled.saturating_sub(missing / 2);
        counts.resize(counts.len().max(first + MIN_COLUMNS), 0);
        Some(Self { first, counts: counts.split_off(first) })
    }

    fn most(&self) -> u64 {
        self.counts.iter().copied().max().unwrap_or(1).max(1)
    }

    /// The position of a time in percent.
    fn position(&self, ms: u64) -> f64 {
        let column = column_of(ms) - self.first as f64;
        round((100.0 * column / self.counts.len() as f64).clamp(0.0, 100.0))
    }

    fn columns(&self) -> Vec<Column> {
        let width = SIDE / self.counts.len() as f64;
        let columns = (0_u32..).zip(&self.counts).filter(|(_, fetches)| **fetches > 0);
        let draw = |(index, fetches): (u32, &u64)| {
            let column = index + self.first as u32;
            let from = if column == 0 { 0 } else { column_start(column) };
            let below = column_start(column + 1);
            let height = (SIDE * *fetches as f64 / self.most() as f64).max(MIN_HEIGHT);
            Column {
                x: round(f64::from(index) * width + width * 0.06),
                y: round(SIDE - height),
                width: round(width * 0.88),
                height: round(height),
                label: format!(
                    "from {} to below {}: {}",
                    ms(Some(from)),
                    ms(Some(below)),
                    count(*fetches)
                ),
            }
        };
        columns.map(draw).collect()
    }

    fn ticks(&self) -> Vec<Tick> {
        let (left, right) = (self.first as f64, (self.first + self.counts.len()) as f64);
        [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]
            .into_iter()
            .filter(|tick| column_of(*tick).round() >= left && column_of(*tick) <= right)
            .map(|tick| Tick {
                at: self.position(tick),
                text: match tick {
                    tick if tick < 1_000 => ms(Some(tick)),
                    tick => format!("{} s", count(tick / 1_000)),
                },
            })
            .collect()
    }
}

/// The column of a time in milliseconds, with fractions.
fn column_of(ms: u64) -> f64 {
    (ms.max(1) as f64).log10() * f64::from(COLUMNS_PER_DECADE)
}

/// The start of a column in milliseconds; that of the first one is 0 instead.
fn column_start(column: u32) -> u64 {
    10_f64.powf(f64::from(column) / f64::from(COLUMNS_PER_DECADE)).round() as u64
}

#[cfg(test)]
mod tests {
    use fetchline_store::ReportRow;

    use super::*;
    use crate::report::sample::row;

    #[test]
    fn columns_hold_every_fetch_and_stay_inside() {
        for elapsed in [
            &[0, 9, 10, 19, 20, 999, 1_000, 60_000][..],
            &[0],
            &[3_600_000],
            &[100; 8],
            &[158, 159],
        ] {
            let mut report = Report::default();
            for elapsed_ms in elapsed {
                report.add(&ReportRow { elapsed_ms: *elapsed_ms, ..row("http://a.example/") });
            }
            let times = FetchTimes::draw(&report).unwrap();
            let counts = times
                .columns
                .iter()
                .filter_map(|column| column.label.rsplit_once(": ")?.1.parse::<usize>().ok());
            assert_eq!(counts.sum::<usize>(), elapsed.len(), "{elapsed:?}");
            let is_inside = |column: &Column| {
                column.x >= 0.0 && column.x + column.width <= SIDE && column.y >= 0.0
            };
            assert!(times.columns.iter().all(is_inside), "{elapsed:?}");
        }
        assert!(FetchTimes::draw(&Report::default()).is_none());
    }

    #[test]
    fn a_percentile_is_marked_inside_the_column_that_holds_it() {
        let mut report = Report::default();
        for elapsed_ms in (1..=1_000).map(|number| number * 3) {
            report.add(&ReportRow { elapsed_ms, ..row("http://a.example/") });
        }
        let times = FetchTimes::draw(&report).unwrap();
        for (mark, expected_ms) in times.marks.iter().zip([1_500, 2_850, 2_970]) {
            let at = mark.at * SIDE / 100.0;
            let column = times.columns.iter().rfind(|column| column.x <= at).unwrap();
            let range = column.label.replace("from ", "");
            let parse_ms = |text: &str| {
                text.trim().trim_end_matches(" s").parse::<f64>().ok().map(|s| (s * 1_000.0) as u64)
            };
            let (from, rest) = range.split_once(" to below ").unwrap();
            let below = rest.split_once(':').unwrap().0;
            let (from, below) = (parse_ms(from).unwrap(), parse_ms(below).unwrap());
            assert!((from..below).contains(&expected_ms), "{} {}", mark.text, column.label);
        }
    }
}
