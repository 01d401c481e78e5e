//! Waits for a run and shows its progress.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use fetchline_queue::Broker;
use fetchline_store::{Part, Run, Store};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::exit::{self, Failure};
use crate::fleet;
use crate::table::format_duration;

/// How often the run is read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often a line is printed if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How many times in a row a run has to be complete while no part report waits in the queue.
const COMPLETE_POLLS: u32 = 2;
/// The rate is measured over this many samples.
const RATE_SAMPLES: usize = 10;

/// How fast the rows of a run are written, by the last samples.
#[derive(Default)]
pub(crate) struct RowRate(VecDeque<(Instant, u64)>);

impl RowRate {
    /// Adds the number of rows at this moment.
    pub(crate) fn sample(&mut self, rows: u64) {
        self.0.push_back((Instant::now(), rows));
        if self.0.len() > RATE_SAMPLES {
            self.0.pop_front();
        }
    }

    /// Rows per second; `None` before the second sample.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let ((start, rows_before), (end, rows)) = (self.0.front()?, self.0.back()?);
        let seconds = (*end - *start).as_secs_f64();
        (seconds > 0.0).then(|| rows.saturating_sub(*rows_before) as f64 / seconds)
    }

    /// The time for the remaining rows at this rate; `None` if no rows are written.
    pub(crate) fn time_left(&self, remaining: u64) -> Option<Duration> {
        let rate = self.per_second().filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(remaining as f64 / rate).ok()
    }
}

/// The last state of a run that was waited for.
pub(crate) struct Observation {
    /// `None` if the database did not answer.
    pub(crate) run: Option<Run>,
    pub(crate) rate: RowRate,
    /// Whether the run is complete, and no part report waits.
    pub(crate) is_complete: bool,
}

/// Shows a run until it is complete or `limit` is over. An unavailable database is waited for, so
/// an error is one that waiting does not cure.
pub(crate) async fn wait_until_complete(
    store: &Store,
    broker: &Broker,
    name: &str,
    limit: Option<Duration>,
) -> Result<Observation, Failure> {
    // A time beyond what an instant can hold is no limit.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut display = Display::new(name);
    let mut rate = RowRate::default();
    let mut is_schema_checked = false;
    let mut complete_polls = 0;
    loop {
        let poll = async {
            if !is_schema_checked {
                store.check_schema().await?;
                is_schema_checked = true;
            }
            store.run(name).await
        };
        let run = match poll.await {
            Ok(run) => {
                rate.sample(run.rows());
                display.show(&run, &rate);
                Some(run)
            }
            Err(error) if error.is_configuration() => return Err(Failure::usage(error)),
            Err(error) => {
                let problem = format!("{:#}", anyhow::Error::new(error));
                display.print(State::Unavailable, &problem);
                None
            }
        };
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        // A name may be used again, so the report of a new part may be on its way to the database.
        let is_complete = run.as_ref().is_some_and(Run::is_complete);
        let is_settled = is_complete && !has_part_reports(broker).await;
        complete_polls = if is_settled { complete_polls + 1 } else { 0 };
        let is_complete = complete_polls >= COMPLETE_POLLS;
        if is_over || is_complete {
            display.finish();
            return Ok(Observation { run, rate, is_complete });
        }
        let next = Instant::now() + POLL_INTERVAL;
        tokio::time::sleep_until(deadline.map_or(next, |deadline| deadline.min(next))).await;
    }
}

/// Whether part reports wait in the queue. If the broker does not answer, the database decides.
async fn has_part_reports(broker: &Broker) -> bool {
    fleet::has_part_reports(broker).await.unwrap_or(false)
}

/// What is known of a run. A new state is printed at once, other changes once per interval.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The database does not answer.
    Unavailable,
    /// The number of tasks is not known yet.
    Open,
    /// The number of tasks is known.
    Planned,
}

/// Shows a run as a bar, or as lines if there is no terminal.
struct Display<'a> {
    name: &'a str,
    bar: Option<ProgressBar>,
    last_line: Option<(Instant, State)>,
}

impl<'a> Display<'a> {
    fn new(name: &'a str) -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        Self { name, bar, last_line: None }
    }

    fn show(&mut self, run: &Run, rate: &RowRate) {
        if let (Some(bar), Some(planned)) = (&self.bar, run.planned()) {
            bar.set_length(planned);
            bar.set_position(planned.saturating_sub(run.remaining().unwrap_or(planned)));
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
        }
        let state = if run.planned().is_some() { State::Planned } else { State::Open };
        self.print(state, &describe(run, rate));
    }

    fn print(&mut self, state: State, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {text}", self.name));
            bar.tick();
            return;
        }
        let is_due =
            self.last_line.is_none_or(|(at, last)| last != state || at.elapsed() >= LINE_INTERVAL);
        if is_due {
            exit::tell(format_args!("{}: {text}", self.name));
            self.last_line = Some((Instant::now(), state));
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Describes a run in one line.
pub(crate) fn describe(run: &Run, rate: &RowRate) -> String {
    if !run.is_known() {
        return "no worker has reported this run yet".to_owned();
    }
    let (rows, ok) = (run.rows(), run.succeeded());
    let per_second = rate.per_second().map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
    let text = match run.planned() {
        Some(planned) => {
            let left = run.remaining().and_then(|remaining| rate.time_left(remaining));
            let left = left.map(|left| format!(", {} left", format_duration(left)));
            let left = left.unwrap_or_default();
            format!("{rows} of {planned} rows, {} failed{per_second}{left}", rows - ok)
        }
        None => format!("{rows} rows, {} failed{per_second}", rows - ok),
    };
    let open = run.parts.iter().filter(|part| part.is_open()).min_by_key(|part| part.created_at);
    match open {
        Some(Part { part, created_at, .. }) => {
            let age = (run.asked_at - *created_at).try_into().unwrap_or_default();
            format!("{text}; part {part} has been open for {}", format_duration(age))
        }
        None if run.parts.is_empty() => format!("{text}; it has no parts"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_samples() {
        let mut rate = RowRate::default();
        rate.sample(0);
        assert_eq!((rate.per_second(), rate.time_left(10)), (None, None));
        for rows in [0, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900] {
            tokio::time::advance(Duration::from_secs(1)).await;
            rate.sample(rows);
        }
        assert_eq!(rate.per_second(), Some(100.0));
        assert_eq!(rate.time_left(1_000), Some(Duration::from_secs(10)));
    }
}
