//! `fetchline health`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::Url;
use serde_json::Value;

use crate::args::{self, Listen};
use crate::exit::{self, Done, Failure, Result};
use crate::schema::shape::{boolean, count, described, field, object, optional, text, time};

/// The time for the whole request.
const DEADLINE: Duration = Duration::from_secs(3);

/// Check whether the worker on this host is ready
///
/// The exit code is 0 if it is, else 1. Use it as a health check in images without an HTTP client.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The URL to request
    ///
    /// The default is /readyz at the address of --listen. If the worker listens on all addresses,
    /// the request goes to the loopback address.
    #[arg(value_name = "URL")]
    url: Option<Url>,

    /// The address that the worker listens on. A configuration file may also set it for `work`
    #[arg(long, value_name = "ADDRESS", env = "FETCHLINE_LISTEN")]
    #[arg(default_value = "127.0.0.1:9464", value_parser = args::listen)]
    listen: Listen,
}

pub(crate) async fn run(args: Args) -> Result {
    let url = match args.url {
        Some(url) => url,
        None => url_of(args.listen.0, "readyz").map_err(Failure::Usage)?,
    };
    let answer = client()?.get(url).send().await.map_err(reqwest::Error::without_url);
    let answer = answer.context("the worker does not answer")?;
    let status = answer.status();
    exit::print(answer.text().await.context("the response is incomplete")?.trim_end());
    match status.is_success() {
        true => Ok(Done::Whole),
        false => Err(anyhow!("the worker answered {status}").into()),
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(DEADLINE).no_proxy().build()
}

/// Whether a worker listens on this address.
pub(crate) async fn is_worker(listen: SocketAddr) -> bool {
    let (Ok(url), Ok(client)) = (url_of(Some(listen), "metrics"), client()) else { return false };
    let Ok(answer) = client.get(url).send().await else { return false };
    answer.text().await.is_ok_and(|text| text.contains("fetchline_"))
}

/// The shape of the body of `/readyz`.
pub(crate) fn schema() -> Value {
    let dependency = |description| {
        let shape = object([
            field("up", boolean("Whether it is as it should be.")),
            field("since", time("Since when.")),
            optional("node", text("The node that is used, or was used last.")),
            optional("error", text("Why it is down.")),
        ]);
        described(description, shape)
    };
    object([
        field("ready", boolean("Whether all of the following are up.")),
        field("broker", dependency("Whether the broker answers.")),
        field("topology", dependency("Whether the exchange and the queues exist.")),
        field("database", dependency("Whether the database accepts writes.")),
        field("paused", boolean("Whether an operator has paused the worker.")),
        field("concurrency", count("The most fetches at the same time.")),
    ])
}

/// A URL of a worker that listens on this address.
fn url_of(listen: Option<SocketAddr>, path: &str) -> anyhow::Result<Url> {
    let mut address = listen.context("--listen is `off`: the worker does not serve its health")?;
    // A worker that listens on every address answers on the loopback address of that family.
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(Url::parse(&format!("http://{address}/{path}"))?)
}
