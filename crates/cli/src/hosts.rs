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
///
/// A limit is one host's (shop.example), or that of all hosts together whose names end in
/// .shop.example (*.shop.example), or that of all hosts together (*). It holds over all workers. A
/// request takes a slot of each limit that matches its host, so the strictest one decides. How many
/// fetches there may be at once at one host is not set here, but in each worker (work --per-host).
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
    /// Sets how many requests per second all workers together may send to a host, or to all hosts that match together
    Set {
        /// A name, with :port where that is not the scheme's default; or *.shop.example; or *
        #[arg(value_parser = key)]
        host: String,

        /// Like 5/s or 0.2/s; `none` lifts the limit
        #[arg(long, value_name = "N/s", env = "FETCHLINE_RATE", value_parser = rate)]
        rate: Rate,
    },
    /// Stops all requests to a host, or to all hosts that match. Their tasks wait in the longest
    /// retry queue, and later for an hour at a time; that costs them no attempt
    Pause {
        /// A name, with :port where that is not the scheme's default; or *.shop.example; or *
        #[arg(value_parser = key)]
        host: String,
    },
    /// Ends a pause, a cool-down that the host has asked for, and being slowed. Tasks that wait in
    /// a delay queue come back when their delay is over, which takes an hour at most
    Resume {
        /// A name, with :port where that is not the scheme's default; or *.shop.example; or *
        #[arg(value_parser = key)]
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

/// What a limit is kept for: a host, a suffix of names, or everything.
fn key(text: &str) -> std::result::Result<String, String> {
    const ALLOWED: &str = "a pattern is `*` for all hosts, or `*.` and a name without port, like *.shop.example";
    let suffix = match text.trim() {
        "*" => return Ok("*".to_owned()),
        text if !text.contains('*') => return host(text),
        text => text.strip_prefix("*.").ok_or(ALLOWED)?,
    };
    // What stands for something else in a URL would be dropped without a word.
    if suffix.contains(['*', ':', '/', '\\', '@', '?', '#']) || suffix.starts_with('.') {
        return Err(ALLOWED.to_owned());
    }
    let address = Address::parse(&format!("https://{suffix}")).map_err(|error| format!("{ALLOWED}: {error}"))?;
    if address.ip().is_some() {
        return Err(format!("an IP address has no names below it; {ALLOWED}"));
    }
    // A name that it could stand for has a label more.
    const LONGEST_NAME: usize = 253;
    let pattern = format!("*.{}", address.host());
    if pattern.len() > LONGEST_NAME {
        return Err(format!("no name is as long as that: {LONGEST_NAME} bytes are allowed"));
    }
    Ok(pattern)
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
            // A dot at the end of a name is no other host.
            ("shop.example.", "shop.example"),
            ("https://Shop.Example./p/1", "shop.example"),
            ("shop.example.:8443", "shop.example:8443"),
        ] {
            assert_eq!(key(given).as_deref(), Ok(named), "{given}");
        }
        assert!(key("").is_err() && key("a b").is_err());
    }

    #[test]
    fn a_pattern_is_a_suffix_of_names_or_all_hosts() {
        for (given, named) in [
            ("*", "*"),
            ("*.MyShopify.Example", "*.myshopify.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("*.shop.example.", "*.shop.example"),
            ("*.example", "*.example"),
        ] {
            assert_eq!(key(given).as_deref(), Ok(named), "{given}");
        }
    }

    #[test]
    fn what_a_pattern_cannot_say_is_an_error_that_tells_what_it_can() {
        let long = format!("*.{}example", "a.".repeat(123));
        for wrong in [
            "**",
            "*.",
            "*shop.example",
            "shop.*",
            "a.*.example",
            "*.*.example",
            "*..example",
            "*.shop.example:8443",
            "*:80",
            "https://*.shop.example",
            "*.shop.example/p",
            "*.user@shop.example",
            "*.shop example",
            "*.127.0.0.1",
            "*.[::1]",
            &long,
        ] {
            let error = key(wrong).unwrap_err();
            assert!(error.contains("*.shop.example") || error.contains("253 bytes"), "{wrong}: {error}");
        }
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
