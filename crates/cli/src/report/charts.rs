//! The drawings of a report. Shapes are drawn in a space of 1000 by 1000 that is stretched to its place; texts stand beside
//! them in HTML, at so many of 100, and so are never stretched.

use fetchline_store::Report;
use time::macros::format_description;

use super::numbers::{count, ms, percent, rate, rate_beside};
use super::{TIME_OF_DAY, text};

const SIDE: f64 = 1_000.0;
/// Columns of fetch times between a time and ten times as much.
const COLUMNS_PER_DECADE: u32 = 5;
/// Columns at least, so that a single one does not fill the width.
const LEAST_COLUMNS: usize = 8;
/// Texts below the throughput at most.
const MOST_TICKS: i64 = 6;

/// A text beside a drawing.
pub(super) struct Tick {
    /// Of 100, from the left or from the top.
    pub(super) at: f64,
    pub(super) text: String,
}

/// Rows per second over time.
pub(super) struct Throughput {
    pub(super) label: String,
    pub(super) rates: Vec<Tick>,
    pub(super) hours: Vec<Tick>,
    pub(super) area: String,
    pub(super) edge: String,
    /// Empty where nothing failed.
    pub(super) failed: String,
}

/// How many fetches took how long. The axis is logarithmic.
pub(super) struct Times {
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
    /// Which line of text it is on, so that no two meet.
    pub(super) line: usize,
    /// Whether its text stands at the left of it, where there is room.
    pub(super) is_left: bool,
}

/// To a hundredth: more is not seen.
fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Draws the throughput.
pub(super) fn throughput(report: &Report) -> Throughput {
    let spans = report.throughput();
    let seconds = |span: &fetchline_store::Span| span.long.as_secs_f64().max(1.0);
    let rates: Vec<f64> = spans.iter().map(|span| span.rows as f64 / seconds(span)).collect();
    let failures: Vec<f64> = spans.iter().map(|span| span.failed as f64 / seconds(span)).collect();
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let most = nice(highest);
    let long: f64 = spans.iter().map(seconds).sum();
    // A span is a step of the line, so that one alone is seen as well.
    let steps = |rates: &[f64]| {
        let (mut path, mut begin) = (String::new(), 0.0);
        for (span, rate) in spans.iter().zip(rates) {
            let end = begin + seconds(span);
            let y = round(SIDE - SIDE * rate / most);
            let to = if path.is_empty() { 'M' } else { 'L' };
            path.push_str(&format!("{to}{} {y}L{} {y}", round(SIDE * begin / long), round(SIDE * end / long)));
            begin = end;
        }
        path
    };
    let filled = |edge: &str| if edge.is_empty() { String::new() } else { format!("{edge}L{SIDE} {SIDE}L0 {SIDE}Z") };
    let edge = steps(&rates);
    Throughput {
        label: format!("Rows over time, {} at most", rate(highest)),
        rates: [1.0, 0.5, 0.0]
            .map(|part| Tick { at: 100.0 - 100.0 * part, text: rate_beside(most * part, most) })
            .into(),
        hours: report.period.map(|(begin, _)| hours(begin, long as i64)).unwrap_or_default(),
        area: filled(&edge),
        edge,
        failed: if report.failed() > 0 { filled(&steps(&failures)) } else { String::new() },
    }
}

/// Round times of day within so many seconds.
fn hours(begin: time::OffsetDateTime, long: i64) -> Vec<Tick> {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let from = begin.unix_timestamp();
    let steps = [1, 2, 5, 10, 15, 30].into_iter();
    let steps = steps.chain([1, 2, 5, 10, 15, 30].map(|minutes| minutes * MINUTE));
    let mut steps = steps.chain([1, 2, 3, 6, 12].map(|hours| hours * HOUR)).chain([1, 2, 7].map(|days| days * DAY));
    let step = steps.find(|step| long / step < MOST_TICKS).unwrap_or(long / MOST_TICKS / DAY * DAY + DAY);
    let first = from.div_euclid(step) * step + if from.rem_euclid(step) == 0 { 0 } else { step };
    let tick = |at: i64| {
        let moment = begin + time::Duration::seconds(at - from);
        let text = match step {
            _ if at.rem_euclid(DAY) == 0 => text(moment, format_description!("[day padding:none] [month repr:short]")),
            step if step < MINUTE => text(moment, TIME_OF_DAY),
            _ => text(moment, format_description!("[hour]:[minute]")),
        };
        Tick { at: round(100.0 * (at - from) as f64 / long as f64), text }
    };
    let ticks = (0..=MOST_TICKS).map(|index| first + index * step).take_while(|at| *at <= from + long).map(tick);
    // A text at the right edge would stand out of the page.
    ticks.filter(|tick| tick.at <= 95.0).collect()
}

/// The next number that begins with 1, 2 or 5.
fn nice(number: f64) -> f64 {
    let number = number.max(1e-6);
    let power = 10_f64.powf(number.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|nice| *nice >= number).unwrap_or(number)
}

/// Where a column begins, in milliseconds; the first one begins at 0.
fn begins(column: u32) -> f64 {
    10_f64.powf(f64::from(column) / f64::from(COLUMNS_PER_DECADE))
}

/// Draws the fetch times; `None` where nothing was fetched.
pub(super) fn times(report: &Report) -> Option<Times> {
    let longest = report.fetch_ms(100.0)?;
    let mut counts: Vec<u64> = Vec::new();
    let mut from = 0;
    for column in 1.. {
        let below = begins(column).round() as u64;
        counts.push(report.fetches_within(from, below));
        from = below;
        if below > longest {
            break;
        }
    }
    let filled = counts.iter().position(|count| *count > 0)?;
    // Few columns are given empty ones at both sides; there is none before the first.
    let room = LEAST_COLUMNS.saturating_sub(counts.len() - filled);
    let first = filled.saturating_sub(room / 2);
    counts.resize(counts.len().max(first + LEAST_COLUMNS), 0);
    let shown = &counts[first..];
    let (left, right) = (first as f64, counts.len() as f64);
    let at = |ms: u64| {
        let column = (ms.max(1) as f64).log10() * f64::from(COLUMNS_PER_DECADE);
        round((100.0 * (column - left) / (right - left)).clamp(0.0, 100.0))
    };
    let most = shown.iter().copied().max().unwrap_or(1).max(1);
    let width = SIDE / shown.len() as f64;
    let columns = (0_u32..).zip(shown).filter(|(_, fetches)| **fetches > 0).map(|(index, fetches)| {
        let column = index + first as u32;
        let from = if column == 0 { 0 } else { begins(column).round() as u64 };
        let below = begins(column + 1).round() as u64;
        // So high that a single one of millions is seen.
        let height = (SIDE * *fetches as f64 / most as f64).max(6.0);
        Column {
            x: round(f64::from(index) * width + width * 0.06),
            y: round(SIDE - height),
            width: round(width * 0.88),
            height: round(height),
            label: format!("from {} to below {}: {}", ms(Some(from)), ms(Some(below)), count(*fetches)),
        }
    });
    let told = |percent: f64| ms(report.fetch_ms(percent));
    let marks = [("p50", 50.0), ("p95", 95.0), ("p99", 99.0)].into_iter().enumerate().map(|(line, (name, percent))| {
        let at = at(report.fetch_ms(percent).unwrap_or_default());
        Mark { at, name, text: told(percent), line, is_left: at > 55.0 }
    });
    Some(Times {
        label: format!("Fetches by their time: half of them took at most {}, 95 % {}", told(50.0), told(95.0)),
        most: count(most),
        columns: columns.collect(),
        marks: marks.collect(),
        ticks: [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]
            .into_iter()
            .filter(|ms| ((*ms as f64).log10() * f64::from(COLUMNS_PER_DECADE)).round() >= left)
            .filter(|ms| (*ms as f64).log10() * f64::from(COLUMNS_PER_DECADE) <= right)
            .map(|tick| Tick {
                at: at(tick),
                text: if tick < 1_000 { ms(Some(tick)) } else { format!("{} s", count(tick / 1_000)) },
            })
            .collect(),
        percentiles: [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("Longest", 100.0)]
            .map(|(name, percent)| (name, told(percent)))
            .into(),
    })
}

/// How much of a bar is filled, so little of it as there may be.
pub(super) fn bar(part: u64, whole: u64) -> f64 {
    if part == 0 { 0.0 } else { percent(part, whole).max(0.5) }
}

#[cfg(test)]
mod tests {
    use fetchline_store::Reported;
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([3.0, 1_200.0, 2_000.0, 99.0].map(nice), [5.0, 2_000.0, 2_000.0, 100.0]);
        assert!(nice(0.0) > 0.0 && nice(0.02) < 0.1);
    }

    #[test]
    fn columns_of_fetch_times_hold_every_fetch_and_stay_inside() {
        for times_of_fetches in
            [&[0, 9, 10, 19, 20, 999, 1_000, 60_000][..], &[0], &[3_600_000], &[100; 8], &[158, 159]]
        {
            let mut report = Report::default();
            for elapsed_ms in times_of_fetches {
                report.take(&Reported { elapsed_ms: *elapsed_ms, ..super::super::tests::row("http://a.example/") });
            }
            let times = times(&report).unwrap();
            let counts =
                times.columns.iter().filter_map(|column| column.label.rsplit_once(": ")?.1.parse::<usize>().ok());
            assert_eq!(counts.sum::<usize>(), times_of_fetches.len(), "{times_of_fetches:?}");
            let inside = |column: &Column| column.x >= 0.0 && column.x + column.width <= SIDE && column.y >= 0.0;
            assert!(times.columns.iter().all(inside), "{times_of_fetches:?}");
        }
        assert!(times(&Report::default()).is_none());
    }

    #[test]
    fn a_percentile_is_marked_inside_the_column_that_holds_it() {
        let mut report = Report::default();
        for elapsed_ms in (1..=1_000).map(|turn| turn * 3) {
            report.take(&Reported { elapsed_ms, ..super::super::tests::row("http://a.example/") });
        }
        let times = times(&report).unwrap();
        for (mark, fetches) in times.marks.iter().zip([1_500, 2_850, 2_970]) {
            let at = mark.at * SIDE / 100.0;
            let column = times.columns.iter().rfind(|column| column.x <= at).unwrap();
            let ends = column.label.replace("from ", "");
            let seconds =
                |text: &str| text.trim().trim_end_matches(" s").parse::<f64>().ok().map(|s| (s * 1_000.0) as u64);
            let (from, rest) = ends.split_once(" to below ").unwrap();
            let below = rest.split_once(':').unwrap().0;
            let (from, below) = (seconds(from).unwrap(), seconds(below).unwrap());
            assert!((from..below).contains(&fetches), "{} {}", mark.text, column.label);
        }
    }

    #[test]
    fn ticks_are_round_times_inside_of_the_run_and_few() {
        for long in [1, 7, 59, 222, 3_600, 86_400, 5 * 86_400, 400 * 86_400] {
            let begin = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(1_795_572_601);
            let ticks = hours(begin, long);
            assert!(ticks.len() <= MOST_TICKS as usize + 1, "{long}: {}", ticks.len());
            assert!(!ticks.is_empty() || long == 1, "{long}");
            assert!(ticks.iter().all(|tick| (0.0..=100.0).contains(&tick.at)), "{long}");
        }
        let begin = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(23 * 3_600);
        let told: Vec<_> = hours(begin, 7_200).into_iter().map(|tick| (tick.at, tick.text)).collect();
        assert_eq!(told[0], (0.0, "23:00".to_owned()));
        assert!(told.contains(&(50.0, "2 Jan".to_owned())), "{told:?}");
    }
}
