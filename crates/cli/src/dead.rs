//! `fetchline dead`.

use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, value_parser};
use fetchline_queue::dead::{self, Counts, Filter, HostFilter, Search};
use fetchline_queue::{Broker, DeadLetter, Role};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Result};
use crate::schema::shape::{self, count, field, nullable, object, text, time};
use crate::table::{format_duration, or_dash, table};

/// How much of an error a table shows, in characters.
const MAX_ERROR_CHARS: usize = 120;

/// List, replay or purge dead letters
///
/// Only dead letters that match every given filter are affected. All others stay in the queue.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List dead letters, oldest first
    List(SearchArgs),
    /// Send dead letters back to the workers as first attempts
    ///
    /// Each one leaves the dead queue when the broker has confirmed its replacement. A message that
    /// is not a task becomes a dead letter again: publish a corrected one instead.
    Replay(SearchArgs),
    /// Delete dead letters for good
    Purge(SearchArgs),
}

#[derive(clap::Args)]
struct SearchArgs {
    /// Only dead letters of this run
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN", value_parser = args::name)]
    run: Option<String>,

    /// Only dead letters of this host; without a port, with every port
    #[arg(long, value_name = "HOST", env = "FETCHLINE_HOST", value_parser = HostFilter::parse)]
    host: Option<HostFilter>,

    /// Only dead letters with this reason, such as not_a_task, poison, refused or timeout
    #[arg(long, value_name = "REASON", env = "FETCHLINE_REASON")]
    #[arg(value_parser = Filter::parse_reason)]
    reason: Option<String>,

    /// Only dead letters whose last response had this HTTP status
    #[arg(long, value_name = "STATUS", env = "FETCHLINE_STATUS")]
    #[arg(value_parser = Filter::parse_status)]
    status: Option<u16>,

    /// Only dead letters that were given up longer ago than this, such as 30m
    #[arg(long, value_name = "TIME", env = "FETCHLINE_OLDER_THAN", value_parser = args::duration)]
    older_than: Option<Duration>,

    /// The most dead letters to list, replay or purge
    #[arg(long, value_name = "N", env = "FETCHLINE_LIMIT")]
    #[arg(value_parser = value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Show what would be done, but change nothing
    #[arg(long, env = "FETCHLINE_DRY_RUN")]
    dry_run: bool,

    /// Print JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

impl SearchArgs {
    fn search(&self, now: OffsetDateTime) -> Search {
        // Nothing was given up before 1970, so a longer age matches nothing.
        let ago = |age| now.checked_sub(time::Duration::try_from(age).ok()?);
        let filter = Filter {
            run: self.run.clone(),
            host: self.host.clone(),
            reason: self.reason.clone(),
            status: self.status,
            before: self.older_than.map(|age| ago(age).unwrap_or(OffsetDateTime::UNIX_EPOCH)),
        };
        Search { filter, limit: self.limit }
    }
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let broker = global.broker(Role::Dead, &args::host_name())?;
    let now = OffsetDateTime::now_utc();
    match args.action {
        Action::List(search) => list(&broker, &search, now, "").await,
        Action::Replay(search) if search.dry_run => {
            list(&broker, &search, now, "would replay ").await
        }
        Action::Purge(search) if search.dry_run => {
            list(&broker, &search, now, "would purge ").await
        }
        Action::Replay(search) => {
            let mut counts = Counts::default();
            let stays =
                |letter| exit::note(format_args!("stays in the dead queue: {}", describe(&letter)));
            let result = dead::replay(&broker, &search.search(now), &mut counts, stays).await;
            report(&search, &counts, "replayed", result)
        }
        Action::Purge(search) => {
            let mut counts = Counts::default();
            let result = dead::purge(&broker, &search.search(now), &mut counts).await;
            report(&search, &counts, "purged", result)
        }
    }
}

async fn list(broker: &Broker, args: &SearchArgs, now: OffsetDateTime, prefix: &str) -> Result {
    let (mut counts, mut letters) = (Counts::default(), Vec::new());
    dead::list(broker, &args.search(now), &mut counts, |letter| letters.push(letter)).await?;
    letters.sort_by_key(|letter| letter.failed_at);
    let text = if args.json {
        let letters: Vec<Value> = letters.iter().map(|letter| to_json(letter, now)).collect();
        json!({ "seen": counts.examined, "matched": counts.matched, "letters": letters })
            .to_string()
    } else {
        let headings =
            ["age", "reason", "status", "attempts", "run", "host", "worker", "URL", "error"];
        format!(
            "{}{prefix}{} of {} dead letters",
            table(headings, rows(&letters, now)),
            counts.matched,
            counts.total
        )
    };
    exit::print(text);
    Ok(Done::Whole)
}

/// Prints how many dead letters are done, even if the command ended early.
fn report(
    args: &SearchArgs,
    counts: &Counts,
    what: &str,
    result: std::result::Result<(), fetchline_queue::Error>,
) -> Result {
    if result.is_ok() || counts.examined > 0 {
        let Counts { total, examined, matched, removed } = counts;
        if args.json {
            exit::print(json!({ "seen": examined, "matched": matched, what: removed }));
        } else {
            exit::print(format_args!("{what} {removed} of {total} dead letters"));
        }
    }
    match result {
        Err(error) if counts.examined > 0 => Err(error).with_context(|| {
            format!("stopped after {}; the others are still in the dead queue", counts.removed)
        })?,
        result => result?,
    }
    Ok(Done::Whole)
}

fn to_json(letter: &DeadLetter, now: OffsetDateTime) -> Value {
    json!({
        "id": letter.id,
        "run": letter.run,
        "host": letter.host,
        "url": letter.url,
        "excerpt": letter.excerpt,
        "reason": letter.reason,
        "error": letter.error,
        "status": letter.status,
        "attempts": letter.attempts,
        "worker": letter.worker,
        "failed_at": letter.failed_at.and_then(|at| at.format(&Rfc3339).ok()),
        "age_s": letter.failed_at.map(|at| (now - at).whole_seconds().max(0)),
    })
}

/// The shape of a list of dead letters.
pub(crate) fn list_schema() -> Value {
    let text = |description: &str| nullable(text(description));
    let letter = object([
        field("id", text("The id of the task.")),
        field("run", text("The run.")),
        field("host", text("The host of the URL.")),
        field("url", text("The URL, without credentials; `null` if it is not a task.")),
        field("excerpt", text("The beginning of a message that is not a task.")),
        field("reason", text("Why it was given up, in one word.")),
        field("error", text("The same in a sentence.")),
        field("status", nullable(count("The HTTP status of the last response."))),
        field("attempts", nullable(count("How many attempts there were."))),
        field("worker", text("The worker that gave it up.")),
        field("failed_at", nullable(time("When it was given up."))),
        field("age_s", nullable(count("The seconds since then."))),
    ]);
    object([
        field("seen", count("Dead letters that were looked at.")),
        field("matched", count("Those of them that match.")),
        field("letters", shape::list(letter)),
    ])
}

/// The shape of what is printed when dead letters are replayed or purged.
pub(crate) fn removal_schema(what: &'static str) -> Value {
    object([
        field("seen", count("Dead letters that were looked at.")),
        field("matched", count("Those of them that match.")),
        field(what, count("Those that have left the dead queue.")),
    ])
}

fn rows(letters: &[DeadLetter], now: OffsetDateTime) -> Vec<[String; 9]> {
    let row = |letter: &DeadLetter| {
        [
            or_dash(
                letter
                    .failed_at
                    .map(|at| format_duration(Duration::try_from(now - at).unwrap_or_default())),
            ),
            or_dash(letter.reason.clone()),
            or_dash(letter.status),
            or_dash(letter.attempts),
            or_dash(letter.run.clone()),
            or_dash(letter.host.clone()),
            or_dash(letter.worker.clone()),
            describe(letter),
            or_dash(letter.error.as_deref().map(one_line)),
        ]
    };
    letters.iter().map(row).collect()
}

/// An error for a cell of a table: one line, and safe for a terminal.
fn one_line(error: &str) -> String {
    let shown = error.chars().take(MAX_ERROR_CHARS);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The URL, else the beginning of the message.
fn describe(letter: &DeadLetter) -> String {
    letter.url.clone().or_else(|| letter.excerpt.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_dead_letter_without_any_header_has_a_row_too() {
        let letter = DeadLetter {
            reason: Some("http_error".into()),
            url: Some("https://a.example/".into()),
            status: Some(503),
            worker: Some("blue-1".into()),
            error: Some("the site\nanswered 503".into()),
            failed_at: Some(datetime!(2026-03-01 10:00 UTC)),
            ..DeadLetter::default()
        };
        let early = DeadLetter {
            failed_at: Some(datetime!(2026-03-01 11:00 UTC)),
            ..DeadLetter::default()
        };
        let unknown = DeadLetter { excerpt: Some("nonsense".into()), ..DeadLetter::default() };
        assert_eq!(
            rows(&[letter, early, unknown], datetime!(2026-03-01 10:30 UTC)),
            [
                [
                    "30m",
                    "http_error",
                    "503",
                    "-",
                    "-",
                    "-",
                    "blue-1",
                    "https://a.example/",
                    "the site answered 503",
                ],
                ["0s", "-", "-", "-", "-", "-", "-", "", "-"],
                ["-", "-", "-", "-", "-", "-", "-", "nonsense", "-"],
            ]
        );
    }

    #[test]
    fn an_age_beyond_1970_is_not_an_error() {
        let flags = SearchArgs {
            run: None,
            host: HostFilter::parse("Shop.Example").ok(),
            reason: None,
            status: None,
            older_than: Some(Duration::MAX),
            limit: None,
            dry_run: false,
            json: false,
        };
        let filter = flags.search(datetime!(2026-03-01 10:00 UTC)).filter;
        assert_eq!(
            (filter.host, filter.before),
            (HostFilter::parse("shop.example").ok(), Some(OffsetDateTime::UNIX_EPOCH))
        );
    }
}
