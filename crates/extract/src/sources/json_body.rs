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
    if text.len() > json::MAX_BYTES {
        read_large(text, address, rule, merger);
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
            add_json_ld(value, address, merger);
        }
    });
}

/// Reads a body that is too long for a tree: only the parts that matter become one.
fn read_large(text: &str, address: &Url, rule: Option<&Rule>, merger: &mut Merger) {
    if let Some(rule) = rule {
        let fields = rule.json.iter().map(|(field, _)| *field).collect();
        let found = rule.json.iter().filter_map(|(field, pointer)| {
            let text = json::scalar_text(json::find(text, pointer)?)?;
            let text = htmlize::unescape(text).into_owned();
            Some((*field, RuleMatch { text, is_machine_readable: true }))
        });
        let found: Vec<_> = found.collect();
        merger.set_rule(RuleFinding::new(rule, fields, &found, address));
    }
    let object =
        json::prune(text, &|name, _| json_keys::is_read(name), &mut json::MAX_BYTES.clone());
    if let Some(finding) = object.and_then(|object| json_keys::read(&object, address)) {
        merger.add(Method::Json, finding);
    }
    let nodes = json::prune(text, &json_ld::is_read, &mut json::MAX_BYTES.clone());
    if let Some(nodes) = nodes {
        add_json_ld(nodes, address, merger);
    }
}

fn add_json_ld(value: JsonValue<'_>, address: &Url, merger: &mut Merger) {
    let mut graph = Graph::default();
    json_ld::add_json(value, &mut graph);
    let page = PageIdentity { address, canonical: None, titles: Vec::new(), is_article: false };
    if let Some(finding) = fragments::read(&graph, &page, address) {
        merger.add(Method::JsonLd, finding);
    }
}

fn resolve_pointers(value: &JsonValue<'_>, rule: &Rule) -> Vec<(FieldName, RuleMatch)> {
    let found = rule.json.iter().filter_map(|(field, pointer)| {
        let text = htmlize::unescape(json::pointer_text(value, pointer)?).into_owned();
        Some((*field, RuleMatch { text, is_machine_readable: true }))
    });
    found.collect()
}
