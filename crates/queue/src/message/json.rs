//! The JSON form of a message.

use std::borrow::Cow;
use std::fmt;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::not_a_task::NotATask;

/// The longest name of a header, in bytes.
const MAX_HEADER_NAME_BYTES: usize = 200;
/// Headers that belong to the connection and that the worker sets.
const RESERVED_HEADERS: [HeaderName; 5] =
    [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// A message as a JSON object.
#[derive(Serialize, Deserialize)]
pub(super) struct JsonMessage<'a> {
    pub(super) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<JsonBody<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) secret_headers: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) secret_body: bool,
}

/// The body of a request in a message.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum JsonBody<'a> {
    /// Sent as it is; borrowed from the message if nothing in it is escaped.
    Text(Cow<'a, str>),
    /// Sent as JSON.
    Json(serde_json::Value),
}

impl<'a> JsonMessage<'a> {
    /// Parses the text of a message.
    pub(super) fn parse(text: &'a str) -> Result<Self, NotATask> {
        serde_json::from_str(text).map_err(|error| NotATask::Json(describe(&error)))
    }
}

impl JsonMessage<'_> {
    /// Converts an object whose URL stands in the field `url_field`.
    pub(super) fn from_object(
        mut object: serde_json::Map<String, serde_json::Value>,
        url_field: &str,
    ) -> Result<JsonMessage<'static>, NotATask> {
        let Some(url) = object.remove(url_field) else {
            return Err(NotATask::Json(format!("it has no field `{url_field}`")));
        };
        object.insert("url".to_owned(), url);
        JsonMessage::deserialize(serde_json::Value::from(object))
            .map_err(|_| NotATask::Json("a field is of another type than expected".to_owned()))
    }
}

/// Describes a parse error. The library's text repeats the unexpected value, which may be a secret.
fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        _ => "its syntax is wrong",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// Parses a method; case does not matter.
pub(super) fn parse_method(name: &str) -> Result<Method, NotATask> {
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

/// Parses the name of a header.
pub(super) fn parse_header_name(name: &str) -> Result<HeaderName, NotATask> {
    if name.len() > MAX_HEADER_NAME_BYTES {
        let start: String = name.chars().take(20).collect();
        return Err(NotATask::Header(format!("{start}…"), "its name is too long"));
    }
    HeaderName::try_from(name)
        .map_err(|_| NotATask::Header(name.to_owned(), "its name is not allowed in HTTP"))
}

/// Parses a header. The error never repeats the value, which may be a secret.
pub(super) fn parse_header(
    name: String,
    value: &serde_json::Value,
) -> Result<(HeaderName, HeaderValue), NotATask> {
    let parsed = parse_header_name(&name)?;
    let Some(value) = value.as_str() else {
        return Err(NotATask::Header(name, "its value is not a string"));
    };
    if RESERVED_HEADERS.contains(&parsed) {
        return Err(NotATask::Header(name, "the worker sets it"));
    }
    let Ok(value) = HeaderValue::from_str(value) else {
        return Err(NotATask::Header(name, "its value is not allowed in HTTP"));
    };
    Ok((parsed, value))
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonBodyVisitor)
    }
}

/// Accepts any JSON except `null`, which means that there is no body.
struct JsonBodyVisitor;

impl<'de> Visitor<'de> for JsonBodyVisitor {
    type Value = JsonBody<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a body")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonBody::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(JsonBody::Text(Cow::Owned(text)))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(JsonBody::Json(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(JsonBody::Json(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(JsonBody::Json(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(JsonBody::Json(value.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(JsonBody::Json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(JsonBody::Json)
    }
}
