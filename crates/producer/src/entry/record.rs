//! What one entry asks for.

use fetchline_queue::{AddressError, FetchRequest, NotATask, begins_with_scheme, has_second_url};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The highest priority of a task.
pub const MAX_PRIORITY: u8 = 9;

/// The longest path of an object whose fields are searched for a URL, in bytes.
const MAX_PATH_BYTES: usize = 200;

/// A fetch request and its priority.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) request: FetchRequest,
    pub(crate) priority: Option<u8>,
}

/// Parses an entry that is a URL alone.
pub(crate) fn parse_url(text: &str) -> Result<Record, String> {
    check_url_text(text)?;
    match FetchRequest::get_url(text) {
        Ok(request) => Ok(Record { request, priority: None }),
        Err(error) => Err(unusable_url(&error)),
    }
}

/// Refuses texts that the URL standard accepts although they are not what was meant.
fn check_url_text(text: &str) -> Result<(), String> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err("the URL is not usable: a character was lost in a conversion; if the list is \
                    not UTF-8, name its encoding with --encoding"
            .to_owned());
    }
    match has_second_url(text) {
        true => Err("the URL is not usable: a second URL follows it".to_owned()),
        false => Ok(()),
    }
}

fn unusable_url(error: &AddressError) -> String {
    format!("the URL is not usable: {error}")
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
    pub(crate) fn parse_json(text: &str) -> Result<Self, String> {
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
    pub(super) fn from_cells<'a>(
        url: &str,
        cells: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut fields = Map::from_iter([("url".to_owned(), url.into())]);
        let mut body = None;
        for (name, cell) in cells {
            let json = match name {
                "category" | "method" | "not_before" | "priority" => None,
                "headers" | "body" => serde_json::from_str(cell).ok().filter(Value::is_object),
                _ => continue,
            };
            if !cell.trim().is_empty() && !fields.contains_key(name) {
                if name == "body" && json.is_some() {
                    body = Some(cell.to_owned());
                }
                fields.insert(name.to_owned(), json.unwrap_or_else(|| cell.into()));
            }
        }
        Self { values: fields, body }
    }

    /// Reads the record. Unknown fields are ignored: a list may hold more than we need.
    ///
    /// The URL is the field `url_field`, or, if no field has this name, the one at this path:
    /// `link` in the object `item` for `item.link`.
    pub(super) fn into_record(mut self, url_field: &str) -> Result<Record, String> {
        if !self.values.contains_key(url_field)
            && let Some(url) = nested(&self.values, url_field).cloned()
        {
            self.values.insert(url_field.to_owned(), url);
        }
        match self.values.get(url_field) {
            Some(Value::String(url)) => check_url_text(url)?,
            Some(_) => {}
            None => return Err(missing_url(&self.values, url_field)),
        }
        let priority = self.values.remove("priority").filter(|value| !value.is_null());
        let priority = priority.map(|value| parse_priority(&value)).transpose()?;
        let Some(url) = self.values.remove(url_field) else {
            return Err(format!("it has no field `{url_field}`"));
        };
        self.values.insert("url".to_owned(), url);
        self.values.retain(|name, _| FetchRequest::FIELDS.contains(&name.as_str()));
        match FetchRequest::from_json(self.into_json()) {
            Ok(request) => Ok(Record { request, priority }),
            Err(NotATask::Url(error)) => Err(unusable_url(&error)),
            // The position is one in the text above, not in the list.
            Err(NotATask::Json(_)) => Err("a field is of another type than expected".to_owned()),
            Err(error) => Err(error.to_string()),
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

/// The value at a path such as `item.link` or `links.0`.
fn nested<'a>(fields: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(fields.get(first)?, |value, name| match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(values) => values.get(name.parse::<usize>().ok()?),
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
        .ok_or_else(|| format!("the priority is not a whole number from 0 to {MAX_PRIORITY}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Record, String> {
        Fields::parse_json(text)?.into_record("url")
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
    fn an_error_says_what_is_wrong_and_repeats_no_secret() {
        for (text, expected) in [
            (r#"{"link":"http://a.example/"}"#, "`url`"),
            (r#"{"url":"ftp://a.example/"}"#, "the URL is not usable"),
            (r#"{"url":"http://a.example/","priority":10}"#, "the priority"),
            (r#"{"url":"http://a.example/","method":"BREW"}"#, "the method"),
            (r#"{"url":"http://a.example/","headers":{"authorization":5}}"#, "`authorization`"),
            (r#"{"url":"http://a.example/","headers":"hunter2"}"#, "type"),
            (r#"{"url":"http://user:hunter2@"#, "not valid JSON"),
            ("[1]", "not a JSON object"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
