//! The progress bar and the messages of `fetchline produce`.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fetchline_producer::{Event, Progress, Rejection, Source};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::task::AbortOnDropHandle;

use crate::exit;
use crate::log::LogFormat;
use crate::table::printable;

/// How often the bar is drawn.
const INTERVAL: Duration = Duration::from_millis(200);
/// The rate is that of the last five seconds.
const RATE_SAMPLES: usize = 25;

/// Draws the progress until it is finished.
pub(crate) struct ProduceDisplay {
    bar: ProgressBar,
    log: LogFormat,
    _task: AbortOnDropHandle<()>,
}

/// Prints events above the bar, or logs them as JSON.
pub(crate) struct EventPrinter {
    bar: ProgressBar,
    log: LogFormat,
}

impl ProduceDisplay {
    pub(crate) fn start(log: LogFormat, sources: &[Source], progress: Arc<Progress>) -> Self {
        let bar = match log {
            LogFormat::Text => new_bar(sources),
            // A bar between lines of JSON would break them.
            LogFormat::Json => ProgressBar::hidden(),
        };
        let task = tokio::spawn(draw(bar.clone(), progress));
        Self { bar, log, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn printer(&self) -> EventPrinter {
        EventPrinter { bar: self.bar.clone(), log: self.log }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        let Self { bar, _task, .. } = self;
        drop(_task);
        bar.finish_and_clear();
    }
}

/// A bar of bytes and with the remaining time if the size of the input is known.
fn new_bar(sources: &[Source]) -> ProgressBar {
    let bytes: Option<u64> = sources.iter().map(Source::bytes).sum();
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner}  {msg}  {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn draw(bar: ProgressBar, progress: Arc<Progress>) {
    let mut samples = VecDeque::from([(Instant::now(), 0)]);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let published = count(&progress.published);
        let (since, before) = samples[0];
        let rate = (published - before) as f64 / since.elapsed().as_secs_f64();
        samples.push_back((Instant::now(), published));
        if samples.len() > RATE_SAMPLES {
            samples.pop_front();
        }
        let blocked = progress
            .blocked()
            .map(|blocked| {
                format!(", {}", describe_block(&blocked.reason, blocked.since.elapsed()))
            })
            .unwrap_or_default();
        bar.set_position(count(&progress.read));
        bar.set_message(format!(
            "{published} published, {rate:.0}/s, {} unconfirmed, {} rejected or not sent{blocked}",
            count(&progress.unconfirmed),
            count(&progress.rejected) + count(&progress.not_sent),
        ));
    }
}

fn describe_block(reason: &str, duration: Duration) -> String {
    format!("blocked by the broker for {} s: {reason}", duration.as_secs())
}

impl EventPrinter {
    pub(crate) fn print(&self, event: &Event<'_>) {
        if self.log == LogFormat::Json {
            return log(event);
        }
        let text = match event {
            // The texts may quote the list.
            Event::Recognised { source, description } => {
                printable(format!("{source}: {description}"))
            }
            Event::Example { source, line, url, category, options } => {
                let category = category.map(|category| format!("  category {category}"));
                let options = Some(options).filter(|options| !options.is_empty());
                let options = options.map(|options| format!("  {options}"));
                printable(format!(
                    "{source}:{line}: {url}{}{}",
                    category.unwrap_or_default(),
                    options.unwrap_or_default()
                ))
            }
            Event::Fetched { pages } => format!("{pages} pages were fetched lately"),
            Event::Rejected { rejection, .. } => printable(rejection.to_string()),
            Event::NotSent { url, reason } => format!("not sent: {url}: {reason}"),
            Event::Waiting { reason } => (*reason).to_owned(),
            Event::Blocked { reason, duration } => describe_block(reason, *duration),
            Event::Resumed => "publishing again".to_owned(),
        };
        if std::io::stderr().is_terminal() {
            self.bar.suspend(|| exit::note(&text));
        } else {
            exit::note(&text);
        }
    }
}

fn log(event: &Event<'_>) {
    match event {
        Event::Recognised { source, description } => {
            tracing::info!(source, description, "a source is recognised");
        }
        Event::Example { source, line, url, category, options } => {
            tracing::info!(source, line, url, category, options, "a task would be published");
        }
        Event::Fetched { pages } => tracing::info!(pages, "pages were fetched lately"),
        Event::Rejected { rejection, .. } => {
            let Rejection { source, line, reason, .. } = rejection;
            tracing::warn!(source, line, reason, "a line is rejected");
        }
        Event::NotSent { url, reason } => tracing::error!(url, reason, "a task is not sent"),
        Event::Waiting { reason } => tracing::warn!(reason, "publishing waits for the broker"),
        Event::Blocked { reason, duration } => {
            let seconds = duration.as_secs();
            tracing::warn!(reason, seconds, "the broker blocks the connection");
        }
        Event::Resumed => tracing::info!("publishing again"),
    }
}
