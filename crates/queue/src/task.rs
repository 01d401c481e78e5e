//! A task: what a message asks for, and who it is.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lapin::BasicProperties;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Address, AddressError, header};

/// The largest message that is read as a task, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// The longest name of a run or a part, in bytes.
pub const MAX_NAME_BYTES: usize = 100;
/// The longest name of a header, in bytes.
const MAX_HEADER_NAME_BYTES: usize = 200;
/// What a map of headers needs for each, besides its texts.
const HEADER_BYTES: usize = 104;
/// The run of a message that names none.
pub const NO_RUN: &str = "adhoc";
/// Headers that belong to the connection and are the worker's to set.
const RESERVED_HEADERS: [HeaderName; 5] = [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// The identity of a task, the same over retries, redeliveries and replays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

/// What is to be fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Where.
    pub address: Address,
    /// The URL as it was given, where that differs from `address`. One with credentials is not kept.
    pub given: Option<Box<str>>,
    /// GET unless the message says otherwise.
    pub method: Method,
    /// Set on the request, and only for the origin of `address`.
    pub headers: HeaderMap,
    /// The body of the request. Where the message holds it as it is sent, this is a part of the
    /// message's memory.
    pub body: Option<Bytes>,
    /// The category that the product is to have.
    pub category: Option<String>,
}

/// An order with its identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What is to be fetched.
    pub order: Order,
    /// The run that the task belongs to.
    pub run: String,
    /// The part of the run: one `produce`. `None` for messages from elsewhere.
    pub part: Option<String>,
    /// The identity; the primary key of the task's row.
    pub key: Key,
    /// The message's own id; `None` for one that was typed by hand, which is fetched however often it is typed.
    pub message_id: Option<String>,
    /// The broker delivers those of a higher one first; `None` for as it comes.
    pub priority: Option<u8>,
    /// 1 for the first try.
    pub attempt: u32,
    /// How often the task was put off without a try.
    pub parked: u32,
    /// Why it was put off for the last time, and how often in a row for that.
    pub parked_for: Option<(DeferReason, u32)>,
    /// How often the broker got the message back unsettled.
    pub returned: u64,
    /// When the message was given up before, where it was replayed or moved back since. What is known of its task from
    /// before that does not count.
    pub failed_at: Option<OffsetDateTime>,
}

/// Why a task is deferred without a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeferReason {
    /// Its host has no slot for it soon.
    Slot,
    /// Its host is paused.
    Pause,
    /// The worker was short of memory.
    Memory,
}

/// Why a message is no task. Trying again cannot help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATask {
    /// Above [`MAX_MESSAGE_BYTES`].
    #[error("the message has {0} bytes, and {MAX_MESSAGE_BYTES} are allowed")]
    TooLarge(usize),
    /// The body is no text.
    #[error("the message is not UTF-8 text")]
    NotText,
    /// A property, or the name of a header, which it names. Its bytes that were not UTF-8 are
    /// replaced by SUB.
    #[error("{0} is not UTF-8 text, or holds the character SUB; publish the message again with a text that is")]
    NotUtf8(String),
    /// The headers left no room in a frame. They are not there any more.
    #[error("the headers of the message take nearly a frame of AMQP or more, and were dropped; publish it with fewer")]
    HeadersTooLarge,
    /// The body begins like a JSON object and is none that asks for a URL.
    #[error("the message is no JSON object with a `url`: {0}")]
    Json(String),
    /// The URL cannot be fetched.
    #[error("the URL is not usable: {0}")]
    Url(#[from] AddressError),
    /// The method is none of those that are fetched.
    #[error("the method is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
    Method,
    /// A header cannot be sent.
    #[error("the header `{0}` cannot be sent: {1}")]
    Header(String, &'static str),
    /// The name of the run, or of its part, is empty or too long.
    #[error("the name of a run, or of a part of it, has 1 to {MAX_NAME_BYTES} bytes and no control characters")]
    Run,
    /// It says that it tells of a part of a run, and does not.
    #[error("the message tells of no part of a run: {0}")]
    Part(String),
}

/// The JSON form of a message.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    body: Option<WrittenBody<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
}

/// The body of a request as a message holds it.
#[derive(Serialize)]
#[serde(untagged)]
enum WrittenBody<'a> {
    /// To be sent as it is; borrowed where the message escapes nothing in it.
    Text(Cow<'a, str>),
    /// To be sent as JSON.
    Json(serde_json::Value),
}

impl<'de: 'a, 'a> Deserialize<'de> for WrittenBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyBody)
    }
}

/// Takes any JSON but `null`, which is no body.
struct AnyBody;

impl<'de> Visitor<'de> for AnyBody {
    type Value = WrittenBody<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a body")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(WrittenBody::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(WrittenBody::Text(Cow::Owned(text)))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(WrittenBody::Json(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(WrittenBody::Json(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(WrittenBody::Json(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(WrittenBody::Json(value.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(WrittenBody::Json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(WrittenBody::Json)
    }
}

impl Key {
    /// The key of a task that `produce` made. `copy` tells apart tasks that are equal on purpose.
    pub fn of(run: &str, part: &str, order: &Order, copy: u64) -> Self {
        let body = order.body.as_deref().unwrap_or_default();
        Self::hash(&[
            run.as_bytes(),
            part.as_bytes(),
            order.method.as_str().as_bytes(),
            order.address.as_str().as_bytes(),
            body,
            &copy.to_be_bytes(),
        ])
    }

    /// The key of a message that came with an id of its own: the id itself where it is a key, else its hash.
    fn of_message(run: &str, message_id: &str) -> Self {
        let mut key = [0; 32];
        match hex::decode_to_slice(message_id, &mut key) {
            Ok(()) => Self(key),
            Err(_) => Self::hash(&[run.as_bytes(), message_id.as_bytes()]),
        }
    }

    /// Each field is preceded by its length, so that no two lists of fields are hashed alike.
    fn hash(fields: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }

    /// The 32 bytes that are stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Half of the key: enough to find doubles among the URLs of one run.
    pub fn half(&self) -> u128 {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        u128::from_be_bytes(half)
    }
}

/// Writes the key in hexadecimal, as it stands in `message_id`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Order {
    /// The order to GET an address.
    pub fn get(address: Address) -> Self {
        Self { address, given: None, method: Method::GET, headers: HeaderMap::new(), body: None, category: None }
    }

    /// The order to GET what a text names; white space around it is ignored.
    pub fn get_url(text: &str) -> Result<Self, AddressError> {
        let address = Address::parse(text)?;
        let text = text.trim();
        let given = (text != address.as_str() && !address.has_credentials()).then(|| text.into());
        Ok(Self { given, ..Self::get(address) })
    }

    /// The URL as it stands in messages.
    fn url(&self) -> &str {
        self.given.as_deref().unwrap_or(self.address.as_str())
    }

    /// Reads a message body: a bare URL, or a JSON object. The second value is the run that the object names.
    fn read(data: &Bytes) -> Result<(Self, Option<String>), NotATask> {
        if data.len() > MAX_MESSAGE_BYTES {
            return Err(NotATask::TooLarge(data.len()));
        }
        let text = std::str::from_utf8(data).map_err(|_| NotATask::NotText)?;
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if text.starts_with(['[', '"']) {
            return Err(NotATask::Json("it is no object".to_owned()));
        }
        if !text.starts_with('{') {
            return Ok((Self::get_url(text)?, None));
        }
        let mut written: Written = serde_json::from_str(text).map_err(|error| NotATask::Json(describe(&error)))?;
        let run = written.run.take();
        Ok((Self::of(written, data)?, run))
    }

    /// Reads a JSON object like that of a message, whose URL may stand in another field. A run is not read.
    pub fn from_json(
        mut object: serde_json::Map<String, serde_json::Value>,
        url_field: &str,
    ) -> Result<Self, NotATask> {
        object.remove("run");
        let Some(url) = object.remove(url_field) else {
            return Err(NotATask::Json(format!("it has no field `{url_field}`")));
        };
        object.insert("url".to_owned(), url);
        let written = Written::deserialize(serde_json::Value::from(object))
            .map_err(|_| NotATask::Json("a field is of another type than it should be".to_owned()))?;
        Self::of(written, &Bytes::new())
    }

    /// What `written` borrows, it borrows from `message`.
    fn of(written: Written<'_>, message: &Bytes) -> Result<Self, NotATask> {
        let mut order = Self::get_url(&written.url)?;
        if let Some(method) = written.method {
            order.method = read_method(&method)?;
        }
        for (name, value) in written.headers.unwrap_or_default() {
            let (name, value) = read_header(name, &value)?;
            order.headers.append(name, value);
        }
        order.body = match written.body {
            None => None,
            Some(WrittenBody::Text(Cow::Borrowed(text))) => Some(message.slice_ref(text.as_bytes())),
            Some(WrittenBody::Text(Cow::Owned(text))) => Some(text.into()),
            Some(WrittenBody::Json(json)) => {
                order.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(json.to_string().into())
            }
        };
        order.category = written.category.filter(|category| !category.trim().is_empty());
        Ok(order)
    }

    /// The bytes of its message, where they are too many for one: no worker would take it.
    pub fn too_large(&self) -> Option<usize> {
        // A character may be written as six bytes. What is small even so is not written out to be counted.
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6).sum();
        let body = self.body.as_ref().map_or(0, Bytes::len);
        let category = self.category.as_ref().map_or(0, String::len);
        if headers + body + category + self.url().len() < MAX_MESSAGE_BYTES / 8 {
            return None;
        }
        Some(self.message().0.len()).filter(|&bytes| bytes > MAX_MESSAGE_BYTES)
    }

    /// About how many bytes the order holds besides the message that it was read from. Most of them
    /// can be a body that had to be unescaped or written anew: who has to wait may drop it, and
    /// read the task again when it is needed.
    pub fn own_bytes(&self, message: &Bytes) -> usize {
        let texts = [self.given.as_deref(), self.category.as_deref(), Some(self.address.as_str())];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        let headers = self.headers.iter().map(|(name, value)| HEADER_BYTES + name.as_str().len() + value.len());
        let memory = message.as_ptr_range();
        let body = self.body.as_ref().filter(|body| !memory.contains(&body.as_ptr()));
        texts + headers.sum::<usize>() + body.map_or(0, Bytes::len)
    }

    /// The message body that [`Task::read`] reads back: a bare URL where that says it all. And its content type.
    pub(crate) fn message(&self) -> (Vec<u8>, &'static str) {
        let plain =
            self.method == Method::GET && self.headers.is_empty() && self.body.is_none() && self.category.is_none();
        if plain {
            return (self.url().as_bytes().to_vec(), "text/plain");
        }
        let headers = self.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
        });
        let written = Written {
            url: self.url().to_owned(),
            method: Some(self.method.to_string()),
            headers: (!self.headers.is_empty()).then(|| headers.collect()),
            body: self.body.as_ref().map(|body| WrittenBody::Text(String::from_utf8_lossy(body))),
            category: self.category.clone(),
            run: None,
        };
        (serde_json::to_vec(&written).unwrap_or_default(), "application/json")
    }
}

/// The library's text repeats the value that it did not expect, which may be a secret.
fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        _ => "its syntax is wrong",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

fn read_method(name: &str) -> Result<Method, NotATask> {
    match name.to_ascii_uppercase().as_str() {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "OPTIONS" => Ok(Method::OPTIONS),
        _ => Err(NotATask::Method),
    }
}

/// The error never repeats the value, which may be a secret.
fn read_header(mut name: String, value: &serde_json::Value) -> Result<(HeaderName, HeaderValue), NotATask> {
    if name.len() > MAX_HEADER_NAME_BYTES {
        name = name.chars().take(20).collect();
        return Err(NotATask::Header(format!("{name}…"), "its name is too long"));
    }
    let Some(value) = value.as_str() else {
        return Err(NotATask::Header(name, "its value is no text"));
    };
    let Ok(parsed) = HeaderName::try_from(&name) else {
        return Err(NotATask::Header(name, "its name is not allowed in HTTP"));
    };
    if RESERVED_HEADERS.contains(&parsed) {
        return Err(NotATask::Header(name, "it is set by the worker"));
    }
    let Ok(value) = HeaderValue::from_str(value) else {
        return Err(NotATask::Header(name, "its value is not allowed in HTTP"));
    };
    Ok((parsed, value))
}

/// Whether a run, or a part of one, may be called that.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

impl Task {
    /// A task that has not been tried yet.
    pub fn new(order: Order, run: String, part: String, key: Key) -> Self {
        let (part, message_id) = (Some(part), Some(key.to_string()));
        Self {
            order,
            run,
            part,
            key,
            message_id,
            priority: None,
            attempt: 1,
            parked: 0,
            parked_for: None,
            returned: 0,
            failed_at: None,
        }
    }

    /// Reads what the broker delivered. Reading it again gives the same task.
    pub fn read(properties: &BasicProperties, data: &Bytes) -> Result<Self, NotATask> {
        header::undamaged(properties)?;
        let (order, named_run) = Order::read(data)?;
        let run = header::text(properties, header::RUN).or(named_run).unwrap_or_else(|| NO_RUN.to_owned());
        let part = header::text(properties, header::PART);
        if !is_name(&run) || part.as_deref().is_some_and(|part| !is_name(part)) {
            return Err(NotATask::Run);
        }
        let message_id = properties.message_id().as_ref().map(|id| id.as_str().to_owned()).filter(|id| !id.is_empty());
        let key = match &message_id {
            Some(id) => Key::of_message(&run, id),
            None => Key::of(&run, "", &order, 0),
        };
        let attempt = header::number(properties, header::ATTEMPT).unwrap_or(1);
        Ok(Self {
            order,
            run,
            part,
            key,
            message_id,
            priority: *properties.priority(),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX).max(1),
            parked: header::number(properties, header::PARKED)
                .map_or(0, |times| u32::try_from(times).unwrap_or(u32::MAX)),
            parked_for: header::text(properties, header::PARKED_FOR).and_then(|text| DeferReason::read(&text)),
            returned: [header::DELIVERY_COUNT, header::RETURNED]
                .into_iter()
                .filter_map(|name| header::number(properties, name))
                .fold(0, u64::saturating_add),
            failed_at: header::text(properties, header::FAILED_AT)
                .and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()),
        })
    }

    /// How often in a row the task was deferred for this, up to now.
    pub fn deferred_for(&self, reason: DeferReason) -> u32 {
        self.parked_for.filter(|(last, _)| *last == reason).map_or(0, |(_, times)| times)
    }
}

impl DeferReason {
    const ALL: [Self; 3] = [Self::Slot, Self::Pause, Self::Memory];

    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Pause => "pause",
            Self::Memory => "memory",
        }
    }

    /// The reason and the number of times of a text such as `pause 3`.
    fn read(text: &str) -> Option<(Self, u32)> {
        let (reason, times) = text.split_once(' ')?;
        Some((Self::ALL.into_iter().find(|it| it.as_str() == reason)?, times.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    fn read(data: &str) -> Result<Task, NotATask> {
        Task::read(&BasicProperties::default(), &Bytes::copy_from_slice(data.as_bytes()))
    }

    #[test]
    fn a_url_typed_by_hand_is_a_task() {
        let task = read(" \u{feff}https://shop.example/p/1 \n").unwrap();
        assert_eq!(task.order, Order::get(Address::parse("https://shop.example/p/1").unwrap()));
        assert_eq!((task.run.as_str(), task.part, task.message_id, task.attempt), ("adhoc", None, None, 1));
    }

    #[test]
    fn a_url_is_normalised_and_what_was_given_is_kept() {
        let task = read(" https://B\u{fc}cher.example:443/stra\u{df}e#top\n").unwrap();
        assert_eq!(task.order.address.as_str(), "https://xn--bcher-kva.example/stra%C3%9Fe");
        assert_eq!(task.order.given.as_deref(), Some("https://B\u{fc}cher.example:443/stra\u{df}e#top"));
        let same = read("https://shop.example/p/1").unwrap();
        let secret = read("https://user:hunter2@Shop.example/").unwrap();
        assert_eq!((same.order.given, secret.order.given), (None, None));
    }

    #[test]
    fn a_json_object_may_say_more() {
        let task = read(
            r#"{"url":"https://shop.example/api","method":"post","headers":{"Accept":"text/html"},
                "body":{"sku":7},"category":"tea","run":"nightly","unknown":true}"#,
        )
        .unwrap();
        assert_eq!(task.order.method, Method::POST);
        assert_eq!(task.order.headers["accept"], "text/html");
        assert_eq!(task.order.headers["content-type"], "application/json");
        assert_eq!(task.order.body.as_deref(), Some(&br#"{"sku":7}"#[..]));
        assert_eq!((task.order.category.as_deref(), task.run.as_str()), (Some("tea"), "nightly"));
    }

    #[test]
    fn what_is_no_task_says_why() {
        for (data, reason) in [
            ("", "empty"),
            ("hello", "absolute"),
            (r#"{"link":"https://a.example/"}"#, "`url`"),
            (r#"["https://a.example/"]"#, "JSON object"),
            (r#"{"url":"ftp://a.example/"}"#, "`ftp`"),
            (r#"{"url":"https://a.example/","method":"BREW"}"#, "method"),
            (r#"{"url":"https://a.example/","headers":{"Host":"b.example"}}"#, "`Host`"),
            (r#"{"url":"https://a.example/","headers":{"x y":"1"}}"#, "`x y`"),
            (r#"{"url":"https://a.example/","headers":{"x":1}}"#, "no text"),
            (r#"{"url":"https://a.example/","run":""}"#, "name of a run"),
            (&"x".repeat(MAX_MESSAGE_BYTES + 1), "bytes"),
        ] {
            let error = read(data).unwrap_err().to_string();
            assert!(error.contains(reason), "{}: {error}", &data[..data.len().min(60)]);
        }
        let error = Task::read(&BasicProperties::default(), &Bytes::from_static(b"\xff\xfe")).unwrap_err();
        assert_eq!(error, NotATask::NotText);
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
    fn properties_name_run_part_attempt_and_id() {
        let mut headers = FieldTable::default();
        headers.insert("x-run".into(), AMQPValue::LongString("nightly".into()));
        headers.insert("x-part".into(), AMQPValue::LongString("p1".into()));
        headers.insert("x-attempt".into(), AMQPValue::LongString("3".into()));
        let properties = BasicProperties::default().with_headers(headers).with_message_id("order-17".into());
        let body = Bytes::from_static(br#"{"url":"https://a.example/","run":"other"}"#);
        let task = Task::read(&properties, &body).unwrap();
        assert_eq!((task.run.as_str(), task.part.as_deref(), task.attempt), ("nightly", Some("p1"), 3));
        assert_eq!(task.key, Key::of_message("nightly", "order-17"));
    }

    #[test]
    fn the_key_is_what_the_message_id_says() {
        let order = Order::get(Address::parse("https://a.example/").unwrap());
        let key = Key::of("run", "part", &order, 0);
        assert_eq!(Key::of_message("any run", &key.to_string()), key);
        assert_ne!(Key::of("run", "part", &order, 1), key);
        assert_ne!(Key::of("runp", "art", &order, 0), key);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for data in [
            "https://a.example/?q=1",
            "HTTPS://a.example#x",
            r#"{"url":"https://a.example/","method":"PUT","headers":{"x-a":"1"},"body":"text","category":"tea"}"#,
        ] {
            let task = read(data).unwrap();
            let (body, _) = task.order.message();
            let again = Task::read(&BasicProperties::default(), &body.into()).unwrap();
            assert_eq!(again.order, task.order);
        }
    }

    #[test]
    fn a_body_is_held_once_where_the_message_holds_it_as_it_is_sent() {
        for (body, sent, shared) in [
            ("\"sku=7&t\u{e4}g=1\"", "sku=7&t\u{e4}g=1", true),
            (r#""""#, "", true),
            (r#""say \"hi\"""#, r#"say "hi""#, false),
            (r#"{"a": [1, 2.5, true, null]}"#, r#"{"a":[1,2.5,true,null]}"#, false),
            ("[ -1 ]", "[-1]", false),
            ("18446744073709551615", "18446744073709551615", false),
            ("false", "false", false),
        ] {
            let message = Bytes::from(format!(" {{\"url\":\"https://a.example/\",\"body\":{body}}}\n"));
            let order = Task::read(&BasicProperties::default(), &message).unwrap().order;
            let read = order.body.clone().unwrap();
            assert_eq!(read, sent.as_bytes());
            let bodiless = Order { body: None, ..order.clone() };
            let copied = order.own_bytes(&message) - bodiless.own_bytes(&message);
            assert_eq!(copied, if shared { 0 } else { sent.len() }, "{body}");
            let inside = message.as_ptr_range().contains(&read.as_ptr());
            assert_eq!(inside, shared && !sent.is_empty(), "{body}");
        }
        let null = read(r#"{"url":"https://a.example/","body":null}"#).unwrap();
        assert_eq!(null.order.body, None);
    }

    #[test]
    fn own_bytes_grow_with_all_that_is_not_the_messages() {
        let own = |order: &Order| order.own_bytes(&Bytes::new());
        let plain = Order::get_url("https://a.example/").unwrap();
        let given = Order::get_url("https://a.example:443/").unwrap();
        let category = Order { category: Some("tea".into()), ..plain.clone() };
        let mut header = plain.clone();
        header.headers.insert("accept", HeaderValue::from_static("text/html"));
        assert_eq!(own(&plain), "https://a.example/".len());
        assert_eq!(own(&given) - own(&plain), "https://a.example:443/".len());
        assert_eq!(own(&category) - own(&plain), "tea".len());
        assert!(own(&header) > own(&plain) + "accepttext/html".len());
    }

    #[test]
    fn a_message_that_is_read_twice_is_the_same_task() {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        headers.insert("x-failed-at".into(), AMQPValue::LongString("2026-03-01T10:00:00Z".into()));
        for id in ["", "order-17"] {
            let properties =
                BasicProperties::default().with_headers(headers.clone()).with_message_id(id.into()).with_priority(3);
            let message = Bytes::from_static(
                br#"{"url":"https://a.example/#x","method":"POST","headers":{"b":"2","a":"1"},
                    "body":{"z":1,"a":"\n","m":0.1},"category":"tea","run":"nightly"}"#,
            );
            let first = Task::read(&properties, &message).unwrap();
            let mut waiting = first.clone();
            waiting.order.body = None;
            assert_ne!(waiting, first);
            assert_eq!(Task::read(&properties, &message).unwrap(), first);
        }
    }

    #[test]
    fn a_damaged_text_is_no_task_and_is_named() {
        let bad = || "a\u{1a}b".into();
        let none = BasicProperties::default;
        let body = Bytes::from_static(b"https://a.example/");
        for (properties, place) in [
            (none().with_content_type(bad()), "content_type"),
            (none().with_content_encoding(bad()), "content_encoding"),
            (none().with_correlation_id(bad()), "correlation_id"),
            (none().with_reply_to(bad()), "reply_to"),
            (none().with_expiration(bad()), "expiration"),
            (none().with_message_id(bad()), "message_id"),
            (none().with_type(bad()), "type"),
            (none().with_user_id(bad()), "user_id"),
            (none().with_app_id(bad()), "app_id"),
            (none().with_cluster_id(bad()), "cluster_id"),
        ] {
            let error = Task::read(&properties, &body).unwrap_err();
            assert_eq!(error, NotATask::NotUtf8(format!("the property {place}")));
        }
        let table = |name: &str, value| FieldTable::from(BTreeMap::from([(name.into(), value)]));
        let deep = AMQPValue::FieldTable(table("a\u{1a}b", AMQPValue::Void));
        for headers in [
            table("a\u{1a}b", AMQPValue::Void),
            table("outer", deep.clone()),
            table("outer", AMQPValue::FieldArray(vec![AMQPValue::Void, deep].into())),
            table("outer", AMQPValue::ShortString(bad())),
        ] {
            let error = Task::read(&none().with_headers(headers), &body).unwrap_err();
            assert_eq!(error, NotATask::NotUtf8("the name of the header `a\u{fffd}b`".to_owned()));
        }
        let dropped = none().with_headers(table("x-headers-too-large\u{1a}", AMQPValue::Void));
        assert_eq!(Task::read(&dropped, &body), Err(NotATask::HeadersTooLarge));
        // What a long string holds is the publisher's own affair.
        let text = table("x-note", AMQPValue::LongString(vec![0xff, 0x1a].into()));
        assert!(Task::read(&none().with_headers(text), &body).is_ok());
    }
}
