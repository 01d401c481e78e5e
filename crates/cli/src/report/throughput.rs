//! The chart of rows per second over time.

use fetchline_store::{Report, Span};
use time::OffsetDateTime;

use super::chart::{SIDE, Tick, round};
use super::numbers::{rate, rate_beside};
use super::time_format::{DATE, HOUR_MINUTE, TIME, format_time};

/// The texts of the time axis, at most.
const MAX_TICKS: i64 = 6;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Rows per second over time. `area`, `edge` and `failed` are SVG paths.
pub(super) struct Throughput {
    pub(super) label: String,
    pub(super) rates: Vec<Tick>,
    pub(super) hours: Vec<Tick>,
    pub(super) area: String,
    pub(super) edge: String,
    /// Empty if no row failed.
    pub(super) failed: String,
}

impl Throughput {
    pub(super) fn draw(report: &Report) -> Self {
        let spans = report.throughput();
        let rates: Vec<f64> = spans.iter().map(|span| span.rows as f64 / seconds(span)).collect();
        let failed: Vec<f64> =
            spans.iter().map(|span| span.failed as f64 / seconds(span)).collect();
        let highest = rates.iter().copied().fold(0.0, f64::max);
        let top = next_round_number(highest);
        let duration: f64 = spans.iter().map(seconds).sum();
        let steps = |rates: &[f64]| draw_steps(&spans, rates, top, duration);
        let edge = steps(&rates);
        Self {
            label: format!("Rows over time, {} at most", rate(highest)),
            rates: [1.0, 0.5, 0.0]
                .map(|part| Tick { at: 100.0 - 100.0 * part, text: rate_beside(top * part, top) })
                .into(),
            hours: report
                .period
                .map(|(start, _)| time_ticks(start, duration as i64))
                .unwrap_or_default(),
            area: fill(&edge),
            edge,
            failed: if report.failed() > 0 { fill(&steps(&failed)) } else { String::new() },
        }
    }
}

fn seconds(span: &Span) -> f64 {
    span.duration.as_secs_f64().max(1.0)
}

/// A path with one horizontal step per span, so that a single span is visible too.
fn draw_steps(spans: &[Span], rates: &[f64], top: f64, duration: f64) -> String {
    let (mut path, mut start) = (String::new(), 0.0);
    for (span, rate) in spans.iter().zip(rates) {
        let end = start + seconds(span);
        let y = round(SIDE - SIDE * rate / top);
        let command = if path.is_empty() { 'M' } else { 'L' };
        let (left, right) = (round(SIDE * start / duration), round(SIDE * end / duration));
        path.push_str(&format!("{command}{left} {y}L{right} {y}"));
        start = end;
    }
    path
}

/// Closes a path at the bottom.
fn fill(edge: &str) -> String {
    if edge.is_empty() { String::new() } else { format!("{edge}L{SIDE} {SIDE}L0 {SIDE}Z") }
}

/// Round times of day within `duration` seconds.
fn time_ticks(start: OffsetDateTime, duration: i64) -> Vec<Tick> {
    let start_second = start.unix_timestamp();
    let step = tick_step(duration);
    let first = start_second + (step - start_second.rem_euclid(step)).rem_euclid(step);
    let tick = |second: i64| {
        let at = start + time::Duration::seconds(second - start_second);
        let format = match step {
            _ if second.rem_euclid(DAY) == 0 => DATE,
            step if step < MINUTE => TIME,
            _ => HOUR_MINUTE,
        };
        Tick {
            at: round(100.0 * (second - start_second) as f64 / duration as f64),
            text: format_time(at, format),
        }
    };
    (0..=MAX_TICKS)
        .map(|index| first + index * step)
        .take_while(|second| *second <= start_second + duration)
        .map(tick)
        // A text at the right edge would reach beyond the page.
        .filter(|tick| tick.at <= 95.0)
        .collect()
}

/// The seconds between two ticks.
fn tick_step(duration: i64) -> i64 {
    let units = [1, 2, 5, 10, 15, 30];
    let mut steps = units
        .into_iter()
        .chain(units.map(|minutes| minutes * MINUTE))
        .chain([1, 2, 3, 6, 12].map(|hours| hours * HOUR))
        .chain([1, 2, 7].map(|days| days * DAY));
    let step = steps.find(|step| duration / step < MAX_TICKS);
    step.unwrap_or(duration / MAX_TICKS / DAY * DAY + DAY)
}

/// The smallest number with one digit 1, 2 or 5 that is not below `number`.
fn next_round_number(number: f64) -> f64 {
    let number = number.max(1e-6);
    let power = 10_f64.powf(number.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round >= number)
        .unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        let tops = [3.0, 1_200.0, 2_000.0, 99.0].map(next_round_number);
        assert_eq!(tops, [5.0, 2_000.0, 2_000.0, 100.0]);
        assert!(next_round_number(0.0) > 0.0 && next_round_number(0.02) < 0.1);
    }

    #[test]
    fn ticks_are_few_and_at_round_times_within_the_run() {
        for duration in [1, 7, 59, 222, 3_600, 86_400, 5 * 86_400, 400 * 86_400] {
            let start = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(1_795_572_601);
            let ticks = time_ticks(start, duration);
            assert!(ticks.len() <= MAX_TICKS as usize + 1, "{duration}: {}", ticks.len());
            assert!(!ticks.is_empty() || duration == 1, "{duration}");
            assert!(ticks.iter().all(|tick| (0.0..=100.0).contains(&tick.at)), "{duration}");
        }
        let start = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(23 * 3_600);
        let ticks: Vec<_> =
            time_ticks(start, 7_200).into_iter().map(|tick| (tick.at, tick.text)).collect();
        assert_eq!(ticks[0], (0.0, "23:00".to_owned()));
        assert!(ticks.contains(&(50.0, "2 Jan".to_owned())), "{ticks:?}");
    }
}
