//! `fetchline hosts`.

use anyhow::{Context, anyhow};
use clap::Subcommand;
use fetchline_queue::control::parse_pattern;
use fetchline_store::{HostLimit, Store};
use serde_json::{Value, json};

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Result};
use crate::schema::shape::{self, boolean, field, nullable, number, object, text};
use crate::table::{format_duration, or_dash, table};

/// Show and set the limits of hosts, which all workers share
///
/// A limit applies to one host (shop.example), to all subdomains of a host together
/// (*.shop.example), or to all hosts together (*). A request takes a slot of each limit that
/// matches its host, so the strictest one decides. A change takes effect within two seconds. `work
/// --per-host` limits how many fetches a worker has under way at one host.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// Print JSON
    #[arg(long, global = true, env = "FETCHLINE_JSON")]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// List every host that has a limit or had one
    List,
    /// Limit the requests per second that all workers together send to a host or pattern
    Set {
        /// A name such as shop.example or shop.example:8443, or a pattern: *.shop.example or *
        #[arg(value_parser = parse_pattern)]
        host: String,

        /// Requests per second, such as 5/s or 0.2/s; none lifts the limit
        #[arg(long, value_name = "N/s", env = "FETCHLINE_RATE", value_parser = parse_rate)]
        rate: Rate,
    },
    /// Stop all requests to a host or pattern
    ///
    /// Their tasks wait in the longest retry queue, and later for an hour at a time. No attempt is
    /// charged.
    Pause {
        /// A name such as shop.example or shop.example:8443, or a pattern: *.shop.example or *
        #[arg(value_parser = parse_pattern)]
        host: String,
    },
    /// End a pause, a cool-down and a reduced rate
    ///
    /// Tasks in a delay queue return when their delay ends, which may take an hour.
    Resume {
        /// A name such as shop.example or shop.example:8443, or a pattern: *.shop.example or *
        #[arg(value_parser = parse_pattern)]
        host: String,
    },
}

/// Requests per second; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(Option<f64>);

fn parse_rate(text: &str) -> std::result::Result<Rate, String> {
    match text {
        "none" => Ok(Rate(None)),
        text => args::rate(text).map(|rate| Rate(Some(rate))),
    }
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let store = global.migrated_store().await?;
    let host = match args.action {
        Action::List => return list(&store, args.json).await,
        Action::Set { host, rate: Rate(rate) } => {
            store.set_rate(&host, rate).await?;
            host
        }
        Action::Pause { host } => {
            store.pause_host(&host).await?;
            host
        }
        Action::Resume { host } => {
            store.resume_host(&host).await?;
            host
        }
    };
    let limit = store.hosts().await?.into_iter().find(|limit| limit.host == host);
    let limit = limit
        .ok_or_else(|| anyhow!("another command has deleted it"))
        .context("cannot show the host")?;
    exit::print(if args.json { to_json(&limit).to_string() } else { format_limits(&[limit]) });
    Ok(Done::Whole)
}

async fn list(store: &Store, json: bool) -> Result {
    let limits = store.hosts().await?;
    if json {
        exit::print(Value::from(limits.iter().map(to_json).collect::<Vec<_>>()));
    } else if limits.is_empty() {
        exit::print("no host has a limit");
    } else {
        exit::print(format_limits(&limits));
    }
    Ok(Done::Whole)
}

fn to_json(limit: &HostLimit) -> Value {
    json!({
        "host": limit.host,
        "rate": limit.rate,
        "paused": limit.paused,
        "cool_down_s": limit.cool_down.map(|wait| wait.as_secs_f64()),
        "slowed": limit.slowed,
        "crawl_delay_s": limit.crawl_delay.map(|delay| delay.as_secs_f64()),
        "note": limit.note,
    })
}

/// The shape of a host.
pub(crate) fn schema() -> Value {
    object([
        field("host", text("A host or a pattern.")),
        field("rate", nullable(number("Requests per second that it may get."))),
        field("paused", boolean("Whether it gets no requests.")),
        field("cool_down_s", nullable(number("The seconds for which it gets no requests."))),
        field("slowed", nullable(number("The reduced rate, in requests per second."))),
        field("crawl_delay_s", nullable(number("The crawl-delay of its robots.txt."))),
        field("note", nullable(text("Why it cools down or is slowed."))),
    ])
}

pub(crate) fn list_schema() -> Value {
    shape::list(schema())
}

fn format_limits(limits: &[HostLimit]) -> String {
    let per_second = |rate: Option<f64>| or_dash(rate.map(|rate| format!("{rate}/s")));
    let row = |limit: &HostLimit| {
        [
            limit.host.clone(),
            per_second(limit.rate),
            if limit.paused { "yes".to_owned() } else { "-".to_owned() },
            or_dash(limit.cool_down.map(format_duration)),
            per_second(limit.slowed),
            or_dash(limit.crawl_delay.map(|delay| format!("{} s", delay.as_secs_f64()))),
            or_dash(limit.note.clone()),
        ]
    };
    let headings = ["host", "rate", "paused", "cools down for", "slowed to", "crawl-delay", "note"];
    table(headings, limits.iter().map(row).collect()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_the_syntax_that_the_help_shows() {
        assert_eq!(parse_rate("5/s"), Ok(Rate(Some(5.0))));
        assert_eq!(parse_rate("0.2/s"), Ok(Rate(Some(0.2))));
        assert_eq!(parse_rate("none"), Ok(Rate(None)));
        for wrong in ["5", "0/s", "-1/s", "fast", "inf/s", "NaN/s"] {
            assert!(parse_rate(wrong).unwrap_err().contains("5/s"), "{wrong}");
        }
    }
}
