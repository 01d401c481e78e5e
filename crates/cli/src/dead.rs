//! `fetchline dead`.

use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, value_parser};
use fetchline_queue::dead::{self, Search, Tally};
use fetchline_queue::{Broker, Filter, Letter, Role};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Result};
use crate::table::{or_dash, span, table};

/// Goes through the dead letters: lists, replays or purges those that fit every filter; all others stay in the queue
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Shows them, the newest last
    List(Flags),
    /// Sends them back to work as first tries; each leaves the dead queue when the broker has
    /// confirmed its copy. A message that is no task comes back: publish it anew
    Replay(Flags),
    /// Drops them for good
    Purge(Flags),
}

#[derive(clap::Args)]
struct Flags {
    /// Only those of this run
    #[arg(long, value_name = "NAME", env = "FETCHLINE_RUN")]
    run: Option<String>,

    /// Only those of this host, with :port where that is not the scheme's default
    #[arg(long, value_name = "HOST", env = "FETCHLINE_HOST")]
    host: Option<String>,

    /// Only those that died for this reason: not_a_task, poison, refused, timeout, http_error …
    #[arg(long, value_name = "REASON", env = "FETCHLINE_REASON")]
    reason: Option<String>,

    /// Only those whose last answer had this HTTP status
    #[arg(long, value_name = "STATUS", env = "FETCHLINE_STATUS")]
    status: Option<u16>,

    /// Only those that were given up longer ago than this, like 30m or 2h
    #[arg(long, value_name = "TIME", env = "FETCHLINE_OLDER_THAN", value_parser = args::duration)]
    older_than: Option<Duration>,

    /// At most this many
    #[arg(long, value_name = "N", env = "FETCHLINE_LIMIT", value_parser = value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Show what would be done, and change nothing
    #[arg(long, env = "FETCHLINE_DRY_RUN")]
    dry_run: bool,

    /// Print JSON
    #[arg(long, env = "FETCHLINE_JSON")]
    json: bool,
}

impl Flags {
    fn search(&self, now: OffsetDateTime) -> Search {
        // Nothing was given up before 1970.
        let ago = |age| now.checked_sub(time::Duration::try_from(age).ok()?);
        let filter = Filter {
            run: self.run.clone(),
            host: self.host.as_deref().map(str::to_ascii_lowercase),
            reason: self.reason.clone(),
            status: self.status,
            before: self.older_than.map(|age| ago(age).unwrap_or(OffsetDateTime::UNIX_EPOCH)),
        };
        Search { filter, limit: self.limit }
    }
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let broker = everywhere.broker(Role::Dead, &args::host_name())?;
    let now = OffsetDateTime::now_utc();
    match args.action {
        Action::List(flags) => list(&broker, &flags, now, "").await,
        Action::Replay(flags) if flags.dry_run => list(&broker, &flags, now, "would replay ").await,
        Action::Purge(flags) if flags.dry_run => list(&broker, &flags, now, "would purge ").await,
        Action::Replay(flags) => {
            let mut tally = Tally::default();
            let stays = |letter| eprintln!("stays in the dead queue: {}", name(&letter));
            let result = dead::replay(&broker, &flags.search(now), &mut tally, stays).await;
            done(&flags, &tally, "replayed", result)
        }
        Action::Purge(flags) => {
            let mut tally = Tally::default();
            let result = dead::purge(&broker, &flags.search(now), &mut tally).await;
            done(&flags, &tally, "purged", result)
        }
    }
}

async fn list(broker: &Broker, flags: &Flags, now: OffsetDateTime, would: &str) -> Result {
    let (mut tally, mut letters) = (Tally::default(), Vec::new());
    dead::look(broker, &flags.search(now), &mut tally, |letter| letters.push(letter)).await?;
    letters.sort_by_key(|letter| letter.failed_at);
    let text = if flags.json {
        let letters: Vec<Value> = letters.iter().map(|letter| document(letter, now)).collect();
        json!({ "seen": tally.seen, "matched": tally.matched, "letters": letters }).to_string()
    } else {
        let headings = ["age", "reason", "status", "attempts", "run", "host", "URL"];
        format!("{}{would}{} of {} dead letters", table(headings, rows(&letters, now)), tally.matched, tally.seen)
    };
    exit::print(text);
    Ok(Done::Whole)
}

/// Tells how far it came, also where it ended early.
fn done(flags: &Flags, tally: &Tally, what: &str, result: std::result::Result<(), fetchline_queue::Error>) -> Result {
    if result.is_ok() || tally.seen > 0 {
        let Tally { seen, matched, done } = tally;
        if flags.json {
            exit::print(json!({ "seen": seen, "matched": matched, what: done }));
        } else {
            exit::print(format_args!("{what} {done} of {seen} dead letters"));
        }
    }
    match result {
        Err(error) if tally.seen > 0 => Err(error)
            .with_context(|| format!("stopped after {}; all others are still in the dead queue", tally.done))?,
        result => result?,
    }
    Ok(Done::Whole)
}

fn document(letter: &Letter, now: OffsetDateTime) -> Value {
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

fn rows(letters: &[Letter], now: OffsetDateTime) -> Vec<[String; 7]> {
    let row = |letter: &Letter| {
        [
            or_dash(letter.failed_at.map(|at| span(Duration::try_from(now - at).unwrap_or_default()))),
            or_dash(letter.reason.clone()),
            or_dash(letter.status),
            or_dash(letter.attempts),
            or_dash(letter.run.clone()),
            or_dash(letter.host.clone()),
            name(letter),
        ]
    };
    letters.iter().map(row).collect()
}

fn name(letter: &Letter) -> String {
    letter.url.clone().or_else(|| letter.excerpt.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_letter_of_which_nothing_is_known_is_a_row_as_well() {
        let letter = Letter {
            reason: Some("http_error".into()),
            url: Some("https://a.example/".into()),
            status: Some(503),
            failed_at: Some(datetime!(2026-03-01 10:00 UTC)),
            ..Letter::default()
        };
        let early = Letter { failed_at: Some(datetime!(2026-03-01 11:00 UTC)), ..Letter::default() };
        let unknown = Letter { excerpt: Some("nonsense".into()), ..Letter::default() };
        assert_eq!(
            rows(&[letter, early, unknown], datetime!(2026-03-01 10:30 UTC)),
            [
                ["30m", "http_error", "503", "-", "-", "-", "https://a.example/"],
                ["0s", "-", "-", "-", "-", "-", ""],
                ["-", "-", "-", "-", "-", "-", "nonsense"],
            ]
        );
    }

    #[test]
    fn an_age_beyond_all_time_means_nothing() {
        let flags = Flags {
            run: None,
            host: Some("Shop.Example".into()),
            reason: None,
            status: None,
            older_than: Some(Duration::MAX),
            limit: None,
            dry_run: false,
            json: false,
        };
        let filter = flags.search(datetime!(2026-03-01 10:00 UTC)).filter;
        assert_eq!((filter.host.as_deref(), filter.before), (Some("shop.example"), Some(OffsetDateTime::UNIX_EPOCH)));
    }
}
