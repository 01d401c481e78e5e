//! `fetchline health`.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::Url;

use crate::exit::{self, Done, Result};

/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks a worker how it is: exit code 0 where it is well, else 1. For images that hold no other client
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is asked
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9464/readyz")]
    url: Url,
}

pub(crate) async fn run(args: Args) -> Result {
    let client = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build()?;
    let answer = client.get(args.url).send().await.context("no answer")?;
    let status = answer.status();
    exit::print(answer.text().await.context("the answer breaks off")?.trim_end());
    match status.is_success() {
        true => Ok(Done::Whole),
        false => Err(anyhow!("the answer is {status}").into()),
    }
}
