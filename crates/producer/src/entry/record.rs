//! What one entry asks for.

use fetchline_queue::{AddressError, FetchRequest, NotATask};
use serde_json::{Map, Value};

/// The highest priority of a task.
pub const MAX_PRIORITY: u8 = 9;

/// A fetch request and its priority.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) request: FetchRequest,
    pub(crate) priority: Option<u8>,
}

/// Parses an entry that is a URL alone.
pub(crate) fn parse_url(text: &str) -> Result<Record, String> {
    match FetchRequest::get_url(text) {
        Ok(request) => Ok(Record { request, priority: None }),
        Err(error) => Err(unusable_url(&error)),
    }
}

fn unusable_url(error: &AddressError) -> String {
    format!("the URL is not usable: {error}")
}

/// The fields of an entry by name.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a JSON object. The error does not repeat the text, which may hold a secret.
    pub(crate) fn parse_json(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err("the line is not a JSON object".to_owned()),
            Err(error) => Err(format!("the line is not valid JSON from column {}", error.column())),
        }
    }

    /// Collects pairs of a heading and a cell. An empty cell counts as missing. Only `headers` and
    /// `body` may be JSON objects.
    pub(crate) fn from_cells<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let field = |(name, cell): (&str, &str)| {
            let json = match name {
                "headers" | "body" => serde_json::from_str(cell).ok().filter(Value::is_object),
                _ => None,
            };
            (name.to_owned(), json.unwrap_or_else(|| cell.into()))
        };
        Self(cells.filter(|(_, cell)| !cell.trim().is_empty()).map(field).collect())
    }

    /// Reads the record. Unknown fields are ignored: a list may hold more than we need.
    pub(crate) fn into_record(mut self, url_field: &str) -> Result<Record, String> {
        let priority = self.0.remove("priority").filter(|value| !value.is_null());
        let priority = priority.map(|value| parse_priority(&value)).transpose()?;
        let Some(url) = self.0.remove(url_field) else {
            return Err(format!("it has no field `{url_field}`"));
        };
        self.0.insert("url".to_owned(), url);
        match FetchRequest::from_json(Value::Object(self.0).to_string()) {
            Ok(request) => Ok(Record { request, priority }),
            Err(NotATask::Url(error)) => Err(unusable_url(&error)),
            // The position is one in the text above, not in the list.
            Err(NotATask::Json(_)) => Err("a field is of another type than expected".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
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
                "body":{"sku":7},"category":"Tea","priority":9,"run":"other","unknown":[1]}"#,
        )
        .unwrap();
        assert_eq!((record.request.method.as_str(), record.priority), ("POST", Some(9)));
        assert_eq!(record.request.category.as_deref(), Some("Tea"));
        assert_eq!(record.request.body.as_deref(), Some(&br#"{"sku":7}"#[..]));
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
