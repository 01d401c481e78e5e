//! What a task asks for.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::IgnoredAny;
use serde_json::value::to_raw_value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::address::{Address, AddressError};
use super::json::{
    JsonMessage, parse_header, parse_header_name, parse_method, parse_time, string_body,
};
use super::not_a_task::{MAX_MESSAGE_BYTES, NotATask};
use super::typed::{bare, is_padding};
use super::url_line::UrlLines;

/// The memory of an entry in a map of headers, besides its texts, in bytes.
const HEADER_BYTES: usize = 104;

/// What to fetch.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    /// The URL to fetch.
    pub address: Address,
    /// The URL as it was given, if that differs from `address`. One with credentials is not kept.
    pub given: Option<Box<str>>,
    /// GET unless the message names another method.
    pub method: Method,
    /// The headers of the request. Those that may hold secrets are sent only to the site of
    /// `address`.
    pub headers: HeaderMap,
    /// The body of the request. If the message holds it as it is sent, this is a slice of the
    /// message's memory.
    pub body: Option<Bytes>,
    /// The category of the product on the page.
    pub category: Option<String>,
    /// The fetch does not begin before this time.
    pub not_before: Option<OffsetDateTime>,
    /// Headers that are sent only to the site of `address`, although others of their name may be
    /// sent anywhere.
    pub secret_headers: Vec<HeaderName>,
    /// Whether the body is sent only to the site of `address`.
    pub secret_body: bool,
    /// Whether the page is fetched only if it has changed; `None` for what the worker does by
    /// default.
    pub revalidate: Option<bool>,
}

impl FetchRequest {
    /// A GET request.
    pub fn get(address: Address) -> Self {
        Self {
            address,
            given: None,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: None,
            category: None,
            not_before: None,
            secret_headers: Vec::new(),
            secret_body: false,
            revalidate: None,
        }
    }

    /// A GET request for a URL. White space and quotes around it are ignored, and so are invisible
    /// characters.
    pub fn get_url(text: &str) -> Result<Self, AddressError> {
        let text = &*bare(text);
        let address = Address::parse(text)?;
        let given = (text != address.as_str() && !address.has_credentials()).then(|| text.into());
        Ok(Self { given, ..Self::get(address) })
    }

    /// The fields of a message that is a JSON object. Others are refused.
    pub const FIELDS: [&str; 10] = [
        "url",
        "method",
        "headers",
        "body",
        "category",
        "not_before",
        "run",
        "secret_headers",
        "secret_body",
        "revalidate",
    ];

    /// Parses the text of a JSON object like that of a message. The field `run` is ignored.
    pub fn from_json(text: String) -> Result<Self, NotATask> {
        let text = Bytes::from(text);
        let json = std::str::from_utf8(&text).map_err(|_| NotATask::NotText)?;
        Self::of(JsonMessage::parse(json)?, &text)
    }

    /// Parses a message body: a bare URL or a JSON object. The second value is the run that the
    /// object names. `is_certain` says that a bare URL is the whole body, whatever it contains.
    pub(super) fn read(data: &Bytes, is_certain: bool) -> Result<(Self, Option<String>), NotATask> {
        if data.len() > MAX_MESSAGE_BYTES {
            return Err(NotATask::TooLarge(data.len()));
        }
        let text = std::str::from_utf8(data).map_err(|_| NotATask::NotText)?;
        let text = text.trim_matches(is_padding);
        if text.starts_with('[') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
            return Err(NotATask::Json("it is not an object".to_owned()));
        }
        if !text.starts_with('{') {
            if text.contains('\n') {
                let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
                return Err(NotATask::SeveralLines(lines));
            }
            let request = Self::get_url(text)?;
            let doubt = || UrlLines::default().doubt(&bare(text)).map(NotATask::UnclearEnd);
            return match (!is_certain).then(doubt).flatten() {
                Some(doubt) => Err(doubt),
                None => Ok((request, None)),
            };
        }
        let mut json = JsonMessage::parse(text)?;
        let run = json.run.take();
        Ok((Self::of(json, data)?, run))
    }

    /// `message` is the memory that `json` borrows from.
    fn of(json: JsonMessage<'_>, message: &Bytes) -> Result<Self, NotATask> {
        let mut request = Self::get_url(&json.url)?;
        if let Some(method) = json.method {
            request.method = parse_method(&method)?;
        }
        for (name, value) in json.headers.unwrap_or_default() {
            let (name, value) = parse_header(name, &value)?;
            request.headers.append(name, value);
        }
        request.body = match json.body {
            None => None,
            Some(json) => Some(match string_body(json)? {
                Some(Cow::Borrowed(text)) => message.slice_ref(text.as_bytes()),
                Some(Cow::Owned(text)) => text.into(),
                None => {
                    let json_type = HeaderValue::from_static("application/json");
                    request.headers.entry(CONTENT_TYPE).or_insert(json_type);
                    message.slice_ref(json.get().as_bytes())
                }
            }),
        };
        request.not_before = json.not_before.as_ref().and_then(parse_time).transpose()?;
        let secret = json.secret_headers.iter().map(|name| parse_header_name(name));
        request.secret_headers = secret.collect::<Result<_, _>>()?;
        request.secret_body = json.secret_body;
        request.revalidate = json.revalidate;
        request.category = json.category.filter(|category| !category.trim().is_empty());
        Ok(request)
    }

    /// The message body that [`Task::read`](super::Task::read) parses, a bare URL if that is
    /// enough, and its content type.
    pub(crate) fn message(&self) -> (Vec<u8>, &'static str) {
        let is_plain = self.method == Method::GET
            && self.headers.is_empty()
            && self.body.is_none()
            && self.category.is_none()
            && self.not_before.is_none()
            && self.secret_headers.is_empty()
            && !self.secret_body
            && self.revalidate.is_none();
        if is_plain {
            return (self.url().as_bytes().to_vec(), "text/plain");
        }
        let headers = self.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value.into())
        });
        let body =
            self.body.as_ref().and_then(|body| to_raw_value(&String::from_utf8_lossy(body)).ok());
        let json = JsonMessage {
            url: self.url().to_owned(),
            method: Some(self.method.to_string()),
            headers: (!self.headers.is_empty()).then(|| headers.collect()),
            body: body.as_deref(),
            category: self.category.clone(),
            // A time of this range always has this form.
            not_before: self.not_before.and_then(|time| Some(time.format(&Rfc3339).ok()?.into())),
            run: None,
            secret_headers: self.secret_headers.iter().map(ToString::to_string).collect(),
            secret_body: self.secret_body,
            revalidate: self.revalidate,
        };
        (serde_json::to_vec(&json).unwrap_or_default(), "application/json")
    }

    /// Whether the request may be sent any number of times: because of its method, or because it
    /// has an `Idempotency-Key`.
    pub fn is_safe_to_repeat(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            || self.headers.contains_key("idempotency-key")
    }

    /// The size of the message in bytes if it exceeds [`MAX_MESSAGE_BYTES`]: no worker would accept
    /// it.
    pub fn too_large(&self) -> Option<usize> {
        // Escaping makes a character at most six bytes long. A request that is small even then is
        // not serialized just to measure it.
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6).sum();
        let body = self.body.as_ref().map_or(0, Bytes::len);
        let category = self.category.as_ref().map_or(0, String::len);
        let secret: usize = self.secret_headers.iter().map(|name| name.as_str().len() + 3).sum();
        if secret + headers + body + category + self.url().len() < MAX_MESSAGE_BYTES / 8 {
            return None;
        }
        Some(self.message().0.len()).filter(|&bytes| bytes > MAX_MESSAGE_BYTES)
    }

    /// The approximate memory of the request in bytes, without the message that it was read from.
    ///
    /// Most of it can be a body that was unescaped. A waiting task may drop the
    /// body and be read again when it is needed.
    pub fn own_bytes(&self, message: &Bytes) -> usize {
        let texts = [self.given.as_deref(), self.category.as_deref(), Some(self.address.as_str())];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| HEADER_BYTES + name.as_str().len() + value.len());
        let memory = message.as_ptr_range();
        let body = self.body.as_ref().filter(|body| !memory.contains(&body.as_ptr()));
        let secret = self.secret_headers.iter().map(|name| HEADER_BYTES + name.as_str().len());
        texts + headers.chain(secret).sum::<usize>() + body.map_or(0, Bytes::len)
    }

    /// The URL as it stands in messages.
    fn url(&self) -> &str {
        self.given.as_deref().unwrap_or(self.address.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Result<FetchRequest, NotATask> {
        FetchRequest::read(&Bytes::copy_from_slice(data.as_bytes()), false)
            .map(|(request, _)| request)
    }

    #[test]
    fn a_url_is_normalised_and_the_given_form_is_kept() {
        let request = read(" https://B\u{fc}cher.example:443/stra\u{df}e#top\n").unwrap();
        assert_eq!(request.address.as_str(), "https://xn--bcher-kva.example/stra%C3%9Fe");
        assert_eq!(
            request.given.as_deref(),
            Some("https://B\u{fc}cher.example:443/stra\u{df}e#top")
        );
        let same = read("https://shop.example/p/1").unwrap();
        let secret = read("https://user:hunter2@Shop.example/").unwrap();
        assert_eq!((same.given, secret.given), (None, None));
    }

    #[test]
    fn a_time_is_rfc_3339_or_seconds_and_anything_else_is_an_error() {
        let not_before = |value: &str| {
            let data = format!(r#"{{"url":"https://a.example/","not_before":{value}}}"#);
            read(&data).map(|request| request.not_before.map(|time| time.unix_timestamp()))
        };
        for (value, expected) in [
            ("1772364600", Some(1_772_364_600)),
            ("\"1772364600\"", Some(1_772_364_600)),
            ("1772364600.9", Some(1_772_364_600)),
            ("\" 2026-03-01T11:30:00Z \"", Some(1_772_364_600)),
            ("\"2026-03-01T13:00:00+01:30\"", Some(1_772_364_600)),
            ("0", Some(0)),
            ("null", None),
            ("\"\"", None),
        ] {
            assert_eq!(not_before(value), Ok(expected), "{value}");
        }
        // The last but two are milliseconds.
        for value in ["\"tomorrow\"", "true", "[1]", "\"2h\"", "1772364600000", "-1", "1e300"] {
            assert_eq!(not_before(value), Err(NotATask::NotBefore), "{value}");
        }
    }

    #[test]
    fn errors_do_not_repeat_what_may_be_a_secret() {
        for data in [
            r#"{"url":"https://a.example/","headers":{"Authorization":"hunter2\n"}}"#,
            r#"{"url":"https://a.example/","headers":"Authorization: Bearer hunter2"}"#,
            r#"{"url":["hunter2"]}"#,
        ] {
            let error = read(data).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_written_message_is_read_back() {
        for data in [
            "https://a.example/?q=1",
            "HTTPS://a.example#x",
            r#"{"url":"https://a.example/","method":"PUT","headers":{"x-a":"1"},"body":"text",
                "category":"tea","not_before":"2026-03-01T11:30:00.5+01:30"}"#,
            r#"{"url":"https://a.example/","secret_headers":["accept"],"secret_body":true}"#,
            r#"{"url":"https://a.example/","revalidate":true}"#,
            r#"{"url":"https://a.example/","revalidate":false,"category":"tea"}"#,
        ] {
            let request = read(data).unwrap();
            let (again, _) = FetchRequest::read(&request.message().0.into(), false).unwrap();
            assert_eq!(again, request);
        }
    }

    #[test]
    fn a_body_that_the_message_holds_as_it_is_sent_is_not_copied() {
        for (body, sent, shared) in [
            ("\"sku=7&t\u{e4}g=1\"", "sku=7&t\u{e4}g=1", true),
            (r#""""#, "", true),
            (r#""say \"hi\"""#, r#"say "hi""#, false),
            (r#"{"z": [1.10, 2e0], "a": "\/"}"#, r#"{"z": [1.10, 2e0], "a": "\/"}"#, true),
            ("[ -1 ]", "[ -1 ]", true),
            ("123456789012345678901234567890", "123456789012345678901234567890", true),
            (r#"{"id":1,"id":2}"#, r#"{"id":1,"id":2}"#, true),
            ("false", "false", true),
        ] {
            let message =
                Bytes::from(format!(" {{\"url\":\"https://a.example/\",\"body\":{body}}}\n"));
            let (request, _) = FetchRequest::read(&message, false).unwrap();
            let read = request.body.clone().unwrap();
            assert_eq!(read, sent.as_bytes());
            let bodiless = FetchRequest { body: None, ..request.clone() };
            let copied = request.own_bytes(&message) - bodiless.own_bytes(&message);
            assert_eq!(copied, if shared { 0 } else { sent.len() }, "{body}");
            let inside = message.as_ptr_range().contains(&read.as_ptr());
            assert_eq!(inside, shared && !sent.is_empty(), "{body}");
        }
        let null = read(r#"{"url":"https://a.example/","body":null}"#).unwrap();
        assert_eq!(null.body, None);
    }

    #[test]
    fn own_bytes_count_everything_outside_the_message() {
        let own = |request: &FetchRequest| request.own_bytes(&Bytes::new());
        let plain = FetchRequest::get_url("https://a.example/").unwrap();
        let given = FetchRequest::get_url("https://a.example:443/").unwrap();
        let category = FetchRequest { category: Some("tea".into()), ..plain.clone() };
        let mut header = plain.clone();
        header.headers.insert("accept", HeaderValue::from_static("text/html"));
        assert_eq!(own(&plain), "https://a.example/".len());
        assert_eq!(own(&given) - own(&plain), "https://a.example:443/".len());
        assert_eq!(own(&category) - own(&plain), "tea".len());
        assert!(own(&header) > own(&plain) + "accepttext/html".len());
    }
}
