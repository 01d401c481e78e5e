//! Publishes one part of a run: from sources to confirmed messages.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fetchline_queue::{Broker, FetchRequest, PartId, PartReport, Task, is_name};
use reqwest::Method;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{Checkpoint, CheckpointLock, CheckpointState};
use crate::classifier::{Classification, Classifier, TaskDefaults};
use crate::config::{Config, Error};
use crate::entry::{Entries, Ignored, Postponed, ReadOptions, SitemapReader};
use crate::fetched_pages::{FetchedError, FetchedPages};
use crate::opened::{Opened, Opener};
use crate::progress::{Event, Observer, Progress};
use crate::publish::{MAX_DELAY, PublishError, Publisher, Sender};
use crate::source::{Fetcher, Source};
use crate::summary::Summary;

/// Tasks of a source that a dry run shows.
const MAX_EXAMPLES: usize = 3;

/// Publishes the tasks of all sources.
///
/// When `stop` is cancelled, reading ends, and `produce` waits for the confirms of what is sent.
/// `observer` is called in between and must not block.
///
/// # Errors
///
/// An error means that nothing was published. What goes wrong later is in the summary.
pub async fn produce(
    config: Config,
    broker: Broker,
    progress: Arc<Progress>,
    observer: impl Fn(Event<'_>) + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<Summary, Error> {
    let checkpoint = config.checkpoint.as_deref().filter(|_| !config.dry_run);
    let (lock, mut state) = resume_or_start(checkpoint, &config)?;
    let CheckpointState { run, part, confirmed, .. } = state.clone();
    let defaults = task_defaults(&config, &state);
    // Every source is opened before anything is sent: a misspelt name costs nothing.
    let opener = Opener {
        options: ReadOptions {
            format: config.format,
            encoding: config.encoding,
            url_field: config.url_field.clone(),
        },
        sitemaps: SitemapReader {
            fetcher: Fetcher::new(),
            modified_since: state.modified_since(),
            postponed: Postponed::resumed(state.postponed.clone()),
            progress: progress.clone(),
        },
    };
    let sources = open_sources(&config, &opener, &stop).await?;
    let fetched = read_fetched(&config, &mut state, &observer, &stop).await?;
    let sender = Sender::new(broker, &progress, &observer, stop.clone());
    let sender = connect(sender, &config).await?;
    // The checkpoint names the part before anything of the part is sent.
    let create = |(path, lock)| {
        Checkpoint::create(lock, state, opener.sitemaps.postponed.clone())
            .map_err(|error| unusable_checkpoint(path, error))
    };
    let checkpoint = checkpoint.zip(lock).map(create).transpose()?;
    let publisher = Publisher::new(sender, checkpoint, confirmed, config.rate, &progress, &stop);
    let mut producer = Producer {
        config: &config,
        opener,
        classifier: Classifier::new(defaults, config.allow_duplicates),
        fetched,
        publisher,
        progress: &progress,
        observer: &observer,
        stop: &stop,
    };
    let part_report = |planned| {
        let (run, part) = (run.clone(), part.clone());
        PartReport { run, part, planned, at: OffsetDateTime::now_utc() }
    };
    let has_begun = producer.publisher.report_part(part_report(None)).await;
    let result = producer.publish_all(sources).await;
    producer.publisher.flush().await;

    let is_broken_off = result.is_err();
    let mut summary =
        Summary::new(run.clone(), part.clone(), &progress, result, stop.is_cancelled());
    let is_all_sent = summary.complete && summary.not_sent == 0;
    // A part whose input broke off never counts as whole. A part that was stopped on purpose is
    // closed if it cannot be resumed.
    let is_closed = is_all_sent || (!is_broken_off && !producer.publisher.has_checkpoint());
    if has_begun && is_closed {
        let report = part_report(Some(summary.resumed + summary.published));
        if !producer.publisher.report_part(report).await {
            summary.problem.get_or_insert_with(|| {
                "stopped before the broker confirmed the end of this part of the run".to_owned()
            });
        }
    }
    if let Err(error) = producer.publisher.close(is_all_sent && summary.problem.is_none()) {
        summary.problem.get_or_insert_with(|| error.to_string());
    }
    Ok(summary)
}

/// Locks the checkpoint, and returns the state of the part that it records, else of a new part.
fn resume_or_start(
    checkpoint: Option<&Path>,
    config: &Config,
) -> Result<(Option<CheckpointLock>, CheckpointState), Error> {
    let mut lock = None;
    let mut state = None;
    if let Some(path) = checkpoint {
        let unusable = |error| unusable_checkpoint(path, error);
        let lock = lock.insert(CheckpointLock::acquire(path).map_err(unusable)?);
        state = lock.read().map_err(unusable)?;
        if let (Some(state), Some(run)) = (&state, &config.run)
            && *run != state.run
        {
            let reason = format!("it belongs to the run {}, not to {run}", state.run);
            return Err(unusable_checkpoint(path, reason));
        }
    }
    let mut state = match state {
        Some(state) => state,
        None => start(config.run.as_deref())?,
    };
    state.limit_age(config.modified_since);
    Ok((lock, state))
}

/// The state of a new part.
fn start(run: Option<&str>) -> Result<CheckpointState, Error> {
    let run = run.map_or_else(new_run, str::to_owned);
    if !is_name(&run) {
        return Err(Error::Run);
    }
    Ok(CheckpointState::new(run, PartId::new().to_string()))
}

fn unusable_checkpoint(path: &Path, reason: impl ToString) -> Error {
    Error::Checkpoint(path.display().to_string(), reason.to_string())
}

fn new_run() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    format!("run-{now}-{:04x}", rand::random::<u16>())
}

fn task_defaults(config: &Config, state: &CheckpointState) -> TaskDefaults {
    TaskDefaults {
        run: state.run.clone(),
        part: state.part.clone(),
        category: config.category.clone(),
        priority: config.priority,
        delay: config.delay,
        revalidate: config.revalidate,
    }
}

/// Opens the sources until `stop` is cancelled.
async fn open_sources<'a>(
    config: &'a Config,
    opener: &Opener,
    stop: &CancellationToken,
) -> Result<Vec<Opened<'a>>, Error> {
    let mut opened = Vec::new();
    for source in &config.sources {
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            result = opener.open(source) => result,
        };
        opened.push(result.map_err(|error| Error::Source(source.to_string(), error))?);
    }
    Ok(opened)
}

/// Reads which pages were fetched lately, until `stop` is cancelled. The period of a part that is
/// resumed is the one of its beginning.
async fn read_fetched(
    config: &Config,
    state: &mut CheckpointState,
    observer: &Observer,
    stop: &CancellationToken,
) -> Result<Option<FetchedPages>, FetchedError> {
    let Some(skip) = &config.skip_fetched else {
        state.fetched = None;
        return Ok(None);
    };
    let reading = async {
        let period = match state.fetched {
            Some(period) => period,
            None => skip.period().await?,
        };
        state.fetched = Some(period);
        let pages = skip.read(period).await?;
        observer(Event::Fetched { pages: pages.count });
        Ok(Some(pages))
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        pages = reading => pages,
    }
}

/// Connects a sender; `None` in a dry run.
async fn connect<'a>(mut sender: Sender<'a>, config: &Config) -> Result<Option<Sender<'a>>, Error> {
    if config.dry_run {
        return Ok(None);
    }
    sender.connect(config.wait_for_topology).await?;
    if let Some(max_queued) = config.max_queued {
        sender.limit_queue(max_queued).await.map_err(Error::QueueCounts)?;
    }
    Ok(Some(sender))
}

/// Turns entries into tasks and publishes them.
struct Producer<'a> {
    config: &'a Config,
    opener: Opener,
    classifier: Classifier,
    /// Pages that are not published again.
    fetched: Option<FetchedPages>,
    publisher: Publisher<'a>,
    progress: &'a Arc<Progress>,
    observer: &'a Observer,
    stop: &'a CancellationToken,
}

impl Producer<'_> {
    /// Publishes the sources until one of them fails or `stop` is cancelled.
    async fn publish_all(&mut self, sources: Vec<Opened<'_>>) -> Result<(), PublishError> {
        for source in sources {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            self.publish(source).await?;
        }
        self.publish_postponed().await?;
        match self.stop.is_cancelled() {
            true => Ok(()),
            false => self.publisher.check_input_is_whole(),
        }
    }

    async fn publish(&mut self, opened: Opened<'_>) -> Result<(), PublishError> {
        let source = opened.source;
        let read_error = |error: io::Error| PublishError::Source(source.to_string(), error);
        let entries = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),
            entries = self.opener.read(opened) => entries.map_err(read_error)?,
        };
        self.publish_entries(source, entries, read_error).await
    }

    /// Publishes the sitemaps that could not be read at their place. They may name further ones.
    async fn publish_postponed(&mut self) -> Result<(), PublishError> {
        while !self.stop.is_cancelled() {
            let pending = self.opener.sitemaps.postponed.take();
            // Each entry names its sitemap, so the source is not shown.
            let Some(source) = self.config.sources.first().filter(|_| !pending.is_empty()) else {
                break;
            };
            let entries = Entries::read_postponed(pending, &self.opener.sitemaps);
            self.publish_entries(source, entries, PublishError::Missing).await?;
        }
        Ok(())
    }

    async fn publish_entries(
        &mut self,
        source: &Source,
        mut entries: Entries,
        read_error: impl Fn(io::Error) -> PublishError,
    ) -> Result<(), PublishError> {
        let stop = self.stop;
        let mut examples = 0;
        loop {
            let entry = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                entry = entries.next() => entry.map_err(&read_error)?,
                // The input makes us wait, so the collected messages are sent meanwhile.
                () = std::future::ready(()), if self.publisher.has_collected() => {
                    self.publisher.burst().await;
                    continue;
                }
                () = tokio::time::sleep(MAX_DELAY), if self.publisher.has_unsettled() => {
                    self.publisher.flush().await;
                    self.publisher.save_if_due().await?;
                    continue;
                }
            };
            if let Some(description) = entries.take_notice() {
                let source = &source.to_string();
                (self.observer)(Event::Recognised { source, description: &description });
            }
            let Some(entry) = entry else { return Ok(()) };
            self.progress.count_lines(entries.span());
            let line = entry.line;
            match self.classifier.classify(source, entry) {
                Classification::Task(task, fingerprint) if self.is_fetched(&task) => {
                    self.publisher.skip(&fingerprint).await?;
                }
                Classification::Task(task, fingerprint) => {
                    if self.config.dry_run && examples < MAX_EXAMPLES {
                        examples += 1;
                        self.show_example(source, line, &task);
                    }
                    self.publisher.publish(task, &fingerprint).await?;
                }
                Classification::Ignored(ignored) => self.count_ignored(ignored),
                Classification::Duplicate => {
                    self.progress.duplicates.fetch_add(1, Ordering::Relaxed);
                }
                Classification::Rejected(rejection) => {
                    self.progress.rejected.fetch_add(1, Ordering::Relaxed);
                    let headings = entries.headings();
                    (self.observer)(Event::Rejected { rejection: &rejection, headings });
                }
            }
        }
    }

    fn is_fetched(&self, task: &Task) -> bool {
        self.fetched.as_ref().is_some_and(|fetched| fetched.contains(task))
    }

    fn count_ignored(&self, ignored: Ignored) {
        let counter = match ignored {
            Ignored::Blank => &self.progress.blank,
            Ignored::Comment => &self.progress.comments,
            Ignored::Headings => &self.progress.headings,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn show_example(&self, source: &Source, line: u64, task: &Task) {
        (self.observer)(Event::Example {
            source: &source.to_string(),
            line,
            url: task.request.address.masked(),
            category: task.request.category.as_deref(),
            options: describe_options(&task.request),
        });
    }
}

/// What a request asks for besides its URL. A header or a body may be a secret.
fn describe_options(request: &FetchRequest) -> String {
    let mut options = Vec::new();
    if request.method != Method::GET {
        options.push(format!("method {}", request.method));
    }
    if !request.headers.is_empty() {
        let names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
        options.push(format!("headers {}", names.join(", ")));
    }
    if let Some(body) = &request.body {
        options.push(format!("body of {} bytes", body.len()));
    }
    if let Some(time) = request.not_before.and_then(|time| time.format(&Rfc3339).ok()) {
        options.push(format!("not before {time}"));
    }
    options.join("  ")
}

#[cfg(test)]
mod tests;
