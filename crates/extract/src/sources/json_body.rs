//! The sources of a JSON body.

use jsonc_parser::JsonValue;
use memchr::memmem;
use url::Url;

use super::{json_keys, merger::Merger, rule::RuleFinding};
use crate::{
    json,
    product::Method,
    rules::{FieldName, Rule, RuleMatch},
    schema_org::{fragments, graph::Graph, json_ld, page_identity::PageIdentity},
};

/// Reads a body and adds what its sources find. [`Merger`] sorts them by precedence.
pub(crate) fn read(text: &str, address: &Url, rule: Option<&Rule>, merger: &mut Merger) {
    let contains = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    let has_pointers = rule.is_some_and(|rule| !rule.json.is_empty());
    if !has_pointers && !contains("price") && !contains("Price") {
        return;
    }
    json::read(text, |value| {
        if let Some(rule) = rule {
            let fields = rule.json.iter().map(|(field, _)| *field).collect();
            let found = resolve_pointers(&value, rule);
            merger.set_rule(RuleFinding::new(rule, fields, &found, address));
        }
        if let Some(finding) = json_keys::read(&value, address) {
            merger.add(Method::Json, finding);
        }
        if contains("\"@type\"") {
            let mut graph = Graph::default();
            json_ld::add_json(value, &mut graph);
            let page = PageIdentity { address, canonical: None, titles: Vec::new() };
            if let Some(finding) = fragments::read(&graph, &page, address) {
                merger.add(Method::JsonLd, finding);
            }
        }
    });
}

fn resolve_pointers(value: &JsonValue<'_>, rule: &Rule) -> Vec<(FieldName, RuleMatch)> {
    let text = |pointer: &str| match json::resolve_pointer(value, pointer)? {
        JsonValue::String(text) => Some(htmlize::unescape(text.as_ref()).into_owned()),
        JsonValue::Number(text) => Some((*text).to_owned()),
        JsonValue::Boolean(value) => Some(value.to_string()),
        // The field exists without a value. For a price, that means a product without a price.
        JsonValue::Null => Some(String::new()),
        JsonValue::Object(_) | JsonValue::Array(_) => None,
    };
    rule.json
        .iter()
        .filter_map(|(field, pointer)| {
            Some((*field, RuleMatch { text: text(pointer)?, is_machine_readable: true }))
        })
        .collect()
}
