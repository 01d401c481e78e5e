//! `fetchline health`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::Url;

use crate::exit::{self, Done, Failure, Result};

/// The time for the whole request.
const DEADLINE: Duration = Duration::from_secs(3);

/// Check whether the worker on this host is ready
///
/// The exit code is 0 if it is, else 1. Use it as a health check in images without an HTTP client.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The URL to request
    ///
    /// The default is /readyz at the address of FETCHLINE_LISTEN, else at 127.0.0.1:9464. If the
    /// worker listens on all addresses, it is asked on the loopback address.
    #[arg(value_name = "URL")]
    url: Option<Url>,
}

pub(crate) async fn run(args: Args) -> Result {
    let url = args.url.map_or_else(default_url, Ok).map_err(Failure::usage)?;
    let client = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build()?;
    let answer = client.get(url).send().await.context("the worker does not answer")?;
    let status = answer.status();
    exit::print(answer.text().await.context("the response is incomplete")?.trim_end());
    match status.is_success() {
        true => Ok(Done::Whole),
        false => Err(anyhow!("the worker answered {status}").into()),
    }
}

/// The URL of a worker with the same environment.
fn default_url() -> anyhow::Result<Url> {
    let listen = std::env::var("FETCHLINE_LISTEN").unwrap_or_else(|_| "127.0.0.1:9464".to_owned());
    if listen == "off" {
        bail!("FETCHLINE_LISTEN is `off`: the worker does not serve its health");
    }
    let mut address: SocketAddr =
        listen.parse().context("FETCHLINE_LISTEN is not IP:PORT; give the URL as an argument")?;
    // A worker that listens on every address answers on the loopback address of that family.
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(Url::parse(&format!("http://{address}/readyz"))?)
}
