//! One part of a run: from sources to confirmed messages.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fetchline_queue::{Broker, MAX_NAME_BYTES, Part, Task, is_name};
use reqwest::Url;
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{Checkpoint, Mark, Progressed};
use crate::format::{Entries, Format};
use crate::progress::{Event, Observer, Progress};
use crate::remote::Remote;
use crate::send::Sender;
use crate::sift::{Common, Sift, Sifted};
use crate::source::{Raw, Source};

/// A round of messages is not held back for more input for longer than this: somebody may be typing.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is to be published.
#[derive(Clone, Debug)]
pub struct Config {
    /// The run that the tasks belong to; `None` for the checkpoint's, else for one with a new name.
    pub run: Option<String>,
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
    /// A file that tells how far the part has come, for as long as it is unfinished: a part that was interrupted is gone on
    /// with.
    pub checkpoint: Option<PathBuf>,
    /// Whether nothing is sent, and what would be is only counted.
    pub dry_run: bool,
}

/// Why nothing could be published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run cannot be called that.
    #[error("--run: a run's name has 1 to {MAX_NAME_BYTES} bytes and no control characters")]
    Run,
    /// A source cannot be opened. Nothing was published.
    #[error("{0} cannot be read")]
    Source(String, #[source] io::Error),
    /// The checkpoint cannot be used.
    #[error("--checkpoint {0} cannot be used: {1}")]
    Checkpoint(String, String),
    /// The broker does not let us in, or we may not trust it: what has to be put right.
    #[error("{}", .0.refusal().unwrap_or("the broker cannot be connected to"))]
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
    /// Tasks that were confirmed before, by the checkpoint; they are not sent again.
    pub resumed: u64,
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
    let path = config.checkpoint.as_deref().filter(|_| !config.dry_run);
    let progressed = begin(path, config.run.clone())?;
    let Progressed { run, part, confirmed } = progressed.clone();
    let common =
        Common { run: run.clone(), part: part.clone(), category: config.category.clone(), priority: config.priority };
    let mut sift = Sift::new(common, config.allow_duplicates);
    // All of them, before anything is sent: a name that was mistyped costs nothing.
    let remote = Remote::new();
    let mut inputs = Vec::new();
    for source in &config.sources {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            opened = source.open(&remote, progress.clone()) => opened,
        };
        let (raw, fetched_from) = opened.map_err(|error| Error::Source(source.to_string(), error))?;
        inputs.push(Input { source, raw, fetched_from });
    }
    let mut sender = match config.dry_run {
        true => None,
        false => Some(Sender::new(broker, &progress, &observer, stop.clone())),
    };
    if let Some(sender) = &mut sender {
        sender.connect().await.map_err(Error::Broker)?;
    }
    // Before anything is sent, so that a part that was begun can be gone on with.
    let checkpoint = path.map(|path| Checkpoint::begin(path, progressed).map_err(|error| unusable(path, error)));
    let mut way = Way {
        sender,
        checkpoint: checkpoint.transpose()?,
        place: Mark::default(),
        confirmed,
        pace: config.rate.map(Pace::new),
        progress: &progress,
        observer: &observer,
        stop: &stop,
    };
    let told = |planned| Part { run: run.clone(), part: part.clone(), planned, at: OffsetDateTime::now_utc() };
    let began = way.tell(told(None)).await;
    let mut problem = None;
    for input in inputs {
        if stop.is_cancelled() || problem.is_some() {
            break;
        }
        problem = way.publish(input, &config, &remote, &mut sift).await.err();
    }
    if problem.is_none() && !stop.is_cancelled() && way.place.tasks < confirmed.tasks {
        problem = Some(OTHER_INPUT.to_owned());
    }
    way.flush().await;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (published, resumed) = (count(&progress.published), count(&progress.resumed));
    let complete = !stop.is_cancelled() && problem.is_none();
    let all_sent = complete && count(&progress.not_sent) == 0;
    // With a checkpoint an unfinished part is gone on with; else it is what it is.
    if began && (all_sent || way.checkpoint.is_none()) && !way.tell(told(Some(resumed + published))).await {
        problem
            .get_or_insert_with(|| "stopped before the broker was told that this part of the run is over".to_owned());
    }
    if let Err(error) = way.end(all_sent && problem.is_none()) {
        problem.get_or_insert_with(|| format!("--checkpoint cannot be written: {error}"));
    }
    Ok(Produced {
        run,
        part,
        published,
        resumed,
        not_sent: count(&progress.not_sent),
        duplicates: count(&progress.duplicates),
        rejected: count(&progress.rejected),
        complete,
        problem,
    })
}

/// The input of a checkpoint has changed.
const OTHER_INPUT: &str = "the input is not the one that --checkpoint belongs to: what was sent of it stands elsewhere now. \
                           Give the input as it was, or remove the file to begin a new part of the run";

/// The part that is begun, or gone on with.
fn begin(checkpoint: Option<&Path>, run: Option<String>) -> Result<Progressed, Error> {
    let before = checkpoint.map(|path| Checkpoint::read(path).map_err(|error| unusable(path, error))).transpose()?;
    if let (Some(before), Some(path)) = (before.flatten(), checkpoint) {
        return match run {
            Some(run) if run != before.run => {
                Err(unusable(path, format!("it belongs to the run {}, and --run is another one", before.run)))
            }
            _ => Ok(before),
        };
    }
    let run = run.unwrap_or_else(new_run);
    if !is_name(&run) {
        return Err(Error::Run);
    }
    Ok(Progressed { run, part: format!("{:016x}", rand::random::<u64>()), confirmed: Mark::default() })
}

fn unusable(path: &Path, why: impl ToString) -> Error {
    Error::Checkpoint(path.display().to_string(), why.to_string())
}

fn new_run() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    format!("run-{now}-{:04x}", rand::random::<u16>())
}

/// A source that is open.
struct Input<'a> {
    source: &'a Source,
    raw: Raw,
    fetched_from: Option<Url>,
}

/// The way from entries to the broker.
struct Way<'a> {
    /// `None` where nothing is sent.
    sender: Option<Sender<'a>>,
    checkpoint: Option<Checkpoint>,
    /// Where in the input the next task stands.
    place: Mark,
    /// What stands before this was confirmed before this began.
    confirmed: Mark,
    pace: Option<Pace>,
    progress: &'a Arc<Progress>,
    observer: &'a Observer,
    stop: &'a CancellationToken,
}

impl Way<'_> {
    /// Publishes what a source holds. The error says why it is not read on.
    async fn publish(
        &mut self,
        input: Input<'_>,
        config: &Config,
        remote: &Remote,
        sift: &mut Sift,
    ) -> Result<(), String> {
        let Input { source, raw, fetched_from } = input;
        let unreadable = |error: io::Error| format!("{source} cannot be read on: {error}");
        let stop = self.stop;
        let (progress, remote, url_field) = (self.progress.clone(), remote.clone(), config.url_field.clone());
        let opening = async {
            let text = raw.text().await?;
            Entries::read(text, source, config.format, url_field, fetched_from, remote, progress).await
        };
        let mut entries = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            entries = opening => entries.map_err(unreadable)?,
        };
        loop {
            let entry = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                entry = entries.next() => entry.map_err(unreadable)?,
                // Before it is waited for more.
                () = std::future::ready(()), if self.sender.as_ref().is_some_and(Sender::has_collected) => {
                    self.burst().await;
                    continue;
                }
                () = tokio::time::sleep(PATIENCE), if self.has_unconfirmed() => {
                    self.flush().await;
                    self.save()?;
                    continue;
                }
            };
            let Some(entry) = entry else { return Ok(()) };
            match sift.entry(source, entry) {
                Sifted::Task(task) => self.send(task).await?,
                Sifted::Nothing => {}
                Sifted::Double => _ = self.progress.duplicates.fetch_add(1, Ordering::Relaxed),
                Sifted::Rejected(rejection) => {
                    self.progress.rejected.fetch_add(1, Ordering::Relaxed);
                    (self.observer)(Event::Rejected { rejection: &rejection, headings: entries.headings() });
                }
            }
        }
    }

    /// Sends a task, unless that was done before. The error says why nothing more is sent.
    async fn send(&mut self, task: Task) -> Result<(), String> {
        let place = self.place;
        if place.tasks < self.confirmed.tasks {
            self.place = place.after(&task.key);
            self.progress.resumed.fetch_add(1, Ordering::Relaxed);
            let other = self.place.tasks == self.confirmed.tasks && self.place != self.confirmed;
            return if other { Err(OTHER_INPUT.to_owned()) } else { Ok(()) };
        }
        let wait = self.pace.as_mut().map_or(Duration::ZERO, Pace::next);
        if wait > PATIENCE {
            self.flush().await;
        }
        if !wait.is_zero() {
            self.burst().await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
        self.place = place.after(&task.key);
        match &mut self.sender {
            Some(sender) => sender.send(task, place).await,
            None => _ = self.progress.published.fetch_add(1, Ordering::Relaxed),
        }
        self.save()
    }

    /// Tells of the part; `false` where it was stopped before that was confirmed.
    async fn tell(&mut self, part: Part) -> bool {
        match &mut self.sender {
            Some(sender) => sender.tell(part).await,
            None => true,
        }
    }

    /// Writes the checkpoint, now and then.
    fn save(&mut self) -> Result<(), String> {
        match &mut self.checkpoint {
            Some(checkpoint) if checkpoint.is_due() => {
                let unconfirmed = self.sender.as_ref().and_then(Sender::first_unconfirmed);
                let saved = checkpoint.save(unconfirmed.unwrap_or(self.place));
                saved.map_err(|error| format!("--checkpoint cannot be written: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Writes the checkpoint of a part that may be gone on with, or removes that of a finished one.
    fn end(self, finished: bool) -> io::Result<()> {
        let Some(mut checkpoint) = self.checkpoint else { return Ok(()) };
        if finished {
            return checkpoint.remove();
        }
        let unconfirmed = self.sender.as_ref().and_then(Sender::first_unconfirmed);
        checkpoint.save(unconfirmed.unwrap_or(self.place))
    }

    fn has_unconfirmed(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::has_unconfirmed)
    }

    async fn burst(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.burst().await;
        }
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
