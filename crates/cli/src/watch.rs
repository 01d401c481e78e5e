//! A run, watched until it is complete.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use fetchline_queue::Broker;
use fetchline_store::{Outcome, Part, Run, Store};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::exit::Failure;
use crate::fleet;
use crate::table::span;

/// How often the run is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How often a complete run is looked at, while nothing that was told of runs waits in the queue.
const LOOKS_AT_QUEUE: u32 = 2;
/// The rate is that of so many looks.
const LOOKS: usize = 10;

/// How fast a run gets on, by the last looks at it.
#[derive(Default)]
pub(crate) struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    /// Another look.
    pub(crate) fn look(&mut self, rows: u64) {
        self.0.push_back((Instant::now(), rows));
        if self.0.len() > LOOKS {
            self.0.pop_front();
        }
    }

    /// Rows per second; `None` before there were two looks.
    pub(crate) fn rate(&self) -> Option<f64> {
        let ((since, before), (until, now)) = (self.0.front()?, self.0.back()?);
        let seconds = (*until - *since).as_secs_f64();
        (seconds > 0.0).then(|| now.saturating_sub(*before) as f64 / seconds)
    }

    /// How long the rest takes at this rate; `None` where nothing moves.
    pub(crate) fn time_left(&self, remaining: u64) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(remaining as f64 / rate).ok()
    }
}

/// What was seen last of a run.
pub(crate) struct Seen {
    /// `None` where the database did not answer.
    pub(crate) run: Option<Run>,
    /// How fast it got on.
    pub(crate) pace: Pace,
    /// Whether it is complete, and nothing more is told of it.
    pub(crate) is_complete: bool,
}

/// Shows a run until it is complete, or for as long as that may take. While the database is away it is waited for; the error
/// is one that waiting does not mend.
pub(crate) async fn until_complete(
    store: &Store,
    broker: &Broker,
    name: &str,
    within: Option<Duration>,
) -> Result<Seen, Failure> {
    // What is longer than can be counted is no limit.
    let ends = within.and_then(|within| Instant::now().checked_add(within));
    let mut shown = Shown::new(name);
    let mut pace = Pace::default();
    let mut is_there = false;
    let mut settled = 0;
    loop {
        let look = async {
            if !is_there {
                store.check_schema().await?;
                is_there = true;
            }
            store.run(name).await
        };
        let seen = match look.await {
            Ok(run) => {
                pace.look(run.rows());
                shown.show(&run, &pace);
                Some(run)
            }
            Err(error) if error.is_configuration() => return Err(Failure::usage(error)),
            Err(error) => {
                shown.say("away".to_owned(), &format!("{:#}", anyhow::Error::new(error)));
                None
            }
        };
        let is_over = ends.is_some_and(|ends| ends <= Instant::now());
        // A name may be used again, and what a `produce` has just told of its part may be on its way to the database.
        let is_complete = seen.as_ref().is_some_and(Run::is_complete);
        settled = if is_complete && !is_told_more(broker).await { settled + 1 } else { 0 };
        if is_over || settled >= LOOKS_AT_QUEUE {
            shown.end();
            return Ok(Seen { run: seen, pace, is_complete: settled >= LOOKS_AT_QUEUE });
        }
        let next = Instant::now() + LOOK_EVERY;
        tokio::time::sleep_until(ends.map_or(next, |ends| ends.min(next))).await;
    }
}

/// Whether more may be told of runs. Where the broker does not say, nothing is: a run is told by the database.
async fn is_told_more(broker: &Broker) -> bool {
    fleet::is_told_of_runs(broker).await.unwrap_or(false)
}

/// How it is shown: as a bar, or as lines where there is no terminal.
struct Shown<'a> {
    name: &'a str,
    bar: Option<ProgressBar>,
    said: Option<(Instant, String)>,
}

impl<'a> Shown<'a> {
    fn new(name: &'a str) -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        Self { name, bar, said: None }
    }

    fn show(&mut self, run: &Run, pace: &Pace) {
        let text = line(run, pace);
        if let (Some(bar), Some(planned)) = (&self.bar, run.planned()) {
            bar.set_length(planned);
            bar.set_position(planned.saturating_sub(run.remaining().unwrap_or(planned)));
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
        }
        // What changes all the time is said now and then; that there is another state, at once.
        let state = run.planned().map_or_else(|| "waits".to_owned(), |_| "goes on".to_owned());
        self.say(state, &text);
    }

    fn say(&mut self, state: String, text: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{}: {text}", self.name));
                bar.tick();
            }
            None => {
                if self.said.as_ref().is_none_or(|(at, said)| *said != state || at.elapsed() >= SAY_EVERY) {
                    eprintln!("{}: {text}", self.name);
                    self.said = Some((Instant::now(), state));
                }
            }
        }
    }

    fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A run in one line.
pub(crate) fn line(run: &Run, pace: &Pace) -> String {
    if !run.is_known() {
        return "no worker has heard of this run yet".to_owned();
    }
    let (rows, ok) = (run.rows(), run.rows_with(Outcome::Ok));
    let rate = pace.rate().map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
    let told = match run.planned() {
        Some(planned) => {
            let left = run.remaining().and_then(|remaining| pace.time_left(remaining));
            let left = left.map(|left| format!(", {} left", span(left))).unwrap_or_default();
            format!("{rows} of {planned} rows, {} failed{rate}{left}", rows - ok)
        }
        None => format!("{rows} rows, {} failed{rate}", rows - ok),
    };
    let open = run.parts.iter().filter(|part| part.is_open()).min_by_key(|part| part.created_at);
    match open {
        Some(Part { part, created_at, .. }) => {
            let age = (run.asked_at - *created_at).try_into().unwrap_or_default();
            format!("{told}; part {part} has been open for {}", span(age))
        }
        None if run.parts.is_empty() => format!("{told}; no `produce` has told of a part of it"),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_that_of_the_last_looks() {
        let mut pace = Pace::default();
        pace.look(0);
        assert_eq!((pace.rate(), pace.time_left(10)), (None, None));
        for rows in [0, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900] {
            tokio::time::advance(Duration::from_secs(1)).await;
            pace.look(rows);
        }
        assert_eq!(pace.rate(), Some(100.0));
        assert_eq!(pace.time_left(1_000), Some(Duration::from_secs(10)));
    }
}
