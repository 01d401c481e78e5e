//! One part of a run: from sources to confirmed messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fetchline_queue::Broker;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::progress::{Event, Observer, Progress};
use crate::send::Sender;
use crate::sift::{Sift, Sifted};
use crate::source::{Lines, Source};

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
    /// Tasks that the broker confirmed.
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
    let run = config.run;
    if run.is_empty() || run.len() > MAX_RUN_BYTES || run.chars().any(char::is_control) {
        return Err(Error::Run);
    }
    let part = format!("{:016x}", rand::random::<u64>());
    let mut sift = Sift::new(run.clone(), part.clone(), config.allow_duplicates);
    // All of them, before anything is sent: a name that was mistyped costs nothing.
    let mut inputs = Vec::new();
    for source in &config.sources {
        let lines = source.open().await.map_err(|error| Error::Source(source.to_string(), error))?;
        inputs.push((source, lines));
    }
    let mut sender = Sender::new(broker, &progress, &observer, stop.clone());
    sender.connect().await.map_err(Error::Broker)?;
    let mut problem = None;
    for (source, lines) in inputs {
        if stop.is_cancelled() || problem.is_some() {
            break;
        }
        if let Err(error) = publish(source, lines, &mut sift, &mut sender, &progress, &observer, &stop).await {
            problem = Some(format!("{source} cannot be read on: {error}"));
        }
    }
    sender.flush().await;
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

async fn publish(
    source: &Source,
    mut lines: Lines,
    sift: &mut Sift,
    sender: &mut Sender<'_>,
    progress: &Progress,
    observer: &Observer,
    stop: &CancellationToken,
) -> io::Result<()> {
    let before = progress.read.load(Ordering::Relaxed);
    loop {
        let line = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            line = lines.next() => line?,
            () = tokio::time::sleep(PATIENCE), if sender.has_unconfirmed() => {
                sender.flush().await;
                continue;
            }
        };
        let Some(line) = line else { break };
        progress.read.store(before + lines.read, Ordering::Relaxed);
        match sift.line(source, lines.number, line) {
            Sifted::Task(task) => sender.send(task).await,
            Sifted::Nothing => {}
            Sifted::Double => _ = progress.duplicates.fetch_add(1, Ordering::Relaxed),
            Sifted::Rejected(rejection) => {
                progress.rejected.fetch_add(1, Ordering::Relaxed);
                observer(Event::Rejected(&rejection));
            }
        }
    }
    Ok(())
}
