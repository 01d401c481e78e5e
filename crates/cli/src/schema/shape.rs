//! Shapes of JSON, as JSON Schema.

use fetchline_store::Outcome;
use serde_json::{Map, Value, json};

/// A field of an object.
pub(crate) struct Field {
    name: &'static str,
    shape: Value,
    is_required: bool,
}

/// A field that is always there.
pub(crate) fn field(name: &'static str, shape: Value) -> Field {
    Field { name, shape, is_required: true }
}

/// A field that is left out where it does not apply.
pub(crate) fn optional(name: &'static str, shape: Value) -> Field {
    Field { name, shape, is_required: false }
}

/// An object with these fields, and no others.
pub(crate) fn object(fields: impl IntoIterator<Item = Field>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for Field { name, shape, is_required } in fields {
        properties.insert(name.to_owned(), shape);
        required.extend(is_required.then_some(name));
    }
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

/// An object whose fields have names that are not known here.
pub(crate) fn map(names: Value, values: Value) -> Value {
    json!({ "type": "object", "propertyNames": names, "additionalProperties": values })
}

pub(crate) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

pub(crate) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// One of some words.
pub(crate) fn word<T: Into<Value>>(description: &str, words: impl IntoIterator<Item = T>) -> Value {
    let words: Vec<Value> = words.into_iter().map(Into::into).collect();
    json!({ "type": "string", "enum": words, "description": description })
}

/// A time in UTC.
pub(crate) fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

/// A decimal number, as a text: a binary number would not be exact.
pub(crate) fn decimal(description: &str) -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+([.][0-9]+)?$", "description": description })
}

/// A whole number from 0.
pub(crate) fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

pub(crate) fn number(description: &str) -> Value {
    json!({ "type": "number", "description": description })
}

pub(crate) fn boolean(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

/// Adds what a shape means.
pub(crate) fn described(description: &str, mut shape: Value) -> Value {
    shape["description"] = description.into();
    shape
}

/// Allows `null` as well.
pub(crate) fn nullable(mut shape: Value) -> Value {
    shape["type"] = json!([shape["type"], "null"]);
    if let Some(words) = shape.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    }
    shape
}

/// The number of rows by outcome, as the database has them. A newer release may have others.
pub(crate) fn outcomes(description: &str) -> Value {
    let known = Outcome::ALL.map(Outcome::as_str);
    let names = json!({ "pattern": "^[a-z_]{1,20}$", "examples": known });
    described(description, map(names, count("Rows with this outcome.")))
}
