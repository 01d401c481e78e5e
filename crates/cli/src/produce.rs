//! `fetchline produce`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use fetchline_producer::{
    Config, Encoding, Event, Format, MAX_PRIORITY, Progress, SkipFetched, Summary, produce,
};
use fetchline_queue::Role;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Failure, Result};
use crate::produce_display::ProduceDisplay;
use crate::rejects::Rejects;
use crate::schema::shape::{boolean, count, field, object, optional, text};
use crate::sources;
use crate::stop;

/// Publish URLs from text, CSV, JSON Lines, Excel workbooks or sitemaps
///
/// Sources may be compressed by gzip or zstd. Each line is checked, duplicate URLs are dropped, and
/// the rest is published with publisher confirms.
///
/// On SIGTERM, SIGHUP or Ctrl-C it stops reading and waits for the confirms of what it has sent. A
/// second signal ends it immediately.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, folders, patterns such as 'lists/*.csv', or URLs of lists to fetch; - or no
    /// argument means standard input
    #[arg(value_name = "FILE|URL")]
    sources: Vec<PathBuf>,

    /// The run that the URLs belong to (default: `run-<UTC time>-<4 random hex digits>`)
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN", value_parser = args::name)]
    run: Option<String>,

    /// Publish duplicate URLs
    ///
    /// By default, a URL that occurs several times in one `produce` is published once.
    #[arg(long, env = "FETCHLINE_ALLOW_DUPLICATES")]
    allow_duplicates: bool,

    /// The format of all sources
    #[arg(long, value_name = "FORMAT", env = "FETCHLINE_FORMAT", default_value = "auto")]
    format: Format,

    /// The encoding of sources without a byte-order mark [default: recognised]
    ///
    /// A label of the Encoding Standard, such as windows-1252, utf-16le or shift_jis.
    #[arg(long, value_name = "LABEL", env = "FETCHLINE_ENCODING")]
    encoding: Option<Encoding>,

    /// The column or field that holds the URL [default: recognised; url in JSON]
    ///
    /// A column is named by its heading or its number, a nested field by its path, such as
    /// item.link. The columns or fields category, method, headers, body and priority are used, too.
    #[arg(long, value_name = "NAME", env = "FETCHLINE_URL_FIELD")]
    url_field: Option<String>,

    /// The category of the products, for lines that name none
    #[arg(long, value_name = "NAME", env = "FETCHLINE_CATEGORY", value_parser = args::category)]
    category: Option<String>,

    /// The priority from 0 to 9, for lines that name none
    ///
    /// A higher priority goes first in a worker, and in the queue with RabbitMQ 4.0 or later.
    #[arg(long, value_name = "N", env = "FETCHLINE_PRIORITY")]
    #[arg(value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_PRIORITY)))]
    priority: Option<u8>,

    /// Skip pages of sitemaps and feeds that last changed longer ago than this, such as 2d
    ///
    /// A page whose last change is not known is published.
    #[arg(long, value_name = "TIME", env = "FETCHLINE_MODIFIED_SINCE")]
    #[arg(value_parser = args::duration)]
    modified_since: Option<Duration>,

    /// Skip pages that were fetched successfully within this time, such as 12h
    ///
    /// In any run. It needs the database, and the right to read the table `fetches`.
    #[arg(long, value_name = "TIME", env = "FETCHLINE_SKIP_FETCHED_WITHIN")]
    #[arg(value_parser = args::duration)]
    skip_fetched_within: Option<Duration>,

    /// How long tasks wait before they are fetched, for lines without `not_before`
    #[arg(long, value_name = "TIME", env = "FETCHLINE_DELAY", value_parser = args::duration)]
    delay: Option<Duration>,

    /// Fetch pages only if they have changed, for lines without `revalidate`
    ///
    /// As `work --revalidate`, for these tasks and any worker.
    #[arg(long, env = "FETCHLINE_REVALIDATE")]
    revalidate: bool,

    /// Wait while this many tasks or more are ready in the queue [default: no limit]
    #[arg(long, value_name = "N", env = "FETCHLINE_MAX_QUEUED")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_queued: Option<u32>,

    /// The most URLs to publish per second, such as 100/s [default: as fast as the broker confirms]
    #[arg(long, value_name = "N/s", env = "FETCHLINE_RATE", value_parser = args::rate)]
    rate: Option<f64>,

    /// How long to wait for the exchange and the queues if this user may not declare them [default:
    /// forever]
    ///
    /// A worker declares them when it starts. 0s fails at once, for scripts.
    #[arg(long, value_name = "TIME", env = "FETCHLINE_WAIT_FOR_TOPOLOGY")]
    #[arg(value_parser = args::duration)]
    wait_for_topology: Option<Duration>,

    /// A file for rejected lines
    ///
    /// CSV rows are written below their headings, so that the file can be corrected and published.
    /// It is overwritten, and must not be one of the sources.
    #[arg(long, value_name = "FILE", env = "FETCHLINE_REJECTS")]
    rejects: Option<PathBuf>,

    /// A file that records the progress, so that an interrupted `produce` can be resumed
    ///
    /// If the file exists, the part of the run that it names is resumed: give the same sources
    /// again. The file is removed when the part is finished.
    #[arg(long, value_name = "FILE", env = "FETCHLINE_CHECKPOINT")]
    checkpoint: Option<PathBuf>,

    /// Read, check and count, but publish nothing
    ///
    /// It needs no broker.
    #[arg(long, env = "FETCHLINE_DRY_RUN")]
    dry_run: bool,

    /// Print the summary as JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let broker = global.broker(Role::Produce, &args::host_name())?;
    let skip_fetched = skip_fetched(&global, args.skip_fetched_within).await?;
    let log_format = global.log;
    let config = Config {
        run: args.run,
        allow_duplicates: args.allow_duplicates,
        sources: sources::parse(args.sources)?,
        format: args.format,
        encoding: args.encoding,
        url_field: args.url_field,
        category: args.category,
        priority: args.priority,
        modified_since: args.modified_since,
        skip_fetched,
        delay: args.delay,
        revalidate: args.revalidate,
        max_queued: args.max_queued,
        rate: args.rate,
        wait_for_topology: args.wait_for_topology,
        checkpoint: args.checkpoint,
        dry_run: args.dry_run,
    };
    let rejects = args
        .rejects
        .as_deref()
        .map(|path| Rejects::open(path, &config.sources, config.encoding.is_some()))
        .transpose()?;
    let rejects = rejects.map(Arc::new);
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    stop::on_signal(move || signalled.cancel()).context("cannot listen for signals")?;
    let progress = Arc::new(Progress::default());
    let display = ProduceDisplay::start(log_format, &config.sources, progress.clone());
    let observer = {
        let (printer, rejects) = (display.printer(), rejects.clone());
        move |event: Event<'_>| {
            printer.print(&event);
            if let (Event::Rejected { rejection, headings }, Some(rejects)) = (&event, &rejects) {
                rejects.push(rejection, *headings);
            }
        }
    };
    let result = produce(config, broker, progress, observer, stop).await;
    display.finish();

    let summary = result.map_err(Failure::usage)?;
    if let Some(rejects) = rejects.as_ref().filter(|_| summary.complete) {
        rejects.finish();
    }
    if args.json {
        exit::print(serde_json::to_string(&summary)?);
    } else {
        print(&summary, args.dry_run);
    }
    if summary.not_sent > 0 && summary.complete {
        return Err(anyhow!("the broker did not accept {} URLs", summary.not_sent).into());
    }
    if let Some(problem) = summary.problem {
        return Err(anyhow!(problem).into());
    }
    if !summary.complete {
        return Err(anyhow!("interrupted before the end of the input").into());
    }
    rejects.map_or(Ok(()), |rejects| rejects.check())?;
    Ok(if summary.rejected > 0 { Done::InputRejected } else { Done::Whole })
}

/// The database that knows which pages were fetched within a time.
async fn skip_fetched(
    global: &GlobalArgs,
    within: Option<Duration>,
) -> std::result::Result<Option<SkipFetched>, Failure> {
    let Some(within) = within else { return Ok(None) };
    let store = global.migrated_store().await?;
    Ok(Some(SkipFetched { within, store: Arc::new(store) }))
}

/// The shape of the summary.
pub(crate) fn schema() -> Value {
    object([
        field("run", text("The run.")),
        field("part", text("The part of the run that was published.")),
        field("published", count("Tasks that were published; in a dry run, that would be.")),
        field("resumed", count("Tasks that an earlier `produce` of the part has published.")),
        field("not_sent", count("Tasks that were not published.")),
        field("duplicates", count("Duplicate URLs, which are dropped.")),
        field("rejected", count("Rejected lines.")),
        field("skipped", count("Pages that have not changed, or were fetched lately.")),
        field("skipped_fetched", count("Those of them that were fetched lately.")),
        field("lines", count("Lines that were read.")),
        field("blank", count("Blank lines.")),
        field("comments", count("Comments.")),
        field("headings", count("Rows of headings, and lines that declare a delimiter.")),
        field("continued", count("Lines that continue a row of a table.")),
        field("complete", boolean("Whether the input was read to its end.")),
        optional("problem", text("Why it was not, unless `produce` was stopped.")),
    ])
}

fn print(summary: &Summary, dry_run: bool) {
    exit::print(format_args!("run         {}", summary.run));
    if !dry_run {
        exit::print(format_args!("part        {}", summary.part));
    }
    let published = if dry_run { "to publish" } else { "published " };
    exit::print(format_args!("{published}  {}", summary.published));
    if summary.resumed > 0 {
        exit::print(format_args!("resumed     {} (confirmed earlier)", summary.resumed));
    }
    exit::print(format_args!("duplicates  {}", summary.duplicates));
    exit::print(format_args!("rejected    {}", summary.rejected));
    if summary.skipped > 0 {
        let fetched = summary.skipped_fetched;
        let reasons = [(summary.skipped - fetched, "not modified"), (fetched, "fetched lately")];
        let reasons = reasons.iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<_> = reasons.map(|(count, reason)| format!("{count} {reason}")).collect();
        exit::print(format_args!("skipped     {} ({})", summary.skipped, reasons.join(", ")));
    }
    let ignored = [
        (summary.blank, "blank"),
        (summary.comments, "comments"),
        (summary.headings, "headings"),
        (summary.continued, "continued"),
    ];
    let ignored: Vec<String> = ignored
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!(", {count} {name}"))
        .collect();
    exit::print(format_args!("lines       {}{}", summary.lines, ignored.concat()));
    if summary.not_sent > 0 {
        exit::print(format_args!("not sent    {}", summary.not_sent));
    }
}
