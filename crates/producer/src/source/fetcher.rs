//! Lists that are fetched over HTTP.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fetchline_nodes::error_chain::chain;
use fetchline_queue::Address;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION};
use reqwest::header::{HeaderValue, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::site::{TrustedSites, is_same_site};
use super::spool::{Spool, SpooledFile};
use crate::text::Text;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest silence of a server, before its answer and within the body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// Attempts in a row that bring nothing new, and the pause after the first one. The pause doubles.
const MAX_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Attempts in all: a server that sends one byte at a time is not asked for ever.
const MAX_RESUMPTIONS: u32 = 100;
/// The bytes on disk of a list that the user names.
const MAX_LIST_BYTES: u64 = 16 << 30;
/// The bytes of a sitemap that another list names, on disk and decompressed. The protocol allows
/// 50 MB, which many sites exceed.
pub(crate) const MAX_SITEMAP_BYTES: u64 = 256 << 20;

/// Fetches lists. The client is built when it is first used: it loads the certificates of the
/// machine, which a list in a file does not need.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Arc<OnceCell<Client>>,
    /// Where lists that other lists name may be.
    trusted: TrustedSites,
    first_pause: Duration,
    read_timeout: Duration,
}

/// Who names an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// Redirects may lead anywhere.
    User,
    /// Redirects stay on the site, since a stranger wrote the list.
    List,
}

/// A whole list, on disk.
pub(crate) struct Fetched {
    file: SpooledFile,
    /// The URL after redirects.
    pub(crate) url: Url,
}

impl Fetched {
    /// The list from its beginning. An earlier text of the same list must not be read any more.
    pub(crate) async fn text(&self) -> io::Result<Text> {
        self.file.text().await
    }
}

/// A failed fetch.
#[derive(Debug)]
pub(crate) struct FetchError {
    pub(crate) cause: io::Error,
    /// Whether another attempt may succeed.
    pub(crate) is_transient: bool,
}

impl FetchError {
    fn transient(cause: io::Error) -> Self {
        Self { cause, is_transient: true }
    }

    fn permanent(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: io::Error::other(cause), is_transient: false }
    }
}

impl From<io::Error> for FetchError {
    fn from(cause: io::Error) -> Self {
        // A full disk of ours says nothing about the list.
        let is_transient =
            matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Self { cause, is_transient }
    }
}

impl Fetcher {
    pub(crate) fn new() -> Self {
        Self {
            client: Arc::default(),
            trusted: TrustedSites::default(),
            first_pause: FIRST_PAUSE,
            read_timeout: READ_TIMEOUT,
        }
    }

    /// A fetcher that does not wait between attempts.
    #[cfg(test)]
    pub(crate) fn hasty() -> Self {
        Self { first_pause: Duration::from_millis(1), ..Self::new() }
    }

    /// Whether the user has named the site of a URL.
    pub(crate) fn trusts(&self, url: &Url) -> bool {
        self.trusted.contain(url)
    }

    /// Fetches a list as a whole. Transient failures are retried, and the next attempt continues
    /// where the last one broke off, if the server allows that.
    pub(crate) async fn get(
        &self,
        address: &Address,
        named_by: NamedBy,
    ) -> Result<Fetched, FetchError> {
        let max_bytes = match named_by {
            NamedBy::User => MAX_LIST_BYTES,
            NamedBy::List => MAX_SITEMAP_BYTES,
        };
        let mut transfer = Transfer {
            fetcher: self,
            client: self.client().await?,
            named_by,
            spool: Spool::new(max_bytes)?,
            validator: None,
        };
        let (mut pause, mut failures, mut furthest) = (self.first_pause, 0, 0);
        for _ in 0..MAX_RESUMPTIONS {
            let error = match transfer.attempt(address.as_url()).await {
                Ok(url) => {
                    if named_by == NamedBy::User {
                        self.trusted.add(address.as_url());
                        self.trusted.add(&url);
                    }
                    return Ok(Fetched { file: transfer.spool.finish().await?, url });
                }
                Err(error) => error,
            };
            if transfer.spool.length() > furthest {
                (furthest, failures, pause) = (transfer.spool.length(), 0, self.first_pause);
            }
            failures += 1;
            if !error.is_transient || failures >= MAX_ATTEMPTS {
                return Err(error);
            }
            tracing::debug!(%address, error = %error.cause, "a list cannot be fetched; retrying");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(FetchError::transient(io::Error::other("the server breaks off again and again")))
    }

    async fn client(&self) -> io::Result<&Client> {
        let build = async || {
            // The HTTP client has no cryptography of its own. It does not matter who installs it.
            _ = rustls::crypto::ring::default_provider().install_default();
            let builder = Client::builder()
                .user_agent(concat!("fetchline/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                // Whether a redirect is followed depends on who names the list.
                .redirect(Policy::none());
            builder.build().map_err(with_causes)
        };
        self.client.get_or_try_init(build).await
    }

    /// Why a redirect is not followed.
    fn redirect_problem(
        &self,
        named_by: NamedBy,
        asked: &Url,
        from: &Url,
        to: &Url,
    ) -> Option<&'static str> {
        if !matches!(to.scheme(), "http" | "https") {
            return Some("the redirect leads to no http or https URL");
        }
        if named_by == NamedBy::User {
            return None;
        }
        if !is_same_site(asked, to) && !self.trusts(to) {
            return Some("the redirect leads to another host");
        }
        (from.scheme() == "https" && to.scheme() == "http")
            .then_some("the redirect leads from https to http")
    }
}

/// One list, over all attempts to fetch it.
struct Transfer<'a> {
    fetcher: &'a Fetcher,
    client: &'a Client,
    named_by: NamedBy,
    spool: Spool,
    /// What identifies the version of the list whose first bytes are spooled; `None` if it cannot
    /// be continued.
    validator: Option<HeaderValue>,
}

impl Transfer<'_> {
    /// Fetches what is missing, and returns the URL after redirects.
    async fn attempt(&mut self, asked: &Url) -> Result<Url, FetchError> {
        if self.validator.is_none() {
            self.spool.clear().await?;
        }
        let mut url = asked.clone();
        let mut answer = self.send(&url).await?;
        for redirects in 0.. {
            let Some(next) = redirect_target(&answer, &url) else { break };
            let next = next?;
            if redirects >= MAX_REDIRECTS {
                return Err(FetchError::permanent("too many redirects"));
            }
            if let Some(problem) = self.fetcher.redirect_problem(self.named_by, asked, &url, &next)
            {
                return Err(FetchError::permanent(problem));
            }
            url = next;
            answer = self.send(&url).await?;
        }
        self.begin(&answer).await?;
        let total = total_bytes(&answer);
        let read_timeout = self.fetcher.read_timeout;
        loop {
            let chunk = timeout(read_timeout, answer.chunk())
                .await
                .map_err(|_| FetchError::transient(timed_out(read_timeout)))?
                .map_err(|error| FetchError::transient(with_causes(error)))?;
            match chunk {
                Some(chunk) => {
                    if let Err(error) = self.spool.push(&chunk).await {
                        // Nobody knows how much of it is stored.
                        self.validator = None;
                        return Err(error.into());
                    }
                }
                None => break,
            }
        }
        // A server may send less of the rest than it was asked for.
        if total.is_some_and(|total| self.spool.length() < total) {
            let cause = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server sent only a part of what is missing",
            );
            return Err(FetchError::transient(cause));
        }
        // Neither user nor password: the URL is the base of other ones, and may be shown.
        _ = url.set_username("");
        _ = url.set_password(None);
        Ok(url)
    }

    async fn send(&self, url: &Url) -> Result<Response, FetchError> {
        let mut request = self.client.get(url.clone());
        if let Some(validator) = self.validator.as_ref().filter(|_| self.spool.length() > 0) {
            request = request
                .header(RANGE, format!("bytes={}-", self.spool.length()))
                .header(IF_RANGE, validator);
        }
        let read_timeout = self.fetcher.read_timeout;
        timeout(read_timeout, request.send())
            .await
            .map_err(|_| FetchError::transient(timed_out(read_timeout)))?
            .map_err(|error| {
                let is_transient = !error.is_builder();
                FetchError { cause: with_causes(error), is_transient }
            })
    }

    /// Checks the head of an answer, and drops what is spooled unless the answer continues it.
    async fn begin(&mut self, answer: &Response) -> Result<(), FetchError> {
        let status = answer.status();
        if status == StatusCode::PARTIAL_CONTENT && self.continues(answer) {
            return Ok(());
        }
        if matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) {
            self.validator = None;
            return Err(FetchError::transient(io::Error::other(format!(
                "the server answered {status} with another part than was asked for"
            ))));
        }
        if !status.is_success() {
            return Err(FetchError {
                cause: io::Error::other(format!("the server answered {status}")),
                is_transient: status.is_server_error()
                    || status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT,
            });
        }
        // Gzip and zstd are recognised by their first bytes, whatever the label says.
        if let Some(encoding @ ("br" | "deflate" | "compress")) =
            answer.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok())
        {
            let reason =
                format!("the server compressed it with {encoding}, which was not asked for");
            return Err(FetchError::permanent(reason));
        }
        self.spool.clear().await?;
        self.validator = validator(answer);
        Ok(())
    }

    /// Whether a partial answer begins where the spooled bytes end, and is of the same version.
    fn continues(&self, answer: &Response) -> bool {
        let start = content_range(answer).and_then(|range| range.split_once('-'));
        self.spool.length() > 0
            && start.and_then(|(start, _)| start.trim().parse().ok()) == Some(self.spool.length())
            && self.validator.as_ref().is_some_and(|known| is_of_version(answer, known))
    }
}

/// The bytes of a partial answer, as in `100-199/1000`.
fn content_range(answer: &Response) -> Option<&str> {
    answer.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")
}

/// How long the whole list is, if a partial answer says so.
fn total_bytes(answer: &Response) -> Option<u64> {
    let range = content_range(answer).filter(|_| answer.status() == StatusCode::PARTIAL_CONTENT);
    range?.rsplit_once('/')?.1.trim().parse().ok()
}

/// Whether nothing in an answer contradicts a validator. A server may not know `If-Range`.
fn is_of_version(answer: &Response, known: &HeaderValue) -> bool {
    let name = if known.as_bytes().starts_with(b"\"") { ETAG } else { LAST_MODIFIED };
    answer.headers().get(name).is_none_or(|other| other == known)
}

/// What `If-Range` may carry: a strong entity tag, or a date (RFC 9110, section 13.1.5).
fn validator(answer: &Response) -> Option<HeaderValue> {
    let tag = answer.headers().get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    tag.or_else(|| answer.headers().get(LAST_MODIFIED)).cloned()
}

/// Where a redirect leads; `None` if the answer is not a redirect.
fn redirect_target(answer: &Response, from: &Url) -> Option<Result<Url, FetchError>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    let target = std::str::from_utf8(location.as_bytes()).ok();
    let Some(mut to) = target.and_then(|target| from.join(target).ok()) else {
        return Some(Err(FetchError::permanent("the redirect leads to no valid URL")));
    };
    // A full URL of the same origin needs the user's password as well. Another origin must not get
    // it.
    if to.origin() == from.origin() && to.username().is_empty() {
        _ = to.set_username(from.username());
        _ = to.set_password(from.password());
    }
    Some(Ok(to))
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
    io::Error::other(chain(&error.without_url()))
}

#[cfg(test)]
mod tests;
