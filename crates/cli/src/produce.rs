//! `fetchline produce`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use fetchline_producer::{Config, Event, Produced, Progress, Source, produce};
use fetchline_queue::Role;
use indicatif::{ProgressBar, ProgressStyle};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio_util::sync::CancellationToken;

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Failure, Result};
use crate::stop;

/// Publishes URLs, one a line; blank lines and lines that begin with # are left out. Ctrl-C once: reads no further and
/// waits for the confirms; twice: out
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files with a URL a line; `-` or none for standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The run that the URLs belong to (default: `run-<UTC time>-<4 random hex digits>`)
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN")]
    run: Option<String>,

    /// Publish a URL as often as it is given; otherwise doubles inside of one `produce` are dropped
    #[arg(long, env = "FETCHLINE_ALLOW_DUPLICATES")]
    allow_duplicates: bool,

    /// Print the summary as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let broker = everywhere.broker(Role::Produce, &args::host_name())?;
    let sources = sources(args.files);
    let bar = bar(&sources);
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    stop::on_signal(move || signalled.cancel()).context("cannot listen for signals")?;

    let progress = Arc::new(Progress::default());
    let drawing = tokio::spawn(draw(bar.clone(), progress.clone()));
    let config = Config { run: args.run.unwrap_or_else(new_run), allow_duplicates: args.allow_duplicates, sources };
    let told = bar.clone();
    let result = produce(config, broker, progress, move |event| tell(&told, &event), stop).await;
    drawing.abort();
    bar.finish_and_clear();

    let produced = result.map_err(Failure::usage)?;
    if args.json {
        exit::print(serde_json::to_string(&produced)?);
    } else {
        print(&produced);
    }
    if produced.not_sent > 0 {
        return Err(anyhow::anyhow!("{} URLs were not taken by the broker", produced.not_sent).into());
    }
    if let Some(problem) = produced.problem {
        return Err(anyhow::anyhow!(problem).into());
    }
    if !produced.complete {
        return Err(anyhow::anyhow!("interrupted before the input was read to its end").into());
    }
    Ok(if produced.rejected > 0 { Done::InputRefused } else { Done::Whole })
}

fn sources(files: Vec<PathBuf>) -> Vec<Source> {
    if files.is_empty() {
        return vec![Source::Stdin];
    }
    let of = |file: PathBuf| if file.as_os_str() == "-" { Source::Stdin } else { Source::File(file) };
    files.into_iter().map(of).collect()
}

fn new_run() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    format!("run-{now}-{:04x}", rand::random::<u16>())
}

/// By bytes where they are known, so that the time left can be told.
fn bar(sources: &[Source]) -> ProgressBar {
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
    let started = std::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let published = count(&progress.published);
        let rate = published as f64 / started.elapsed().as_secs_f64();
        bar.set_position(count(&progress.read));
        bar.set_message(format!(
            "{published} published, {rate:.0}/s, {} unconfirmed, {} refused",
            count(&progress.unconfirmed),
            count(&progress.rejected) + count(&progress.not_sent),
        ));
    }
}

fn tell(bar: &ProgressBar, event: &Event<'_>) {
    let text = match event {
        Event::Rejected(rejection) => rejection.to_string(),
        Event::NotSent { url, why } => format!("not sent: {url}: {why}"),
        Event::Waits { why } => (*why).to_owned(),
        Event::Blocked { reason, since } => format!("blocked by the broker: {reason}, for {} s", since.as_secs()),
        Event::GoesOn => "publishing goes on".to_owned(),
    };
    if std::io::stderr().is_terminal() {
        bar.suspend(|| eprintln!("{text}"));
    } else {
        eprintln!("{text}");
    }
}

fn print(produced: &Produced) {
    exit::print(format_args!("run         {}", produced.run));
    exit::print(format_args!("published   {}", produced.published));
    exit::print(format_args!("duplicates  {}", produced.duplicates));
    exit::print(format_args!("refused     {}", produced.rejected));
    if produced.not_sent > 0 {
        exit::print(format_args!("not sent    {}", produced.not_sent));
    }
}
