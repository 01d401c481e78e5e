//! Sources that are fetched.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Address;
use futures_util::stream;
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use crate::source::Text;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence while we wait for an answer, or for more of it. That we do not read for a while, since the broker or a rate holds
/// us up, does not count.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// How often something is asked for that may be there the next time, and the pause before; it doubles.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Fetches sources. Clients are set up when something is fetched: they need the certificates of the machine, and a file
/// does not.
#[derive(Clone)]
pub(crate) struct Remote {
    /// For what the user has named: redirects lead wherever they lead.
    named: Arc<OnceCell<Client>>,
    /// For what a list has named: redirects stay with its host.
    listed: Arc<OnceCell<Client>>,
    first_pause: Duration,
    patience: Duration,
}

/// Who has named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    User,
    List,
}

impl Remote {
    pub(crate) fn new() -> Self {
        Self { named: Arc::default(), listed: Arc::default(), first_pause: FIRST_PAUSE, patience: READ_TIMEOUT }
    }

    async fn client(&self, by: NamedBy) -> io::Result<&Client> {
        let (client, policy) = match by {
            NamedBy::User => (&self.named, Policy::limited(MAX_REDIRECTS)),
            NamedBy::List => (&self.listed, Policy::custom(within_host)),
        };
        let set_up = async || {
            let builder = Client::builder()
                .user_agent(concat!("fetchline/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(policy);
            builder.build().map_err(told)
        };
        client.get_or_try_init(set_up).await
    }

    /// The text at an address, and where that is after redirects. What may pass is tried again.
    pub(crate) async fn get(&self, address: &Address, by: NamedBy) -> io::Result<(Text, Url)> {
        let client = self.client(by).await?;
        let mut pause = self.first_pause;
        for _ in 1..TRIES {
            match try_get(client, address, self.patience).await {
                Err((error, true)) => {
                    tracing::debug!(%address, %error, "a source cannot be fetched; it is tried again")
                }
                result => return result.map_err(|(error, _)| error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        try_get(client, address, self.patience).await.map_err(|(error, _)| error)
    }
}

/// The error says whether it may pass.
async fn try_get(client: &Client, address: &Address, patience: Duration) -> Result<(Text, Url), (io::Error, bool)> {
    let answer = timeout(patience, client.get(address.as_url().clone()).send()).await;
    let answer = answer.map_err(|_| (silent(patience), true))?.map_err(|error| {
        let may_pass = !error.is_redirect() && !error.is_builder();
        (told(error), may_pass)
    })?;
    let status = answer.status();
    if !status.is_success() {
        let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        return Err((io::Error::other(format!("it answers {status}")), may_pass));
    }
    let url = answer.url().clone();
    // The client's own limit would run while nobody reads.
    let body = stream::try_unfold(answer, move |mut answer| async move {
        let chunk = timeout(patience, answer.chunk()).await.map_err(|_| silent(patience))?.map_err(told)?;
        io::Result::Ok(chunk.map(|chunk| (chunk, answer)))
    });
    Ok((Box::new(StreamReader::new(Box::pin(body))), url))
}

fn silent(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {} s", patience.as_secs_f64()))
}

/// What is wrong, with its causes in one text; without the URL, which is told beside it, masked.
fn told(error: reqwest::Error) -> io::Error {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing into a string does not fail.
        _ = write!(text, ": {error}");
        cause = error.source();
    }
    io::Error::other(text)
}

/// Whether both name the same host, and the same port where they name one.
pub(crate) fn same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port() == other.port()
}

fn within_host(attempt: Attempt<'_>) -> Action {
    match refused(attempt.previous(), attempt.url()) {
        Some(why) => attempt.error(why),
        None => attempt.follow(),
    }
}

/// Why a redirect is not followed.
fn refused(previous: &[Url], next: &Url) -> Option<&'static str> {
    if !previous.first().is_some_and(|first| same_host(first, next)) {
        return Some("it leads to another host");
    }
    if next.scheme() == "http" && previous.iter().any(|url| url.scheme() == "https") {
        return Some("it leads from https to http");
    }
    (previous.len() > MAX_REDIRECTS).then_some("too many redirects")
}

#[cfg(test)]
mod tests;
