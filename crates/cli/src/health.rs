//! `fetchline health`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::Url;

use crate::exit::{self, Done, Failure, Result};

/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// Asks the worker beside it whether it is ready: exit code 0 where it is, else 1. For images that hold no other client
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is asked (default: `/readyz` at the port of `FETCHLINE_LISTEN`, else 9464, on this host)
    #[arg(value_name = "URL")]
    url: Option<Url>,
}

pub(crate) async fn run(args: Args) -> Result {
    let url = args.url.map_or_else(beside, Ok).map_err(Failure::usage)?;
    let client = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build()?;
    let answer = client.get(url).send().await.context("no answer")?;
    let status = answer.status();
    exit::print(answer.text().await.context("the answer breaks off")?.trim_end());
    match status.is_success() {
        true => Ok(Done::Whole),
        false => Err(anyhow!("the answer is {status}").into()),
    }
}

/// Where a worker with the same environment listens.
fn beside() -> anyhow::Result<Url> {
    let port = match std::env::var("FETCHLINE_LISTEN") {
        Ok(listen) => listen.parse::<SocketAddr>().context("FETCHLINE_LISTEN is no IP:PORT: name a URL")?.port(),
        Err(_) => 9464,
    };
    Ok(Url::parse(&format!("http://127.0.0.1:{port}/readyz"))?)
}
