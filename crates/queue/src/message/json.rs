//! The JSON form of a message.

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::not_a_task::NotATask;

/// The longest name of a header, in bytes. Errors shorten longer names.
const MAX_NAME_BYTES: usize = 200;
/// A time from this year on is a mistake, such as milliseconds in the place of seconds.
const MAX_YEAR: i32 = 2100;
/// Headers that belong to the connection and that the worker sets.
pub const RESERVED_HEADERS: [HeaderName; 5] =
    [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// The methods of requests.
pub(crate) const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// A message as a JSON object. A field with another name is a mistake: ignored, it would silently
/// change what is fetched.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonMessage<'a> {
    pub(super) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<serde_json::Map<String, serde_json::Value>>,
    /// The exact text of the value: a number of twenty digits and the order of keys are kept.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) secret_headers: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) secret_body: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revalidate: Option<bool>,
}

impl<'a> JsonMessage<'a> {
    /// Parses the text of a message.
    pub(super) fn parse(text: &'a str) -> Result<Self, NotATask> {
        serde_json::from_str(text).map_err(|error| {
            let wrong = field_of_another_type(text);
            NotATask::Json(wrong.unwrap_or_else(|| describe(&error)))
        })
    }
}

/// A string of JSON, borrowed if nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Decodes the text of a body that is a string; `None` if it is other JSON.
pub(super) fn string_body(body: &RawValue) -> Result<Option<Cow<'_, str>>, NotATask> {
    if !body.get().starts_with('"') {
        return Ok(None);
    }
    match serde_json::from_str(body.get()) {
        Ok(Text(text)) => Ok(Some(text)),
        Err(_) => Err(NotATask::Json("the body is not a valid string".to_owned())),
    }
}

/// Describes a parse error. The library's text repeats the unexpected value, which may be a secret;
/// the name of a field is not.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        return text;
    }
    // The name is one of ours.
    if let Some(name) = text.strip_prefix("duplicate field `").and_then(|it| it.split('`').next()) {
        return format!("the field `{name}` is there twice");
    }
    if let Some(text) = text.strip_prefix("unknown field `")
        && let Some((name, known)) = text.rsplit_once("`, expected")
    {
        return format!("unknown field `{}`, expected{known}", shortened(name));
    }
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        _ => "its syntax is wrong",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// The first field whose value has another type than the field. The parser names none.
fn field_of_another_type(text: &str) -> Option<String> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let is_text_or_null = |value: &serde_json::Value| value.is_string() || value.is_null();
    let wrong = fields.iter().find_map(|(name, value)| {
        let (is_right, expected) = match name.as_str() {
            "url" => (value.is_string(), "a string"),
            "method" | "category" | "run" => (is_text_or_null(value), "a string"),
            "headers" => (value.is_object() || value.is_null(), "an object"),
            "secret_headers" => (value.is_array(), "a list of strings"),
            "secret_body" => (value.is_boolean(), "true or false"),
            "revalidate" => (value.is_boolean() || value.is_null(), "true or false"),
            _ => return None,
        };
        (!is_right).then_some((name, expected))
    });
    wrong.map(|(name, expected)| format!("the field `{name}` has to be {expected}"))
}

/// The beginning of a name that is too long.
fn shortened(name: &str) -> String {
    match name.len() > MAX_NAME_BYTES {
        true => name.chars().take(20).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// Parses a method; case does not matter.
pub(super) fn parse_method(name: &str) -> Result<Method, NotATask> {
    let known = METHODS.into_iter().find(|method| name.eq_ignore_ascii_case(method.as_str()));
    known.ok_or(NotATask::Method)
}

/// Parses a time: RFC 3339, or seconds since 1970, as a number or as text. `None` if it is blank.
pub(super) fn parse_time(value: &serde_json::Value) -> Option<Result<OffsetDateTime, NotATask>> {
    let time = match value {
        serde_json::Value::Null => return None,
        serde_json::Value::String(text) if text.trim().is_empty() => return None,
        serde_json::Value::String(text) => match text.trim().parse() {
            Ok(seconds) => from_seconds(seconds),
            Err(_) => OffsetDateTime::parse(text.trim(), &Rfc3339).ok(),
        },
        value => value.as_i64().or_else(|| Some(value.as_f64()? as i64)).and_then(from_seconds),
    };
    let time = time.filter(|time| (1970..MAX_YEAR).contains(&time.year()));
    Some(time.map(|time| time.to_offset(UtcOffset::UTC)).ok_or(NotATask::NotBefore))
}

fn from_seconds(seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

/// Parses the name of a header.
pub(super) fn parse_header_name(name: &str) -> Result<HeaderName, NotATask> {
    if name.len() > MAX_NAME_BYTES {
        return Err(NotATask::Header(shortened(name), "its name is too long"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_and_its_value_is_not() {
        for (text, expected) in [
            (r#"{"url":"a","url":"b"}"#, "the field `url` is there twice"),
            (r#"{"url":"a","run":5}"#, "the field `run` has to be a string"),
            (r#"{"url":["hunter2"]}"#, "the field `url` has to be a string"),
            (r#"{"url":"a","headers":"hunter2"}"#, "the field `headers` has to be an object"),
            (r#"{"url":"a","secret_headers":"hunter2"}"#, "`secret_headers` has to be a list"),
            (r#"{"url":"a","revalidate":"hunter2"}"#, "`revalidate` has to be true or false"),
            (r#"{"url":"a","secret_headers":[1]}"#, "a field is missing or of another type"),
            (r#"{"run":"a"}"#, "missing field `url`"),
        ] {
            let error = JsonMessage::parse(text).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
        assert!(JsonMessage::parse(r#"{"url":"a","run":null,"headers":null}"#).is_ok());
    }
}
