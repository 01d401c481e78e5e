//! One hop of a fetch: the request, and the headers of its response.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use fetchline_queue::{Address, FetchRequest};
use fetchline_store::Outcome;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, COOKIE, DNT, LOCATION, PRAGMA, RANGE, RETRY_AFTER,
    UPGRADE_INSECURE_REQUESTS, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response};

use super::conditional::{Conditions, Validators};
use super::cookies::CookieJar;
use super::failure::Failure;
use super::framing::BodyStream;
use super::signing::Signing;

/// How many bytes of a redirect's body are read so that its connection can be reused. A longer body
/// costs the connection.
const MAX_DRAINED: usize = 64 * 1024;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Headers that say what the client is and takes, besides those that begin with `accept`, `sec-`
/// and, with a body, `content-`. They hold no secrets, unless the task says so.
const NOT_SECRET: [HeaderName; 6] =
    [CACHE_CONTROL, DNT, PRAGMA, RANGE, UPGRADE_INSECURE_REQUESTS, USER_AGENT];

/// The next request of a fetch.
pub(crate) struct Hop<'a> {
    request: &'a FetchRequest,
    pub(crate) address: Cow<'a, Address>,
    method: Method,
    with_body: bool,
    /// The fetch has not left the site of the task's URL.
    at_site: bool,
    /// What is known of the page.
    conditions: Option<&'a Conditions>,
}

impl<'a> Hop<'a> {
    pub(crate) fn first(request: &'a FetchRequest, conditions: Option<&'a Conditions>) -> Self {
        let (address, method) = (Cow::Borrowed(&request.address), request.method.clone());
        Self { request, address, method, with_body: true, at_site: true, conditions }
    }

    pub(crate) fn send(
        &self,
        client: &Client,
        jar: &CookieJar,
        signing: Option<&Signing>,
    ) -> impl Future<Output = reqwest::Result<Response>> + use<> {
        let url = self.address.as_url();
        let mut request = client.request(self.method.clone(), url.clone());
        let own_cookies = self.request.headers.get(COOKIE).filter(|_| self.carries(&COOKIE));
        let cookies = jar.field(own_cookies, url);
        let condition = self.condition();
        let has_own = cookies.is_some() || condition.is_some() || signing.is_some();
        if has_own || !self.request.headers.is_empty() {
            let mut headers = HeaderMap::new();
            for (name, value) in &self.request.headers {
                if *name != COOKIE && self.carries(name) {
                    headers.append(name, value.clone());
                }
            }
            headers.extend(cookies.map(|cookies| (COOKIE, cookies)));
            condition.into_iter().for_each(|known| known.add_to(&mut headers));
            if let Some(signing) = signing {
                signing.sign(url, &mut headers);
            }
            request = request.headers(headers);
        }
        if let (true, Some(body)) = (self.with_body, &self.request.body) {
            request = request.body(body.clone());
        }
        request.send()
    }

    /// The version that this request names, if the page is known from this very URL.
    pub(super) fn condition(&self) -> Option<&'a Validators> {
        self.conditions?.at(&self.address)
    }

    /// Asks without a condition from now on.
    pub(super) fn drop_conditions(&mut self) {
        self.conditions = None;
    }

    /// Whether a header of the task goes along with this request. To other sites go only headers
    /// that hold no secrets.
    fn carries(&self, name: &HeaderName) -> bool {
        let begins = |start| name.as_str().starts_with(start);
        // They describe the body.
        if begins("content-") && !self.with_body {
            return false;
        }
        let is_known = begins("accept") || begins("content-") || begins("sec-");
        let is_open = is_known || NOT_SECRET.contains(name);
        self.at_site || is_open && !self.request.secret_headers.contains(name)
    }

    /// Follows a redirect as browsers do (WHATWG Fetch, "HTTP-redirect fetch").
    pub(crate) fn redirect(&mut self, status: StatusCode, location: &[u8]) -> Result<(), Failure> {
        let next = self.address.follow(location)?;
        self.at_site &= self.address.is_site_of(&next);
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
        if self.with_body && self.request.secret_body && !self.at_site {
            let text = "the redirect would take the secret body of the task to another site";
            return Err(Failure::new(Outcome::Redirect, text));
        }
        Ok(())
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Whether the fetch has not left the site of the task, so that its secrets go along.
    pub(super) fn is_at_site(&self) -> bool {
        self.at_site
    }

    /// Whether the body of the task goes along, if it has one.
    pub(super) fn has_body(&self) -> bool {
        self.with_body
    }

    /// Whether the request may be sent again although the server may have acted on it.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// The target of a redirect, the first one that is not empty; `None` for any other response.
pub(crate) fn location(response: &Response) -> Option<Vec<u8>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let mut locations = response.headers().get_all(LOCATION).iter().map(HeaderValue::as_bytes);
    is_redirect.then(|| locations.find(|value| !value.is_empty())).flatten().map(<[u8]>::to_vec)
}

/// The content type: all values of the field, separated by commas.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(CONTENT_TYPE).iter().map(|value| value.as_bytes()).collect();
    (!values.is_empty()).then(|| String::from_utf8_lossy(&values.join(&b", "[..])).into_owned())
}

/// The text of a header. Bytes that are not UTF-8 are replaced.
pub(crate) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Reads a short body to its end, so that the connection can be reused. The next hop notices a
/// failure.
pub(super) async fn drain(mut body: BodyStream) {
    if body.ends_with_connection() {
        return;
    }
    let read = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = body.next().await {
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
