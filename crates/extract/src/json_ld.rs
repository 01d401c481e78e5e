//! Schema.org in JSON-LD: from blocks of JSON to things.

use jsonc_parser::{JsonObject, JsonValue};

use crate::{
    items::{self, Items, MAX_NAMES, MAX_VALUE, Value},
    lenient_json,
};

/// How deep things are looked for. The price of a variant lies some six levels deep.
const MAX_DEPTH: usize = 32;

/// Adds the things of a block, or nothing where it is broken beyond repair.
pub(crate) fn add(block: &str, to: &mut Items) {
    lenient_json::read(block, |value| add_json(value, to));
}

/// Adds the things of JSON that was read already.
pub(crate) fn add_json(value: JsonValue<'_>, to: &mut Items) {
    add_value(value, None, to, MAX_DEPTH);
}

fn add_value(value: JsonValue<'_>, parent: Option<(usize, &str)>, to: &mut Items, levels: usize) {
    let Some(levels) = levels.checked_sub(1) else { return };
    match (value, parent) {
        (JsonValue::Object(object), _) => add_object(object, parent, to, levels),
        (JsonValue::Array(array), _) => array.into_iter().for_each(|value| add_value(value, parent, to, levels)),
        (JsonValue::String(text), Some((item, property))) => to.set(item, property, Value::Exact(decoded(&text))),
        (JsonValue::Number(text), Some((item, property))) => to.set(item, property, Value::Exact(text.to_owned())),
        (JsonValue::Boolean(_) | JsonValue::Null, _) | (_, None) => {}
    }
}

fn add_object(mut object: JsonObject<'_>, parent: Option<(usize, &str)>, to: &mut Items, levels: usize) {
    // Containers that are no thing themselves, and a value with its language or type.
    for container in ["@graph", "@list", "@set", "@value"] {
        if let Some(value) = object.take(container) {
            add_value(value, parent, to, levels);
            if object.get("@type").is_none() {
                return;
            }
        }
    }
    let types = object.get("@type").or_else(|| object.get("type")).map(types).unwrap_or_default();
    let id = object.get_string("@id").or_else(|| object.get_string("id")).map(|id| id.to_string());
    let Some(item) = to.add(types, id, parent) else { return };
    for (name, value) in object {
        if !name.starts_with('@') {
            add_value(value, Some((item, items::last_part(&name))), to, levels);
        }
    }
}

fn types(value: &JsonValue<'_>) -> Vec<String> {
    let name = |value: &JsonValue<'_>| match value {
        JsonValue::String(text) => Some(items::last_part(text).to_owned()),
        _ => None,
    };
    match value {
        JsonValue::Array(array) => array.iter().filter_map(name).take(MAX_NAMES).collect(),
        other => name(other).into_iter().collect(),
    }
}

/// Many sites write HTML entities into their JSON. Those without a semicolon are left alone where they may be a URL's
/// parameters, as in attributes. What would be cut off is not decoded first.
fn decoded(text: &str) -> String {
    htmlize::unescape_attribute(&text[..text.floor_char_boundary(MAX_VALUE)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn things(block: &str) -> Items {
        let mut items = Items::default();
        add(block, &mut items);
        items
    }

    #[test]
    fn graphs_lists_and_nested_things_are_found() {
        for block in [
            r#"{"@type":"Product","name":"Tea"}"#,
            r#"[[{"@type":"Product","name":"Tea"}]]"#,
            r#"{"@context":"x","@graph":[{"@type":"WebPage"},{"@type":"Product","name":"Tea"}]}"#,
            r#"{"@type":"Product","name":"Tea","@graph":[{"@type":"WebPage"}]}"#,
            r#"{"@type":"WebPage","@graph":{"@type":"Product","name":"Tea"}}"#,
            r#"{"@type":"WebPage","mainEntity":{"@type":["Thing","http://schema.org/Product"],"name":"Tea"}}"#,
            r#"{"type":"Product","schema:name":{"@value":"Tea","@language":"en"}}"#,
            r#"{"@type":"schema:Product","name":["Tea","Chai"]}"#,
            r#"{"@type":"Product","name":{"@list":["Tea"]}}"#,
            r#"{"@type":"Product","name":"&#84;ea"}"#,
            r#"{"@type":"Product","name":["","Tea"]}"#,
        ] {
            let items = things(block);
            let names: Vec<_> =
                items.all().filter(|&at| items.is_a(at, &["Product"])).map(|at| items.text(at, &["name"])).collect();
            assert_eq!(names, [Some("Tea")], "{block}");
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        let items = things(r#"{"@type":"Offer","price":0.1000000000000000055511}"#);
        assert_eq!(items.text(0, &["price"]), Some("0.1000000000000000055511"));
    }

    #[test]
    fn the_parameters_of_a_url_are_no_entities() {
        for (url, expected) in [
            ("/i?a=1&currency=EUR&copy=2", "/i?a=1&currency=EUR&copy=2"),
            ("/i?a=1&amp;currency=EUR", "/i?a=1&currency=EUR"),
        ] {
            let items = things(&format!(r#"{{"@type":"Product","image":"{url}"}}"#));
            assert_eq!(items.text(0, &["image"]), Some(expected));
        }
    }

    #[test]
    fn what_lies_too_deep_is_left_out() {
        let block = format!("{}{{\"@type\":\"Product\"}}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(things(&block).all().count(), 0);
    }
}
