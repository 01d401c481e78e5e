//! `fetchline health`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
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
    /// The default is /readyz on 127.0.0.1, at the port of FETCHLINE_LISTEN, else at port 9464.
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
    let port = match std::env::var("FETCHLINE_LISTEN") {
        Ok(listen) => listen
            .parse::<SocketAddr>()
            .context("FETCHLINE_LISTEN is not IP:PORT; give the URL as an argument")?
            .port(),
        Err(_) => 9464,
    };
    Ok(Url::parse(&format!("http://127.0.0.1:{port}/readyz"))?)
}
