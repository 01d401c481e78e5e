//! `fetchline produce`.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use fetchline_producer::{Config, Event, Format, MAX_PRIORITY, Produced, Progress, Source, produce};
use fetchline_queue::{Address, Role};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Failure, Result};
use crate::rejects::Rejects;
use crate::stop;
use crate::table::printable;

/// Publishes URLs from text, CSV, JSON Lines or sitemaps, also compressed by gzip or zstd. Ctrl-C once: reads no further
/// and waits for the confirms; twice: out
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files with URLs, or http(s):// for lists that are fetched; `-` or none for standard input
    #[arg(value_name = "FILE|URL")]
    files: Vec<PathBuf>,

    /// The run that the URLs belong to (default: `run-<UTC time>-<4 random hex digits>`)
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN")]
    run: Option<String>,

    /// Publish a URL as often as it is given; otherwise doubles inside of one `produce` are dropped
    #[arg(long, env = "FETCHLINE_ALLOW_DUPLICATES")]
    allow_duplicates: bool,

    /// How URLs are written in the files
    #[arg(long, value_name = "FORMAT", env = "FETCHLINE_FORMAT", default_value = "auto")]
    format: Written,

    /// The column or field of the URL (default: `url`). Others that count: category, method, headers, body, priority
    #[arg(long, value_name = "NAME", env = "FETCHLINE_URL_FIELD")]
    url_field: Option<String>,

    /// The category of the products, where a line names none
    #[arg(long, value_name = "NAME", env = "FETCHLINE_CATEGORY")]
    category: Option<String>,

    /// 0 to 9, where a line names none: newer brokers deliver those of a higher one first
    #[arg(long, value_name = "N", env = "FETCHLINE_PRIORITY")]
    #[arg(value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_PRIORITY)))]
    priority: Option<u8>,

    /// At most so many URLs per second, like 100/s
    #[arg(long, value_name = "N/s", env = "FETCHLINE_RATE", value_parser = args::rate)]
    rate: Option<f64>,

    /// A file for the lines that are refused, as they were given, of a CSV under its headings, so that they can be mended and
    /// published; overwritten
    #[arg(long, value_name = "FILE", env = "FETCHLINE_REJECTS")]
    rejects: Option<PathBuf>,

    /// A file that tells how far this part of the run has come, for as long as it is unfinished. Where it exists, the part
    /// that was interrupted is gone on with: give the same input again
    #[arg(long, value_name = "FILE", env = "FETCHLINE_CHECKPOINT")]
    checkpoint: Option<PathBuf>,

    /// Read, check and count, and publish nothing; needs no broker
    #[arg(long, env = "FETCHLINE_DRY_RUN")]
    dry_run: bool,

    /// Print the summary as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

/// How URLs are written.
#[derive(Clone, Copy, ValueEnum)]
enum Written {
    /// Recognised by the file's name, else by the first line
    Auto,
    /// A URL a line; blank lines and lines that begin with # are left out
    Text,
    /// Columns, parted by commas, semicolons or tabs
    Csv,
    /// A JSON object a line
    Jsonl,
    /// A sitemap, or an index of sitemaps, which are fetched; from a fetched index only those of its host
    Sitemap,
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let broker = everywhere.broker(Role::Produce, &args::host_name())?;
    let sources = sources(args.files)?;
    let bar = bar(&sources);
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    stop::on_signal(move || signalled.cancel()).context("cannot listen for signals")?;

    let progress = Arc::new(Progress::default());
    let drawing = tokio::spawn(draw(bar.clone(), progress.clone()));
    let config = Config {
        run: args.run,
        allow_duplicates: args.allow_duplicates,
        sources,
        format: match args.format {
            Written::Auto => Format::Auto,
            Written::Text => Format::Text,
            Written::Csv => Format::Csv,
            Written::Jsonl => Format::Jsonl,
            Written::Sitemap => Format::Sitemap,
        },
        url_field: args.url_field,
        category: args.category,
        priority: args.priority,
        rate: args.rate,
        checkpoint: args.checkpoint,
        dry_run: args.dry_run,
    };
    let rejects = args.rejects.as_deref().map(|path| Rejects::open(path, &config.sources)).transpose()?.map(Arc::new);
    let (told, refused) = (bar.clone(), rejects.clone());
    let observer = move |event: Event<'_>| {
        tell(&told, &event);
        if let (Event::Rejected { rejection, headings }, Some(rejects)) = (&event, &refused) {
            rejects.take(rejection, *headings);
        }
    };
    let result = produce(config, broker, progress, observer, stop).await;
    drawing.abort();
    bar.finish_and_clear();

    let produced = result.map_err(Failure::usage)?;
    if let Some(rejects) = rejects.filter(|_| produced.complete) {
        rejects.end();
    }
    if args.json {
        exit::print(serde_json::to_string(&produced)?);
    } else {
        print(&produced, args.dry_run);
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

fn sources(files: Vec<PathBuf>) -> std::result::Result<Vec<Source>, Failure> {
    if files.is_empty() {
        return Ok(vec![Source::Stdin]);
    }
    let of = |file: PathBuf| match file.to_str() {
        Some("-") => Ok(Source::Stdin),
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let address = Address::parse(url).map_err(|error| anyhow::anyhow!("a list cannot be fetched: {error}"));
            address.map(Source::Url).map_err(Failure::usage)
        }
        _ => Ok(Source::File(file)),
    };
    files.into_iter().map(of).collect()
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
    /// The rate is that of the last five seconds.
    const LOOKS: usize = 25;
    let mut looks = VecDeque::from([(Instant::now(), 0)]);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let published = count(&progress.published);
        let (since, before) = looks[0];
        let rate = (published - before) as f64 / since.elapsed().as_secs_f64();
        looks.push_back((Instant::now(), published));
        if looks.len() > LOOKS {
            looks.pop_front();
        }
        let blocked = progress.blocked().map(|blocked| {
            format!(", blocked by the broker: {}, for {} s", blocked.reason, blocked.since.elapsed().as_secs())
        });
        bar.set_position(count(&progress.read));
        bar.set_message(format!(
            "{published} published, {rate:.0}/s, {} unconfirmed, {} refused{}",
            count(&progress.unconfirmed),
            count(&progress.rejected) + count(&progress.not_sent),
            blocked.unwrap_or_default(),
        ));
    }
}

fn tell(bar: &ProgressBar, event: &Event<'_>) {
    let text = match event {
        // It may repeat what somebody else has written.
        Event::Rejected { rejection, .. } => printable(rejection.to_string()),
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

fn print(produced: &Produced, dry_run: bool) {
    exit::print(format_args!("run         {}", produced.run));
    let published = if dry_run { "to publish" } else { "published " };
    exit::print(format_args!("{published}  {}", produced.published));
    if produced.resumed > 0 {
        exit::print(format_args!("before      {} (confirmed before, by the checkpoint)", produced.resumed));
    }
    exit::print(format_args!("duplicates  {}", produced.duplicates));
    exit::print(format_args!("refused     {}", produced.rejected));
    if produced.not_sent > 0 {
        exit::print(format_args!("not sent    {}", produced.not_sent));
    }
}
