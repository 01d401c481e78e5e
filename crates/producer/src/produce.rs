//! One part of a run: from sources to confirmed messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fetchline_queue::{Broker, Task};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::format::{Entries, Format};
use crate::progress::{Event, Observer, Progress};
use crate::send::Sender;
use crate::sift::{Common, Sift, Sifted};
use crate::source::{Raw, Source};

/// A round of messages is not held back for more input for longer than this: somebody may be typing.
const PATIENCE: Duration = Duration::from_millis(100);
/// The longest name of a run, in bytes.
const MAX_RUN_BYTES: usize = 100;

/// What is to be published.
#[derive(Clone, Debug)]
pub struct Config {
    /// The run that the tasks belong to.
    pub run: String,
    /// Whether a URL that was there before is published again.
    pub allow_duplicates: bool,
    /// Read one after the other.
    pub sources: Vec<Source>,
    /// How URLs are written in them.
    pub format: Format,
    /// The field or column of the URL; `None` for `url`.
    pub url_field: Option<String>,
    /// The category of what names none.
    pub category: Option<String>,
    /// The priority of what names none, from 0 to 9.
    pub priority: Option<u8>,
    /// At most so many tasks per second; `None` for as fast as the broker takes them.
    pub rate: Option<f64>,
    /// Whether nothing is sent, and what would be is only counted.
    pub dry_run: bool,
}

/// Why nothing could be published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run cannot be called that.
    #[error("--run: a run's name has 1 to {MAX_RUN_BYTES} bytes and no control characters")]
    Run,
    /// A source cannot be opened. Nothing was published.
    #[error("{0} cannot be read")]
    Source(String, #[source] io::Error),
    /// The broker does not let us in.
    #[error("the broker refuses the connection: user, password and virtual host have to be right")]
    Broker(#[source] fetchline_queue::Error),
}

/// What became of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Produced {
    /// The run.
    pub run: String,
    /// The part of the run that this was.
    pub part: String,
    /// Tasks that the broker confirmed; in a dry run, those that would have been sent.
    pub published: u64,
    /// Tasks that the broker did not take.
    pub not_sent: u64,
    /// Lines that were dropped since their URL was there before.
    pub duplicates: u64,
    /// Lines that were refused.
    pub rejected: u64,
    /// Whether the input was read to its end.
    pub complete: bool,
    /// Why it was not, where it could not be read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Publishes what the sources hold. When `stop` is cancelled, reading ends, and what was sent is waited for.
pub async fn produce(
    config: Config,
    broker: Broker,
    progress: Arc<Progress>,
    observer: impl Fn(Event<'_>) + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<Produced, Error> {
    let run = config.run.clone();
    if run.is_empty() || run.len() > MAX_RUN_BYTES || run.chars().any(char::is_control) {
        return Err(Error::Run);
    }
    let part = format!("{:016x}", rand::random::<u64>());
    let common =
        Common { run: run.clone(), part: part.clone(), category: config.category.clone(), priority: config.priority };
    let mut sift = Sift::new(common, config.allow_duplicates);
    // All of them, before anything is sent: a name that was mistyped costs nothing.
    let mut inputs = Vec::new();
    for source in &config.sources {
        let raw = source.open(progress.clone()).await.map_err(|error| Error::Source(source.to_string(), error))?;
        inputs.push((source, raw));
    }
    let mut sender = match config.dry_run {
        true => None,
        false => Some(Sender::new(broker, &progress, &observer, stop.clone())),
    };
    if let Some(sender) = &mut sender {
        sender.connect().await.map_err(Error::Broker)?;
    }
    let pace = config.rate.map(Pace::new);
    let mut way = Way { sender, pace, progress: &progress, observer: &observer, stop: &stop };
    let mut problem = None;
    for (source, raw) in inputs {
        if stop.is_cancelled() || problem.is_some() {
            break;
        }
        if let Err(error) = way.publish(source, raw, &config, &mut sift).await {
            problem = Some(format!("{source} cannot be read on: {error}"));
        }
    }
    way.flush().await;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Produced {
        run,
        part,
        published: count(&progress.published),
        not_sent: count(&progress.not_sent),
        duplicates: count(&progress.duplicates),
        rejected: count(&progress.rejected),
        complete: !stop.is_cancelled() && problem.is_none(),
        problem,
    })
}

/// The way from entries to the broker.
struct Way<'a> {
    /// `None` where nothing is sent.
    sender: Option<Sender<'a>>,
    pace: Option<Pace>,
    progress: &'a Progress,
    observer: &'a Observer,
    stop: &'a CancellationToken,
}

impl Way<'_> {
    async fn publish(&mut self, source: &Source, raw: Raw, config: &Config, sift: &mut Sift) -> io::Result<()> {
        let stop = self.stop;
        let text = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            text = raw.text() => text?,
        };
        let mut entries = Entries::new(text, config.format, source, config.url_field.clone());
        loop {
            let entry = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                entry = entries.next() => entry?,
                () = tokio::time::sleep(PATIENCE), if self.has_unconfirmed() => {
                    self.flush().await;
                    continue;
                }
            };
            let Some(entry) = entry else { return Ok(()) };
            match sift.entry(source, entry) {
                Sifted::Task(task) => self.send(task).await,
                Sifted::Nothing => {}
                Sifted::Double => _ = self.progress.duplicates.fetch_add(1, Ordering::Relaxed),
                Sifted::Rejected(rejection) => {
                    self.progress.rejected.fetch_add(1, Ordering::Relaxed);
                    (self.observer)(Event::Rejected(&rejection));
                }
            }
        }
    }

    async fn send(&mut self, task: Task) {
        let wait = self.pace.as_mut().map_or(Duration::ZERO, Pace::next);
        if wait > PATIENCE {
            self.flush().await;
        }
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return,
            }
        }
        match &mut self.sender {
            Some(sender) => sender.send(task).await,
            None => _ = self.progress.published.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn has_unconfirmed(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::has_unconfirmed)
    }

    async fn flush(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.flush().await;
        }
    }
}

/// When the next task may be sent.
struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { interval: Duration::from_secs_f64(rate.recip()), due: Instant::now() }
    }

    /// How long to wait for the next one's moment. Time that was lost is not made up for, but for what a timer loses.
    fn next(&mut self) -> Duration {
        const TIMER: Duration = Duration::from_millis(5);
        let now = Instant::now();
        let due = self.due.max(now.checked_sub(TIMER).unwrap_or(now));
        self.due = due + self.interval;
        due.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_are_paced_and_lost_time_is_not_made_up_for() {
        let mut pace = Pace::new(10.0);
        let started = Instant::now();
        for _ in 0..11 {
            tokio::time::sleep(pace.next()).await;
        }
        assert_eq!(started.elapsed().as_millis(), 1_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pace.next(), Duration::ZERO);
        assert!(pace.next() > Duration::from_millis(90));
    }
}
