//! One request of a chain of redirects, and what its answer's headers say.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use fetchline_queue::{Address, AddressError, Order};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use reqwest::{Client, Response};

/// What is read of a redirect's body so that its connection can be used again; a longer one costs the connection.
const DRAINED: usize = 64 * 1024;
/// How long that may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// The next request of an order.
pub(crate) struct Hop<'a> {
    order: &'a Order,
    pub(crate) address: Cow<'a, Address>,
    method: Method,
    with_body: bool,
    with_headers: bool,
}

impl<'a> Hop<'a> {
    pub(crate) fn first(order: &'a Order) -> Self {
        let (address, method) = (Cow::Borrowed(&order.address), order.method.clone());
        Self { order, address, method, with_body: true, with_headers: true }
    }

    pub(crate) async fn send(&self, client: &Client) -> reqwest::Result<Response> {
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

    /// Goes to where a redirect leads (RFC 9110, 15.4). Headers of the task are for the origin that it named, and for no
    /// other.
    pub(crate) fn redirect(&mut self, status: StatusCode, location: &str) -> Result<(), AddressError> {
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

/// Where a redirect leads; `None` for an answer that is none.
pub(crate) fn location(response: &Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    redirects.then(|| text_of(response.headers(), LOCATION)).flatten()
}

/// Headers may hold any bytes; those that are no UTF-8 are replaced.
pub(crate) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Reads a short body to its end, so that the connection can be used again. A failure is the next hop's to notice.
pub(crate) async fn drain(response: &mut Response) {
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

/// How long an answer asks to wait.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    waiting_time(&text_of(headers, RETRY_AFTER)?, SystemTime::now())
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn waiting_time(value: &str, now: SystemTime) -> Option<Duration> {
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
        assert_eq!(waiting_time(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(waiting_time("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(waiting_time("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(waiting_time("soon", now), None);
    }
}
