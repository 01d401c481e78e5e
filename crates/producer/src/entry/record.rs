//! What one entry asks for.

use std::fmt;

use fetchline_queue::{FetchRequest, NotATask, begins_with_scheme};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::format::trimmed;
use super::url_text::{self, unusable};

/// The highest priority of a task.
pub const MAX_PRIORITY: u8 = 9;

/// The longest path of an object whose fields are searched for a URL, in bytes.
const MAX_PATH_BYTES: usize = 200;

/// Names of the list in an answer of an API, whose own URL is that of the answer.
const LISTS: [&str; 11] = [
    "results", "items", "data", "entries", "products", "pages", "urls", "rows", "records", "hits",
    "children",
];

/// Names of the object that holds this list.
const ANSWERS: [&str; 5] = ["data", "response", "result", "results", "payload"];

/// A fetch request and its priority.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) request: FetchRequest,
    pub(crate) priority: Option<u8>,
}

/// Parses an entry that is a URL alone.
pub(crate) fn parse_url(text: &str) -> Result<Record, String> {
    url_text::check(text)?;
    parse_certain_url(text)
}

/// Parses a line of which the user says that it is one URL, whatever it contains.
pub(super) fn parse_certain_url(text: &str) -> Result<Record, String> {
    url_text::check_whole(trimmed(text))?;
    let request = FetchRequest::get_url(text).map_err(unusable)?;
    Record::new(request, None)
}

impl Record {
    fn new(request: FetchRequest, priority: Option<u8>) -> Result<Self, String> {
        let url = request.given.as_deref().unwrap_or(request.address.as_str());
        url_text::check_whole(url)?;
        url_text::check_host(&request.address, url)?;
        Ok(Self { request, priority })
    }
}

/// The fields of an entry by name.
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// The exact text of a body that is an object, a list or a number. Its value in `values` has
    /// lost the order of keys and the digits of large numbers.
    body: Option<String>,
}

/// The body of a request in a JSON object.
#[derive(Deserialize)]
struct GivenBody<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl Fields {
    /// Parses a JSON object. The error does not repeat the text, which may hold a secret.
    pub(crate) fn parse_json(text: &str, url_field: &str) -> Result<Self, String> {
        if has_key_twice(text, url_field) {
            return Err(format!("the object has the field `{url_field}` twice"));
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(values)) => {
                let is_json = values.get("body").is_some_and(|body| !body.is_string());
                let given = is_json.then(|| serde_json::from_str(text).ok()).flatten();
                let body = given.and_then(|GivenBody { body }| Some(body?.get().to_owned()));
                Ok(Self { values, body })
            }
            Ok(_) => Err("the entry is not a JSON object".to_owned()),
            Err(error) => {
                Err(format!("the entry is not valid JSON from column {}", error.column()))
            }
        }
    }

    /// Collects the URL of a row, and pairs of a heading and a cell. Of equal headings the first
    /// one counts. An empty cell counts as missing. Only `headers` and `body` may be JSON objects.
    /// A body needs a method: most columns with this name hold the text of a page.
    pub(super) fn from_cells<'a>(
        url: &str,
        cells: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut fields = Map::from_iter([("url".to_owned(), url.into())]);
        let mut body = None;
        for (name, cell) in cells {
            let json = match name {
                "category" | "method" | "not_before" | "priority" => None,
                "headers" | "body" => serde_json::from_str(cell).ok().filter(Value::is_object),
                _ => continue,
            };
            if cell.trim_start().starts_with('=') {
                return Err(format!("`{name}` is a formula without its value"));
            }
            if !cell.trim().is_empty() && !fields.contains_key(name) {
                if name == "body" && json.is_some() {
                    body = Some(cell.to_owned());
                }
                fields.insert(name.to_owned(), json.unwrap_or_else(|| cell.into()));
            }
        }
        if fields.contains_key("body") && !fields.contains_key("method") {
            return Err(
                "`body` is the body of a request, which needs a `method`; rename the column \
                        if it holds something else"
                    .to_owned(),
            );
        }
        Ok(Self { values: fields, body })
    }

    /// Reads the record. Unknown fields are ignored: a list may hold more than we need.
    ///
    /// The URL is the field `url_field`, or, if no field has this name, the one at this path:
    /// `link` in the object `item` for `item.link`.
    pub(super) fn into_record(mut self, url_field: &str) -> Result<Record, String> {
        let url = self.values.get(url_field).or_else(|| nested(&self.values, url_field));
        let Some(url) = url.cloned() else {
            return Err(missing_url(&self.values, url_field));
        };
        if let Value::String(url) = &url {
            url_text::check(url)?;
        }
        if let Some(list) = list_of_urls(&self.values, url_field) {
            return Err(format!(
                "besides its own URL, the object has a list of URLs, `{list}`; name the URLs that \
                 are meant, as with jq -c '.{list}[]'"
            ));
        }
        let is_sitemap = ["lastmod", "changefreq"].iter().any(|n| self.values.contains_key(*n));
        let priority = self.values.remove("priority");
        // That of a sitemap compares pages with each other, from 0.0 to 1.0.
        let priority = priority.filter(|value| !value.is_null() && !is_sitemap);
        let priority = priority.map(|value| parse_priority(&value)).transpose()?;
        self.values.remove(url_field);
        self.values.insert("url".to_owned(), url);
        self.values.retain(|name, _| FetchRequest::FIELDS.contains(&name.as_str()));
        self.simplify_category();
        let mistyped = mistyped(&self.values).unwrap_or("url");
        match FetchRequest::from_json(self.into_json()) {
            Ok(request) => Record::new(request, priority),
            Err(NotATask::Url(error)) => Err(unusable(&error)),
            // The position is one in the text above, not in the list.
            Err(NotATask::Json(_)) => {
                Err(format!("the field `{mistyped}` is of another type than expected"))
            }
            Err(error @ (NotATask::Method | NotATask::NotBefore)) => {
                Err(format!("{error}; rename the field if it holds something else"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A category may be a number, or stand in a list of its own.
    fn simplify_category(&mut self) {
        let Some(category) = self.values.get_mut("category") else { return };
        if let Value::Array(categories) = category
            && let [one] = &mut categories[..]
        {
            *category = one.take();
        }
        if category.is_number() {
            *category = category.to_string().into();
        }
    }

    /// The object as a text, with the body as it was given.
    fn into_json(mut self) -> String {
        let Some(body) = self.body else { return Value::Object(self.values).to_string() };
        self.values.remove("body");
        let mut text = Value::Object(self.values).to_string();
        // There is a field before it: the URL.
        text.truncate(text.len() - 1);
        text + ",\"body\":" + &body + "}"
    }
}

/// The first field whose value cannot be what it has to be.
fn mistyped(fields: &Map<String, Value>) -> Option<&'static str> {
    let is_text = |value: &Value| value.is_string() || value.is_null();
    let is_right = |name: &str, value: &Value| match name {
        "url" => value.is_string(),
        "method" | "category" => is_text(value),
        "headers" => value.is_object() || value.is_null(),
        "secret_headers" => value.is_array(),
        "secret_body" => value.is_boolean(),
        "revalidate" => value.is_boolean() || value.is_null(),
        _ => true,
    };
    FetchRequest::FIELDS
        .into_iter()
        .find(|name| fields.get(*name).is_some_and(|value| !is_right(name, value)))
}

/// Whether an object has a key twice, of which the parser would drop one.
fn has_key_twice(text: &str, name: &str) -> bool {
    // Nearly no line needs the second look.
    let quoted = Value::from(name).to_string();
    text.matches(&quoted).nth(1).is_some()
        && serde_json::from_str(text)
            .is_ok_and(|Keys(keys)| keys.iter().filter(|key| *key == name).nth(1).is_some())
}

/// The keys of an object, as they are given.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry()? {
            keys.push(key);
        }
        Ok(Keys(keys))
    }
}

/// The value at a path such as `item.link` or `links.0`.
fn nested<'a>(fields: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(fields.get(first)?, |value, name| match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(values) => values.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The path of a list of other URLs, which may stand in objects.
fn list_of_urls(fields: &Map<String, Value>, url_field: &str) -> Option<String> {
    let is_url = |value: &Value| {
        let url = value.get(url_field).unwrap_or(value);
        url.as_str().is_some_and(begins_with_scheme)
    };
    fields.iter().find_map(|(name, value)| match value {
        Value::Array(values) if LISTS.contains(&name.as_str()) => {
            values.iter().any(is_url).then(|| name.clone())
        }
        Value::Object(fields) if ANSWERS.contains(&name.as_str()) => {
            Some(format!("{name}.{}", list_of_urls(fields, url_field)?))
        }
        _ => None,
    })
}

/// Says which field is missing, and which one may be meant.
fn missing_url(fields: &Map<String, Value>, url_field: &str) -> String {
    let mut problem = format!("the object has no field `{url_field}`");
    let mut pending: Vec<(String, &Value)> =
        fields.iter().map(|(name, value)| (name.clone(), value)).collect();
    pending.reverse();
    while let Some((path, value)) = pending.pop() {
        match value {
            Value::String(text) if begins_with_scheme(text) => {
                problem.push_str(&format!("; `{path}` holds a URL: name it with --url-field"));
                break;
            }
            Value::Array(values) if values.iter().any(|value| value.is_object()) => {
                problem.push_str(&format!(
                    "; `{path}` is a list: make it JSON Lines, as with jq -c '.{path}[]'"
                ));
                break;
            }
            // Each field gets a copy of its path.
            Value::Object(fields) if path.len() <= MAX_PATH_BYTES => {
                pending
                    .extend(fields.iter().map(|(name, value)| (format!("{path}.{name}"), value)));
            }
            _ => {}
        }
    }
    problem
}

fn parse_priority(value: &Value) -> Result<u8, String> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    number
        .and_then(|number| u8::try_from(number).ok())
        .filter(|priority| *priority <= MAX_PRIORITY)
        .ok_or_else(|| {
            format!(
                "the priority is not a whole number from 0 to {MAX_PRIORITY}; rename the field if \
                 it holds something else"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Record, String> {
        Fields::parse_json(text, "url")?.into_record("url")
    }

    #[test]
    fn an_object_may_have_every_field_of_a_message() {
        let record = parse(
            r#"{"url":"http://a.example/","method":"post","headers":{"x-a":"1"},
                "body":{"sku": 1.10, "id": 12345678901234567890123},"category":"Tea","priority":9,"run":"other","unknown":[1]}"#,
        )
        .unwrap();
        assert_eq!((record.request.method.as_str(), record.priority), ("POST", Some(9)));
        assert_eq!(record.request.category.as_deref(), Some("Tea"));
        let body = br#"{"sku": 1.10, "id": 12345678901234567890123}"#;
        assert_eq!(record.request.body.as_deref(), Some(&body[..]));
    }

    #[test]
    fn a_url_below_a_short_path_is_named_and_no_other() {
        for (length, is_named) in [(200, true), (201, false)] {
            let name = "x".repeat(length);
            let text = format!(r#"{{"{name}":{{"link":"http://a.example/"}}}}"#);
            let error = parse(&text).unwrap_err();
            assert_eq!(error.contains("--url-field"), is_named, "{error}");
        }
    }

    #[test]
    fn a_field_that_means_something_else_is_no_obstacle() {
        for (text, category) in [
            (r#"{"url":"http://a.example/","category":12}"#, Some("12")),
            (r#"{"url":"http://a.example/","category":["Tea"]}"#, Some("Tea")),
            (r#"{"url":"http://a.example/","lastmod":"2026-01-01","priority":0.8}"#, None),
            (r#"{"url":"http://a.example/","changefreq":"daily","priority":1}"#, None),
            (r#"{"url":"http://a.example/","x":{"url":"http://a.example/2"}}"#, None),
            (r#"{"url":"http://a.example/","images":["http://a.example/2"]}"#, None),
            (r#"{"url":"http://a.example/","variants":[{"url":"http://a.example/2"}]}"#, None),
            (r#"{"url":"http://a.example/","items":[1,{"sku":"x"}]}"#, None),
        ] {
            let record = parse(text).unwrap();
            assert_eq!((record.request.category.as_deref(), record.priority), (category, None));
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_repeats_no_secret() {
        for (text, expected) in [
            (r#"{"link":"http://a.example/"}"#, "`url`"),
            (r#"{"url":"ftp://a.example/"}"#, "the URL is not usable"),
            (r#"{"url":"http://a.example/","priority":10}"#, "the priority"),
            (r#"{"url":"http://a.example/","method":"BREW"}"#, "the method"),
            (r#"{"url":"http://a.example/","headers":{"authorization":5}}"#, "`authorization`"),
            (r#"{"url":"http://a.example/","headers":"hunter2"}"#, "`headers` is of another type"),
            (
                r#"{"url":"http://a.example/","category":["a","b"]}"#,
                "`category` is of another type",
            ),
            (r#"{"products":[{"url":"http://a.example/"}]}"#, "jq -c '.products[]'"),
            (
                r#"{"url":"http://a.example/","results":[{"url":"http://a.example/1"}]}"#,
                ".results[]",
            ),
            (r#"{"url":"http://a.example/","items":["http://a.example/1"]}"#, ".items[]"),
            (
                r#"{"url":"http://a.example/","children":[{"url":"http://a.example/1"}]}"#,
                ".children[]",
            ),
            (
                r#"{"url":"http://a.example/","data":{"hits":[{"url":"http://a.example/1"}]}}"#,
                ".data.hits[]",
            ),
            (
                r#"{"url":"http://a.example/","response":{"urls":["http://a.example/1"]}}"#,
                ".response.urls[]",
            ),
            (r#"{"url":7}"#, "`url` is of another type"),
            (r#"{"url":"http://a.example/","method":"Organic"}"#, "rename"),
            (r#"{"url":"http://a.example/","not_before":"today"}"#, "rename"),
            (r#"{"url":"http://a.example/","priority":0.5}"#, "rename"),
            (r#"{"url":"http://a.example/1","x":"url","url":"http://a.example/2"}"#, "twice"),
            (r#"{"url":"http://user:hunter2@"#, "not valid JSON"),
            ("[1]", "not a JSON object"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
