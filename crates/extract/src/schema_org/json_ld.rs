//! Reads JSON-LD into a graph.

use jsonc_parser::{JsonObject, JsonValue};
use memchr::memmem;

use super::graph::{self, Graph, MAX_NAMES, MAX_VALUE, Value};
use crate::json;

/// Levels of nested JSON that are read. The price of a variant is about six levels deep.
const MAX_DEPTH: usize = 32;

/// Properties that may be true or false. Other ones have such values by mistake.
const FLAGS: [&str; 2] = ["availability", "valueAddedTaxIncluded"];

/// Bytes of the value of a property in JSON-LD that is too long to be read as a whole.
const MAX_PROPERTY: usize = 4 * 1024;

/// Properties of products that say nothing of them, and are often long.
const UNREAD: [&str; 5] = ["review", "reviews", "comment", "isRelatedTo", "isSimilarTo"];

/// Whether a member of a long object is read, by its name and value.
pub(crate) fn is_read(name: &str, value: &str) -> bool {
    let has_node = || memmem::find(value.as_bytes(), b"\"@type\"").is_some();
    !UNREAD.contains(&name) && (value.len() <= MAX_PROPERTY || has_node())
}

/// Adds the nodes of a block. Adds nothing if its JSON is beyond repair.
pub(crate) fn add_block(block: &str, graph: &mut Graph) {
    json::read(block, |value| add_json(value, graph));
}

/// Adds the nodes of parsed JSON.
pub(crate) fn add_json(value: JsonValue<'_>, graph: &mut Graph) {
    add_value(value, None, graph, MAX_DEPTH);
}

fn add_value(
    value: JsonValue<'_>,
    parent: Option<(usize, &str)>,
    graph: &mut Graph,
    levels: usize,
) {
    let Some(levels) = levels.checked_sub(1) else { return };
    match (value, parent) {
        (JsonValue::Object(object), _) => add_object(object, parent, graph, levels),
        (JsonValue::Array(array), _) => {
            array.into_iter().for_each(|value| add_value(value, parent, graph, levels))
        }
        (JsonValue::String(text), Some((node, property))) => {
            graph.add_value(node, property, Value::Machine(decode(&text)))
        }
        (JsonValue::Number(text), Some((node, property))) => {
            graph.add_value(node, property, Value::Machine(text.to_owned()))
        }
        (JsonValue::Boolean(value), Some((node, property))) if FLAGS.contains(&property) => {
            graph.add_value(node, property, Value::Machine(value.to_string()))
        }
        (JsonValue::Boolean(_) | JsonValue::Null, _) | (_, None) => {}
    }
}

fn add_object(
    mut object: JsonObject<'_>,
    parent: Option<(usize, &str)>,
    graph: &mut Graph,
    levels: usize,
) {
    // Containers that are not nodes, and a value with its language or type.
    for container in ["@graph", "@list", "@set", "@value"] {
        if let Some(value) = object.take(container) {
            add_value(value, parent, graph, levels);
            if object.get("@type").is_none() {
                return;
            }
        }
    }
    let types = object.get("@type").or_else(|| object.get("type")).map(types).unwrap_or_default();
    let id = object.get_string("@id").or_else(|| object.get_string("id")).map(|id| id.to_string());
    let Some(node) = graph.add_node(types, id, parent) else { return };
    for (name, value) in object {
        if !name.starts_with('@') {
            add_value(value, Some((node, graph::local_name(&name))), graph, levels);
        }
    }
}

fn types(value: &JsonValue<'_>) -> Vec<String> {
    let name = |value: &JsonValue<'_>| match value {
        JsonValue::String(text) => Some(graph::local_name(text).to_owned()),
        _ => None,
    };
    match value {
        JsonValue::Array(array) => array.iter().filter_map(name).take(MAX_NAMES).collect(),
        other => name(other).into_iter().collect(),
    }
}

/// Decodes the HTML entities that many sites write into their JSON, by the rules of attributes: an
/// entity without a semicolon may be a parameter of a URL. Text is truncated first, to decode no
/// more than is kept.
fn decode(text: &str) -> String {
    htmlize::unescape_attribute(&text[..text.floor_char_boundary(MAX_VALUE)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &str) -> Graph {
        let mut graph = Graph::default();
        add_block(block, &mut graph);
        graph
    }

    #[test]
    fn graphs_lists_and_nested_nodes_are_read() {
        for block in [
            r#"{"@type":"Product","name":"Tea"}"#,
            r#"[[{"@type":"Product","name":"Tea"}]]"#,
            r#"{"@context":"x","@graph":[{"@type":"WebPage"},{"@type":"Product","name":"Tea"}]}"#,
            r#"{"@type":"Product","name":"Tea","@graph":[{"@type":"WebPage"}]}"#,
            r#"{"@type":"WebPage","@graph":{"@type":"Product","name":"Tea"}}"#,
            r#"{"@type":"WebPage","mainEntity":{"@type":["Thing","http://schema.org/Product"],
                "name":"Tea"}}"#,
            r#"{"type":"Product","schema:name":{"@value":"Tea","@language":"en"}}"#,
            r#"{"@type":"schema:Product","name":["Tea","Chai"]}"#,
            r#"{"@type":"Product","name":{"@list":["Tea"]}}"#,
            r#"{"@type":"Product","name":"&#84;ea"}"#,
            r#"{"@type":"Product","name":["","Tea"]}"#,
        ] {
            let graph = read(block);
            let names: Vec<_> = graph
                .nodes()
                .filter(|&node| graph.is_a(node, &["Product"]))
                .map(|node| graph.text(node, &["name"]))
                .collect();
            assert_eq!(names, [Some("Tea")], "{block}");
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        let graph = read(r#"{"@type":"Offer","price":0.1000000000000000055511}"#);
        assert_eq!(graph.text(0, &["price"]), Some("0.1000000000000000055511"));
    }

    #[test]
    fn url_parameters_are_not_decoded_as_entities() {
        for (url, expected) in [
            ("/i?a=1&currency=EUR&copy=2", "/i?a=1&currency=EUR&copy=2"),
            ("/i?a=1&amp;currency=EUR", "/i?a=1&currency=EUR"),
        ] {
            let graph = read(&format!(r#"{{"@type":"Product","image":"{url}"}}"#));
            assert_eq!(graph.text(0, &["image"]), Some(expected));
        }
    }

    #[test]
    fn nodes_below_the_maximum_depth_are_left_out() {
        let block =
            format!("{}{{\"@type\":\"Product\"}}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(read(&block).nodes().count(), 0);
    }
}
