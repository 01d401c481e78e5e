//! Sources that are fetched.

use std::io;
use std::time::Duration;

use fetchline_queue::Address;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use tokio_stream::StreamExt;
use tokio_util::io::StreamReader;

use crate::source::Text;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence between two reads.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// How often something is asked for that may be there the next time, and the pause before; it doubles.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Fetches sources.
#[derive(Clone)]
pub(crate) struct Remote {
    /// For what the user has named: redirects lead wherever they lead.
    named: Client,
    /// For what a list has named: redirects stay with its host.
    listed: Client,
}

/// Who has named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    User,
    List,
}

impl Remote {
    /// Sets the clients up; nothing is connected to yet.
    pub(crate) fn new() -> io::Result<Self> {
        let client = |policy| {
            Client::builder()
                .user_agent(concat!("fetchline/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(policy)
                .build()
                .map_err(io::Error::other)
        };
        Ok(Self { named: client(Policy::limited(MAX_REDIRECTS))?, listed: client(Policy::custom(within_host))? })
    }

    /// The text at an address, and where that is after redirects. What may pass is tried again.
    pub(crate) async fn get(&self, address: &Address, by: NamedBy) -> io::Result<(Text, Url)> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.try_get(address, by).await {
                Err((error, true)) => {
                    tracing::debug!(%address, %error, "a source cannot be fetched; it is tried again")
                }
                result => return result.map_err(|(error, _)| error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.try_get(address, by).await.map_err(|(error, _)| error)
    }

    /// The error says whether it may pass.
    async fn try_get(&self, address: &Address, by: NamedBy) -> Result<(Text, Url), (io::Error, bool)> {
        let client = match by {
            NamedBy::User => &self.named,
            NamedBy::List => &self.listed,
        };
        let answer = client.get(address.as_url().clone()).send().await;
        // Its text would repeat the URL, which may hold a password.
        let answer = answer.map_err(|error| {
            let may_pass = !error.is_redirect() && !error.is_builder();
            (io::Error::other(error.without_url()), may_pass)
        })?;
        let status = answer.status();
        if !status.is_success() {
            let error = match status.is_redirection() {
                true => io::Error::other(format!("it answers {status}, and that leads to another host")),
                false => io::Error::other(format!("it answers {status}")),
            };
            return Err((error, status.is_server_error() || status.as_u16() == 429));
        }
        let url = answer.url().clone();
        let body = answer.bytes_stream().map(|chunk| chunk.map_err(|error| io::Error::other(error.without_url())));
        Ok((Box::new(StreamReader::new(Box::pin(body))), url))
    }
}

/// Whether both name the same host, and the same port where they name one.
pub(crate) fn same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port() == other.port()
}

fn within_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let within = attempt.previous().first().is_some_and(|first| same_host(first, attempt.url()));
    match within && attempt.previous().len() <= MAX_REDIRECTS {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}
