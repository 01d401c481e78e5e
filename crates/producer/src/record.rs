//! What one entry of a source asks for.

use fetchline_queue::{AddressError, NotATask, Order};
use serde_json::{Map, Value};

/// The highest priority that a message may have here.
pub const MAX_PRIORITY: u8 = 9;

/// A request, and how soon it is to be sent.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) order: Order,
    pub(crate) priority: Option<u8>,
}

/// A URL alone.
pub(crate) fn url(text: &str) -> Result<Record, String> {
    match Order::get_url(text) {
        Ok(order) => Ok(Record { order, priority: None }),
        Err(error) => Err(no_url(&error)),
    }
}

fn no_url(error: &AddressError) -> String {
    match error {
        AddressError::Empty => error.to_string(),
        error => format!("no URL that can be fetched: {error}"),
    }
}

/// The fields of an entry by their names.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// A JSON object. The error does not repeat it: it may hold a secret.
    pub(crate) fn json(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err("it is no JSON object".to_owned()),
            Err(error) => Err(format!("it is no JSON: its syntax is wrong at column {}", error.column())),
        }
    }

    /// Cells under headings. Empty ones say nothing; headers and a body may be JSON.
    pub(crate) fn cells<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let field = |(name, cell): (&str, &str)| {
            let json = match name {
                "headers" | "body" => serde_json::from_str(cell).ok().filter(Value::is_object),
                _ => None,
            };
            (name.to_owned(), json.unwrap_or_else(|| cell.into()))
        };
        Self(cells.filter(|(_, cell)| !cell.trim().is_empty()).map(field).collect())
    }

    /// What they ask for. Fields that mean nothing here are left out: a list may hold more than we need.
    pub(crate) fn record(mut self, url_field: &str) -> Result<Record, String> {
        let priority = self.0.remove("priority").filter(|value| !value.is_null());
        let priority = priority.map(|value| read_priority(&value)).transpose()?;
        match Order::from_json(self.0, url_field) {
            Ok(order) => Ok(Record { order, priority }),
            Err(NotATask::Url(error)) => Err(no_url(&error)),
            Err(NotATask::Json(what)) => Err(what),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn read_priority(value: &Value) -> Result<u8, String> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    let number = number.and_then(|number| u8::try_from(number).ok()).filter(|priority| *priority <= MAX_PRIORITY);
    number.ok_or_else(|| format!("its priority is none from 0 to {MAX_PRIORITY}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Record, String> {
        Fields::json(text)?.record("url")
    }

    #[test]
    fn an_object_may_say_all_that_a_message_may() {
        let record = json(
            r#"{"url":"http://a.example/","method":"post","headers":{"x-a":"1"},"body":{"sku":7},"category":"Tea",
                "priority":9,"run":"other","unknown":[1]}"#,
        )
        .unwrap();
        assert_eq!((record.order.method.as_str(), record.priority), ("POST", Some(9)));
        assert_eq!(record.order.category.as_deref(), Some("Tea"));
        assert_eq!(record.order.body.as_deref(), Some(&br#"{"sku":7}"#[..]));
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not_repeated() {
        for (text, says) in [
            (r#"{"link":"http://a.example/"}"#, "it has no field `url`"),
            (r#"{"url":"ftp://a.example/"}"#, "no URL that can be fetched"),
            (r#"{"url":"http://a.example/","priority":10}"#, "its priority"),
            (r#"{"url":"http://a.example/","method":"BREW"}"#, "the method"),
            (r#"{"url":"http://a.example/","headers":{"authorization":5}}"#, "`authorization`"),
            (r#"{"url":"http://a.example/","headers":"hunter2"}"#, "of another type"),
            (r#"{"url":"http://user:hunter2@"#, "its syntax is wrong"),
            ("[1]", "no JSON object"),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
