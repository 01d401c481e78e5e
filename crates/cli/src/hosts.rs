//! `fetchline hosts`.

use anyhow::{Context, anyhow};
use clap::Subcommand;
use fetchline_queue::Address;
use fetchline_store::{HostLimit, Store};
use serde_json::{Value, json};

use crate::args::{self, Everywhere};
use crate::exit::{self, Done, Result};
use crate::table::{or_dash, span, table};

/// The limits of hosts, which all workers share. A change is in force within two seconds
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
    /// Shows every host that is limited, or once was
    List,
    /// Sets how many requests per second all workers together may send to a host
    Set {
        /// Its name, with :port where that is not the scheme's default
        #[arg(value_parser = host)]
        host: String,

        /// Like 5/s or 0.2/s; `none` lifts the limit
        #[arg(long, value_name = "N/s", env = "FETCHLINE_RATE", value_parser = rate)]
        rate: Rate,
    },
    /// Stops all requests to a host. Its tasks wait in the longest delay queue, and that costs them no attempt
    Pause {
        /// Its name, with :port where that is not the scheme's default
        #[arg(value_parser = host)]
        host: String,
    },
    /// Ends a pause, a cool-down that the host has asked for, and being slowed
    Resume {
        /// Its name, with :port where that is not the scheme's default
        #[arg(value_parser = host)]
        host: String,
    },
}

/// Requests per second; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(Option<f64>);

fn rate(text: &str) -> std::result::Result<Rate, String> {
    match text {
        "none" => Ok(Rate(None)),
        text => args::rate(text).map(|rate| Rate(Some(rate))),
    }
}

/// A host as the workers name it: lower-case ASCII, `:port` only where that is not the scheme's default.
fn host(text: &str) -> std::result::Result<String, String> {
    let url = match text.ends_with(":80") {
        _ if text.contains("://") => text.to_owned(),
        true => format!("http://{text}"),
        false => format!("https://{text}"),
    };
    let address = Address::parse(&url).map_err(|error| format!("no host: {error}"))?;
    Ok(address.host().to_owned())
}

pub(crate) async fn run(everywhere: Everywhere, args: Args) -> Result {
    let store = everywhere.migrated_store().await?;
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
    let limit = limit.ok_or_else(|| anyhow!("the host is gone again")).context("cannot show the host")?;
    exit::print(if args.json { document(&limit).to_string() } else { shown(&[limit]) });
    Ok(Done::Whole)
}

async fn list(store: &Store, json: bool) -> Result {
    let limits = store.hosts().await?;
    if json {
        exit::print(Value::from(limits.iter().map(document).collect::<Vec<_>>()));
    } else if limits.is_empty() {
        exit::print("no host is limited");
    } else {
        exit::print(shown(&limits));
    }
    Ok(Done::Whole)
}

fn document(limit: &HostLimit) -> Value {
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

fn shown(limits: &[HostLimit]) -> String {
    let per_second = |rate: Option<f64>| or_dash(rate.map(|rate| format!("{rate}/s")));
    let row = |limit: &HostLimit| {
        [
            limit.host.clone(),
            per_second(limit.rate),
            if limit.paused { "yes".to_owned() } else { "-".to_owned() },
            or_dash(limit.cool_down.map(span)),
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
    fn a_host_is_named_as_the_workers_name_it() {
        for (given, named) in [
            ("Shop.Example", "shop.example"),
            ("shop.example:8443", "shop.example:8443"),
            ("shop.example:443", "shop.example"),
            ("shop.example:80", "shop.example"),
            ("https://shop.example/p/1", "shop.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1:80", "127.0.0.1"),
        ] {
            assert_eq!(host(given).as_deref(), Ok(named), "{given}");
        }
        assert!(host("").is_err() && host("a b").is_err());
    }

    #[test]
    fn a_rate_is_written_as_the_help_says() {
        assert_eq!(rate("5/s"), Ok(Rate(Some(5.0))));
        assert_eq!(rate("0.2/s"), Ok(Rate(Some(0.2))));
        assert_eq!(rate("none"), Ok(Rate(None)));
        for wrong in ["5", "0/s", "-1/s", "fast", "inf/s", "NaN/s"] {
            assert!(rate(wrong).unwrap_err().contains("5/s"), "{wrong}");
        }
    }
}
