//! Waits for a run and shows its progress.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use fetchline_queue::Broker;
use fetchline_store::{Error, Part, Run, Selection, Store};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::exit::{self, Failure};
use crate::fleet;
use crate::runs;
use crate::table::format_duration;

/// How often the run is read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often a line is printed if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the broker may take to count the part reports in its queue.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first look may take, whatever the limit: `--for 0s` asks for the present state.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many times in a row a run has to be complete while no part report waits in the queue.
const COMPLETE_POLLS: u32 = 2;
/// The rate is measured over this many samples.
const RATE_SAMPLES: usize = 10;

/// How fast the rows of a run are written, by the last samples.
#[derive(Default)]
pub(crate) struct RowRate {
    /// The part that the samples are of.
    part: Option<String>,
    samples: VecDeque<(Instant, u64)>,
}

impl RowRate {
    /// Adds the number of rows at this moment. The rate starts over with each new part.
    pub(crate) fn sample(&mut self, run: &Run) {
        let part = runs::only_part(run);
        if self.part.as_deref() != part {
            self.part = part.map(str::to_owned);
            self.samples.clear();
        }
        self.add(run.rows());
    }

    fn add(&mut self, rows: u64) {
        self.samples.push_back((Instant::now(), rows));
        if self.samples.len() > RATE_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Rows per second; `None` before the second sample.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let ((start, rows_before), (end, rows)) = (self.samples.front()?, self.samples.back()?);
        let seconds = (*end - *start).as_secs_f64();
        (seconds > 0.0).then(|| rows.saturating_sub(*rows_before) as f64 / seconds)
    }

    /// The time for the remaining rows at this rate; `None` if no rows are written.
    pub(crate) fn time_left(&self, remaining: u64) -> Option<Duration> {
        let rate = self.per_second().filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(remaining as f64 / rate).ok()
    }
}

/// What is waited for, and for how long.
pub(crate) struct Wait<'a> {
    /// The name of the run.
    pub(crate) name: &'a str,
    pub(crate) selection: &'a Selection,
    /// The newest part counts if it was published within this time, or was seen under way.
    pub(crate) since: Duration,
    pub(crate) limit: Option<Duration>,
}

/// The last state of a run that was waited for.
pub(crate) struct Observation {
    /// `None` if the database did not answer.
    pub(crate) run: Option<Run>,
    pub(crate) rate: RowRate,
    /// Why the run is not complete, or why that is not known; `None` if it is complete.
    pub(crate) obstacle: Option<String>,
}

/// Shows a run until it is complete or the limit is over. An unavailable database or broker is
/// waited for, so an error is one that waiting does not cure.
pub(crate) async fn wait_until_complete(
    store: &Store,
    broker: &Broker,
    wait: &Wait<'_>,
) -> Result<Observation, Failure> {
    // A time beyond what an instant can hold is no limit.
    let deadline = wait.limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut display = Display::new(wait.name);
    let mut rate = RowRate::default();
    let mut judge = Judge { wait, broker, under_way: None, complete_polls: 0 };
    let mut is_schema_checked = false;
    let (mut last_run, mut last_text) = (None, None);
    loop {
        // The first look, and the one that confirms what the one before saw, may take longer.
        let is_owed = last_text.is_none() || judge.is_confirming();
        let patience = is_owed.then(|| Instant::now() + PATIENCE);
        let poll_deadline =
            deadline.map(|deadline| patience.map_or(deadline, |it| it.max(deadline)));
        let poll = async {
            if !is_schema_checked {
                store.check_schema().await?;
                is_schema_checked = true;
            }
            let run = store.run(wait.name, wait.selection).await?;
            rate.sample(&run);
            let run = last_run.insert(run);
            Ok::<_, Error>(judge.obstacle(run, &rate).await)
        };
        let obstacle = match before(poll_deadline, poll).await {
            Some(Ok(obstacle)) => obstacle,
            Some(Err(error)) if error.is_configuration() => return Err(Failure::usage(error)),
            Some(Err(error)) => {
                judge.complete_polls = 0;
                let text = exit::chain(&error);
                Some(Obstacle { state: State::Unavailable, text })
            }
            // The time is over. What is known was known before this poll.
            None => {
                judge.complete_polls = 0;
                let silent = || "the database or the broker does not answer".to_owned();
                let text = last_text.take().unwrap_or_else(silent);
                Some(Obstacle { state: State::Unavailable, text })
            }
        };
        last_text = obstacle.as_ref().map(|obstacle| obstacle.text.clone());
        display.show(last_run.as_ref(), obstacle.as_ref());
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        let is_over = is_over && !judge.is_confirming();
        if is_over || obstacle.is_none() {
            display.finish();
            let obstacle = obstacle.map(|obstacle| obstacle.text);
            return Ok(Observation { run: last_run, rate, obstacle });
        }
        let next = Instant::now() + POLL_INTERVAL;
        let wake = deadline.filter(|_| !judge.is_confirming());
        tokio::time::sleep_until(wake.map_or(next, |deadline| deadline.min(next))).await;
    }
}

/// Awaits a future until the deadline; `None` if it is not ready by then.
async fn before<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// Why a run is not complete, or why that is not known.
struct Obstacle {
    state: State,
    text: String,
}

/// Says whether a run is complete. What is not known is not complete.
struct Judge<'a> {
    wait: &'a Wait<'a>,
    broker: &'a Broker,
    /// The newest part that was seen when it was not complete.
    under_way: Option<String>,
    complete_polls: u32,
}

impl Judge<'_> {
    async fn obstacle(&mut self, run: &Run, rate: &RowRate) -> Option<Obstacle> {
        let obstacle = self.find_obstacle(run, rate).await;
        if obstacle.is_some() {
            self.complete_polls = 0;
            return obstacle;
        }
        self.complete_polls += 1;
        // A worker may be about to write a report that it has just taken from the queue.
        let is_settled = self.complete_polls >= COMPLETE_POLLS || self.is_fixed();
        (!is_settled).then(|| Obstacle { state: State::Planned, text: describe(run, rate) })
    }

    /// Whether the last look found the run complete, and another one has to confirm that.
    fn is_confirming(&self) -> bool {
        (1..COMPLETE_POLLS).contains(&self.complete_polls) && !self.is_fixed()
    }

    /// Whether a part is waited for that is named, so that no newer one matters.
    fn is_fixed(&self) -> bool {
        matches!(self.wait.selection, Selection::Part(_))
    }

    async fn find_obstacle(&mut self, run: &Run, rate: &RowRate) -> Option<Obstacle> {
        if !run.is_complete() {
            self.under_way = runs::only_part(run).map(str::to_owned);
            let state = if run.planned().is_some() { State::Planned } else { State::Open };
            return Some(Obstacle { state, text: describe(run, rate) });
        }
        if self.is_fixed() {
            return None;
        }
        if let Some(obstacle) = self.is_of_another_night(run) {
            return Some(obstacle);
        }
        let asking = tokio::time::timeout(BROKER_TIMEOUT, fleet::has_part_reports(self.broker));
        let problem = match asking.await {
            Ok(Ok(false)) => return None,
            Ok(Ok(true)) => {
                let text = "a part report waits in the queue for a worker".to_owned();
                return Some(Obstacle { state: State::Unreported, text });
            }
            Ok(Err(error)) => exit::chain(error.as_ref()),
            Err(_) => "it does not answer".to_owned(),
        };
        let text = format!("the broker cannot say whether a newer part has begun: {problem}");
        Some(Obstacle { state: State::Unheard, text })
    }

    /// The newest part was complete before this wait began, and was published long ago.
    fn is_of_another_night(&self, run: &Run) -> Option<Obstacle> {
        let newest = run.parts.first().filter(|_| *self.wait.selection == Selection::Newest)?;
        let age = Duration::try_from(run.asked_at - newest.ended_at()).unwrap_or_default();
        if age <= self.wait.since || self.under_way.as_ref() == Some(&newest.part) {
            return None;
        }
        let (part, age) = (&newest.part, format_duration(age));
        let text = format!(
            "its newest part {part} was published {age} ago, so a newer one is waited for; \
             --part {part} or a longer --since accepts it"
        );
        Some(Obstacle { state: State::Outdated, text })
    }
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
    /// The newest part is that of another night.
    Outdated,
    /// A report of a newer part may wait in the queue.
    Unreported,
    /// The broker does not answer.
    Unheard,
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

    fn show(&mut self, run: Option<&Run>, obstacle: Option<&Obstacle>) {
        if let (Some(bar), Some(run)) = (&self.bar, run)
            && let Some(planned) = run.planned()
        {
            bar.set_length(planned);
            bar.set_position(planned.saturating_sub(run.remaining().unwrap_or(planned)));
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
        }
        if let Some(Obstacle { state, text }) = obstacle {
            self.print(*state, text);
        }
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
            exit::note(format_args!("{}: {text}", self.name));
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
    let is_named = matches!(run.selection, Selection::Part(_));
    if !run.is_known() {
        let what = if is_named { "part" } else { "run" };
        return format!("no worker has reported this {what} yet");
    }
    let (rows, failed) = (run.rows(), run.failed());
    let per_second = rate.per_second().map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
    let text = match run.planned() {
        Some(planned) => {
            let left = run.remaining().and_then(|remaining| rate.time_left(remaining));
            let left = left.map(|left| format!(", {} left", format_duration(left)));
            let left = left.unwrap_or_default();
            format!("{rows} of {planned} rows, {failed} failed{per_second}{left}")
        }
        None => format!("{rows} rows, {failed} failed{per_second}"),
    };
    let open = run.parts.iter().filter(|part| part.is_open()).min_by_key(|part| part.created_at);
    match open {
        Some(Part { part, created_at, .. }) => {
            let age = (run.asked_at - *created_at).try_into().unwrap_or_default();
            format!("{text}; part {part} has been open for {}", format_duration(age))
        }
        None if !run.parts.is_empty() => text,
        None if is_named => format!("{text}; its producer has not reported it yet"),
        None => format!("{text}; it has no parts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_samples() {
        let mut rate = RowRate::default();
        rate.add(0);
        assert_eq!((rate.per_second(), rate.time_left(10)), (None, None));
        for rows in [0, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900] {
            tokio::time::advance(Duration::from_secs(1)).await;
            rate.add(rows);
        }
        assert_eq!(rate.per_second(), Some(100.0));
        assert_eq!(rate.time_left(1_000), Some(Duration::from_secs(10)));
    }
}
