//! Lists that are fetched over HTTP.

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

use crate::text::Text;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest silence of a server, before its answer and within the body. The time in which we do
/// not read, since the broker or a rate holds us up, does not count.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// Attempts of a fetch whose failure is transient, and the pause after the first one. The pause
/// doubles.
const MAX_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Fetches lists. Each client is built when it is first used: it loads the certificates of the
/// machine, which a list in a file does not need.
#[derive(Clone)]
pub(crate) struct Fetcher {
    /// For lists that the user names: redirects may lead anywhere.
    user_client: Arc<OnceCell<Client>>,
    /// For lists that another list names: redirects stay on the same host.
    list_client: Arc<OnceCell<Client>>,
    first_pause: Duration,
    read_timeout: Duration,
}

/// Who names an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    User,
    List,
}

/// A failed fetch.
struct FetchError {
    cause: io::Error,
    /// Whether another attempt may succeed.
    is_transient: bool,
}

impl Fetcher {
    pub(crate) fn new() -> Self {
        Self {
            user_client: Arc::default(),
            list_client: Arc::default(),
            first_pause: FIRST_PAUSE,
            read_timeout: READ_TIMEOUT,
        }
    }

    async fn client(&self, named_by: NamedBy) -> io::Result<&Client> {
        let (client, policy) = match named_by {
            NamedBy::User => (&self.user_client, Policy::limited(MAX_REDIRECTS)),
            NamedBy::List => (&self.list_client, Policy::custom(stay_on_host)),
        };
        let build = async || {
            let builder = Client::builder()
                .user_agent(concat!("fetchline/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(policy);
            builder.build().map_err(with_causes)
        };
        client.get_or_try_init(build).await
    }

    /// The text at an address, and its URL after redirects. Transient failures are retried.
    pub(crate) async fn get(
        &self,
        address: &Address,
        named_by: NamedBy,
    ) -> io::Result<(Text, Url)> {
        let client = self.client(named_by).await?;
        let mut pause = self.first_pause;
        for _ in 1..MAX_ATTEMPTS {
            match try_get(client, address, self.read_timeout).await {
                Err(FetchError { cause, is_transient: true }) => {
                    tracing::debug!(%address, error = %cause, "a list cannot be fetched; retrying");
                }
                result => return result.map_err(|error| error.cause),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        try_get(client, address, self.read_timeout).await.map_err(|error| error.cause)
    }
}

async fn try_get(
    client: &Client,
    address: &Address,
    read_timeout: Duration,
) -> Result<(Text, Url), FetchError> {
    let answer = timeout(read_timeout, client.get(address.as_url().clone()).send())
        .await
        .map_err(|_| FetchError { cause: timed_out(read_timeout), is_transient: true })?
        .map_err(|error| {
            let is_transient = !error.is_redirect() && !error.is_builder();
            FetchError { cause: with_causes(error), is_transient }
        })?;
    let status = answer.status();
    if !status.is_success() {
        return Err(FetchError {
            cause: io::Error::other(format!("the server answered {status}")),
            is_transient: status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        });
    }
    let url = answer.url().clone();
    // The timeout of the client would run on while nobody reads.
    let body = stream::try_unfold(answer, move |mut answer| async move {
        let chunk = timeout(read_timeout, answer.chunk())
            .await
            .map_err(|_| timed_out(read_timeout))?
            .map_err(with_causes)?;
        io::Result::Ok(chunk.map(|chunk| (chunk, answer)))
    });
    Ok((Box::new(StreamReader::new(Box::pin(body))), url))
}

fn timed_out(read_timeout: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the server sent no data for {} s", read_timeout.as_secs_f64()),
    )
}

/// An error with its causes in one text. The URL is left out: callers print it beside the error,
/// masked.
fn with_causes(error: reqwest::Error) -> io::Error {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        _ = write!(text, ": {error}");
        cause = error.source();
    }
    io::Error::other(text)
}

/// Whether both URLs name the same host and the same explicit port.
pub(crate) fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port() == other.port()
}

fn stay_on_host(attempt: Attempt<'_>) -> Action {
    match redirect_problem(attempt.previous(), attempt.url()) {
        Some(problem) => attempt.error(problem),
        None => attempt.follow(),
    }
}

/// Why a redirect from a list that another list names is not followed.
fn redirect_problem(previous: &[Url], next: &Url) -> Option<&'static str> {
    if !previous.first().is_some_and(|first| is_same_host(first, next)) {
        return Some("the redirect leads to another host");
    }
    if next.scheme() == "http" && previous.iter().any(|url| url.scheme() == "https") {
        return Some("the redirect leads from https to http");
    }
    (previous.len() > MAX_REDIRECTS).then_some("too many redirects")
}

#[cfg(test)]
mod tests;
