//! One request and its answer, redirects included, within one deadline.

use std::time::{Duration, SystemTime};

use fetchline_queue::{Address, Order};
use fetchline_store::Outcome;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response, redirect, retry};

use crate::body::{self, Intake};
use crate::budget::{Budget, Room};
use crate::config::WorkConfig;
use crate::deadline::Deadline;
use crate::decode;
use crate::failure;
use crate::head::{self, HeaderTooLarge, MAX_HEADER_BYTES};
use crate::resolver::Resolver;

/// Redirects that are followed, as many as browsers' engines and curl's users expect at most in practice.
const MAX_REDIRECTS: usize = 10;
/// What is read of a redirect's body so that its connection can be used again; a longer one costs the connection.
const DRAINED: usize = 64 * 1024;
/// How long that may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);
/// Connections that are idle are kept this long. Some servers close them after 5 s; the client notices that.
const IDLE: Duration = Duration::from_secs(15);

/// What a site may send of an HTTP/2 stream before we have read it, in bytes.
const HTTP2_WINDOW: u32 = 128 * 1024;
/// The largest window that HTTP/2 knows.
const HTTP2_MOST: u32 = (1 << 31) - 1;
/// A fetch that had to wait for longer than this for room, and came to nothing then, may have failed for that.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    /// The last address, where it is not the first one.
    pub(crate) redirected_to: Option<Address>,
    pub(crate) content_type: Option<String>,
    /// The whole body after decompression; `None` where it was not received whole.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) error: Option<String>,
    /// How long the site asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The memory of the body.
    pub(crate) room: Room,
    /// There is no answer, and it may have been us: the site had to wait until there was room for its body.
    pub(crate) hindered: bool,
}

impl Answer {
    /// No answer at all.
    pub(crate) fn without(outcome: Outcome, error: String) -> Self {
        Self {
            outcome,
            status: None,
            redirected_to: None,
            content_type: None,
            body: None,
            error: Some(error),
            retry_after: None,
            room: Room::default(),
            hindered: false,
        }
    }
}

/// The one client of a worker; cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    timeout: Duration,
    read_timeout: Duration,
    hold: Duration,
    max_body: usize,
    budget: Budget,
}

impl Fetcher {
    pub(crate) fn new(config: &WorkConfig, resolver: Resolver) -> reqwest::Result<Self> {
        // A body that waits for room holds its window. The others on its connection go on all the same.
        let windows = u32::try_from(config.concurrency).unwrap_or(u32::MAX).saturating_mul(HTTP2_WINDOW);
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.concurrency)
            .dns_resolver(resolver)
            .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(decode::ACCEPTED))]))
            .http2_initial_stream_window_size(HTTP2_WINDOW)
            .http2_initial_connection_window_size(windows.min(HTTP2_MOST))
            .http2_max_header_list_size(MAX_HEADER_BYTES as u32)
            // Followed by our own loop, which records and bounds them.
            .redirect(redirect::Policy::none())
            .referer(false)
            // Tries are counted: one request is one try.
            .retry(retry::never())
            // A pod's environment says nothing about how the outside is reached.
            .no_proxy()
            .build()?;
        let &WorkConfig { timeout, read_timeout, hold, max_body, memory_budget, .. } = config;
        let budget = Budget::new(memory_budget, body::most_needed(max_body));
        Ok(Self { client, timeout, read_timeout, hold, max_body, budget })
    }

    /// Sends the order and reads what comes back. A failure is an answer, too.
    pub(crate) async fn fetch(&self, order: &Order) -> Answer {
        let mut progress = Progress::default();
        let deadline = Deadline::new(self.timeout, self.hold);
        let outcome = match deadline.bound(self.follow(order, &deadline, &mut progress)).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(failure)) => {
                progress.error = Some(failure.text);
                failure.outcome
            }
            None => {
                progress.error = Some(format!("not finished within {} s", self.timeout.as_secs_f64()));
                Outcome::Timeout
            }
        };
        Answer {
            outcome,
            hindered: progress.body.is_none() && deadline.stood_still() > NOTICEABLE,
            status: progress.status.map(|status| status.as_u16()),
            redirected_to: progress.redirected_to,
            content_type: progress.content_type,
            body: progress.body,
            error: progress.error,
            retry_after: progress.retry_after,
            room: progress.room,
        }
    }

    async fn follow(
        &self,
        order: &Order,
        deadline: &Deadline,
        progress: &mut Progress,
    ) -> Result<Outcome, Failure> {
        let mut hop = Hop::first(order);
        for _ in 0..=MAX_REDIRECTS {
            let mut response = self.within_silence(hop.send(&self.client)).await?;
            let status = response.status();
            progress.status = Some(status);
            head::check(response.headers())?;
            let Some(location) = redirect_location(&response) else {
                progress.content_type = text_of(response.headers(), CONTENT_TYPE);
                progress.retry_after =
                    text_of(response.headers(), RETRY_AFTER).and_then(|value| retry_after(&value, SystemTime::now()));
                let (body, room) = self.read(&mut response, deadline).await?;
                (progress.body, progress.room) = (Some(body), room);
                if status.is_success() {
                    return Ok(Outcome::Ok);
                }
                progress.error = Some(describe_status(status));
                return Ok(Outcome::HttpError);
            };
            drain(&mut response).await;
            hop.redirect(status, &location)?;
            progress.redirected_to = Some(hop.address.clone());
        }
        Err(Failure { outcome: Outcome::Redirect, text: format!("more than {MAX_REDIRECTS} redirects") })
    }

    /// Reads the body to its end, or drops the connection on purpose when it is too large.
    async fn read(&self, response: &mut Response, deadline: &Deadline) -> Result<(Vec<u8>, Room), Failure> {
        let (length, room) = (response.content_length(), self.budget.room());
        let mut intake = Intake::begin(response.headers(), length, self.max_body, room, deadline).await?;
        while let Some(chunk) = self.within_silence(response.chunk()).await? {
            intake.take(&chunk).await?;
        }
        Ok(intake.end().await?)
    }

    /// The client library has such a limit too, but counts the time in which nobody asks it for more.
    async fn within_silence<T>(&self, read: impl Future<Output = reqwest::Result<T>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.read_timeout, read).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(Failure {
                outcome: Outcome::Timeout,
                text: format!("nothing came within {} s (--read-timeout)", self.read_timeout.as_secs_f64()),
            }),
        }
    }
}

/// What is known when the deadline strikes.
#[derive(Default)]
struct Progress {
    status: Option<StatusCode>,
    redirected_to: Option<Address>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
    room: Room,
    error: Option<String>,
    retry_after: Option<Duration>,
}

/// Why there is no answer.
struct Failure {
    outcome: Outcome,
    text: String,
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self { outcome: failure::outcome_of(&error), text: failure::describe(error) }
    }
}

impl From<body::Error> for Failure {
    fn from(error: body::Error) -> Self {
        Self { outcome: error.outcome(), text: error.to_string() }
    }
}

impl From<HeaderTooLarge> for Failure {
    fn from(error: HeaderTooLarge) -> Self {
        Self { outcome: Outcome::TooLarge, text: error.to_string() }
    }
}

/// One request of a chain of redirects.
struct Hop<'a> {
    order: &'a Order,
    address: Address,
    method: Method,
    with_body: bool,
    with_headers: bool,
}

impl<'a> Hop<'a> {
    fn first(order: &'a Order) -> Self {
        let (address, method) = (order.address.clone(), order.method.clone());
        Self { order, address, method, with_body: true, with_headers: true }
    }

    async fn send(&self, client: &Client) -> reqwest::Result<Response> {
        let mut request = client.request(self.method.clone(), self.address.as_url().clone());
        if self.with_headers && !self.order.headers.is_empty() {
            let mut headers = self.order.headers.clone();
            if !self.with_body {
                // They describe a body that is not sent any more.
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_ENCODING);
                headers.remove(CONTENT_LENGTH);
            }
            request = request.headers(headers);
        }
        if let (true, Some(body)) = (self.with_body, &self.order.body) {
            request = request.body(body.clone());
        }
        request.send().await
    }

    /// The next hop (RFC 9110, 15.4). Headers of the task are for the origin that it named, and for no other.
    fn redirect(&mut self, status: StatusCode, location: &str) -> Result<(), Failure> {
        let next = self.address.join(location).map_err(|error| Failure {
            outcome: Outcome::Redirect,
            text: format!("the redirect leads nowhere: {error}"),
        })?;
        self.with_headers &= next.same_origin(&self.address);
        self.address = next;
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.with_body = false;
        }
        Ok(())
    }
}

/// Where a redirect leads; `None` for an answer that is none.
fn redirect_location(response: &Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    redirects.then(|| text_of(response.headers(), LOCATION)).flatten()
}

/// Headers may hold any bytes; those that are no UTF-8 are replaced.
fn text_of(headers: &HeaderMap, name: http::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Reads a short body to its end, so that the connection can be used again. A failure is the next hop's to notice.
async fn drain(response: &mut Response) {
    let read = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > DRAINED {
                return;
            }
        }
    };
    _ = tokio::time::timeout(DRAINED_WITHIN, read).await;
}

fn describe_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// How long a site asks to wait (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(value).ok().map(|date| date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
