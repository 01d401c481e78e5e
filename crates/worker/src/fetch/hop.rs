//! One hop of a fetch: the request, and the headers of its response.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use fetchline_queue::{Address, AddressError, FetchRequest};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use reqwest::{Client, Response};

/// How many bytes of a redirect's body are read so that its connection can be reused. A longer body
/// costs the connection.
const MAX_DRAINED: usize = 64 * 1024;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The next request of a fetch.
pub(crate) struct Hop<'a> {
    request: &'a FetchRequest,
    pub(crate) address: Cow<'a, Address>,
    method: Method,
    with_body: bool,
    with_headers: bool,
}

impl<'a> Hop<'a> {
    pub(crate) fn first(request: &'a FetchRequest) -> Self {
        let (address, method) = (Cow::Borrowed(&request.address), request.method.clone());
        Self { request, address, method, with_body: true, with_headers: true }
    }

    pub(crate) async fn send(&self, client: &Client) -> reqwest::Result<Response> {
        let mut request = client.request(self.method.clone(), self.address.as_url().clone());
        if self.with_headers && !self.request.headers.is_empty() {
            let mut headers = self.request.headers.clone();
            if !self.with_body {
                // They describe a body that is no longer sent.
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_ENCODING);
                headers.remove(CONTENT_LENGTH);
            }
            request = request.headers(headers);
        }
        if let (true, Some(body)) = (self.with_body, &self.request.body) {
            request = request.body(body.clone());
        }
        request.send().await
    }

    /// Follows a redirect (RFC 9110, 15.4). The task's headers are sent to the origin of its URL
    /// and to no other.
    pub(crate) fn redirect(
        &mut self,
        status: StatusCode,
        location: &str,
    ) -> Result<(), AddressError> {
        let next = self.address.join(location)?;
        self.with_headers &= next.same_origin(&self.address);
        self.address = Cow::Owned(next);
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

/// The target of a redirect; `None` for any other response.
pub(crate) fn location(response: &Response) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    is_redirect.then(|| text_of(response.headers(), LOCATION)).flatten()
}

/// The text of a header. Bytes that are not UTF-8 are replaced.
pub(crate) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Reads a short body to its end, so that the connection can be reused. The next hop notices a
/// failure.
pub(crate) async fn drain(response: &mut Response) {
    let read = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > MAX_DRAINED {
                return;
            }
        }
    };
    _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
}

/// The wait that a response asks for.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse_retry_after(&text_of(headers, RETRY_AFTER)?, SystemTime::now())
}

/// Reads seconds or a date (RFC 9110, 10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
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
    fn both_forms_of_retry_after_are_understood() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse_retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now),
            Some(Duration::from_secs(60))
        );
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
    }
}
