//! `fetchline hosts`.

use anyhow::{Context, anyhow};
use clap::Subcommand;
use fetchline_queue::Address;
use fetchline_store::{HostLimit, Store};
use serde_json::{Value, json};

use crate::args::{self, GlobalArgs};
use crate::exit::{self, Done, Result};
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

/// Parses what a limit is for: a host, a suffix of names, or everything.
fn parse_pattern(text: &str) -> std::result::Result<String, String> {
    const SYNTAX: &str =
        "a pattern is `*`, or `*.` and a name without a port, such as *.shop.example";
    let suffix = match text.trim() {
        "*" => return Ok("*".to_owned()),
        text if !text.contains('*') => return parse_host(text),
        text => text.strip_prefix("*.").ok_or(SYNTAX)?,
    };
    // The URL parser would silently drop these and what follows.
    if suffix.contains(['*', ':', '/', '\\', '@', '?', '#']) || suffix.starts_with('.') {
        return Err(SYNTAX.to_owned());
    }
    let address = Address::parse(&format!("https://{suffix}"))
        .map_err(|error| format!("{SYNTAX}: {error}"))?;
    if address.ip().is_some() {
        return Err(format!("an IP address has no subdomains; {SYNTAX}"));
    }
    // A name that matches has one more label.
    const MAX_NAME_BYTES: usize = 253;
    let pattern = format!("*.{}", address.host());
    if pattern.len() > MAX_NAME_BYTES {
        return Err(format!("no host name matches it: a name has at most {MAX_NAME_BYTES} bytes"));
    }
    Ok(pattern)
}

/// Parses a host and names it as the workers do: in lower-case ASCII, with `:port` only if it is
/// not the default of the scheme.
fn parse_host(text: &str) -> std::result::Result<String, String> {
    let url = match text.ends_with(":80") {
        _ if text.contains("://") => text.to_owned(),
        true => format!("http://{text}"),
        false => format!("https://{text}"),
    };
    let address = Address::parse(&url).map_err(|error| format!("not a host: {error}"))?;
    Ok(address.host().to_owned())
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
    fn a_host_has_the_name_that_workers_use() {
        for (text, expected) in [
            ("Shop.Example", "shop.example"),
            ("shop.example:8443", "shop.example:8443"),
            ("shop.example:443", "shop.example"),
            ("shop.example:80", "shop.example"),
            ("https://shop.example/p/1", "shop.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            // A dot at the end of a name is not another host.
            ("shop.example.", "shop.example"),
            ("https://Shop.Example./p/1", "shop.example"),
            ("shop.example.:8443", "shop.example:8443"),
        ] {
            assert_eq!(parse_pattern(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(parse_pattern("").is_err() && parse_pattern("a b").is_err());
    }

    #[test]
    fn a_pattern_is_a_suffix_of_names_or_all_hosts() {
        for (text, expected) in [
            ("*", "*"),
            ("*.MyShopify.Example", "*.myshopify.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("*.shop.example.", "*.shop.example"),
            ("*.example", "*.example"),
        ] {
            assert_eq!(parse_pattern(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_invalid_pattern_is_an_error_that_shows_the_syntax() {
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
            let error = parse_pattern(wrong).unwrap_err();
            assert!(
                error.contains("*.shop.example") || error.contains("253 bytes"),
                "{wrong}: {error}"
            );
        }
    }

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
