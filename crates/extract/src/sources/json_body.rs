//! The sources of a JSON body.

use jsonc_parser::JsonValue;
use memchr::memmem;
use url::Url;

use super::{json_keys, merger::Merger, rule::RuleFinding};
use crate::{
    json,
    product::Method,
    rules::{Rule, RuleMatch},
    schema_org::{fragments, graph::Graph, json_ld, page_identity::PageIdentity},
};

/// Reads a body and adds what its sources find. [`Merger`] sorts them by precedence.
///
/// Only the parts of valid JSON that matter become a tree, so any length is read.
pub(crate) fn read(text: &str, address: &Url, rule: Option<&Rule>, merger: &mut Merger) {
    let contains = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    let has_pointers = rule.is_some_and(|rule| !rule.json.is_empty());
    if !has_pointers && !contains("price") && !contains("Price") {
        return;
    }
    let has_nodes = contains("\"@type\"");
    let mut room = json::MAX_BYTES;
    if let Some(body) = json::prune(text, &|name, _| json_keys::is_read(name), &mut room) {
        if let Some(rule) = rule {
            let found = |pointer: &str| json::scalar_text(json::find(text, pointer)?);
            add_rule(rule, found, address, merger);
        }
        add_keys(&body, address, merger);
        let mut room = json::MAX_BYTES;
        if has_nodes && let Some(nodes) = json::prune(text, &json_ld::is_read, &mut room) {
            add_json_ld(nodes, address, merger);
        }
        return;
    }
    json::read(text, |body| {
        if let Some(rule) = rule {
            add_rule(rule, |pointer| json::pointer_text(&body, pointer), address, merger);
        }
        add_keys(&body, address, merger);
        if has_nodes {
            add_json_ld(body, address, merger);
        }
    });
}

/// Adds what the pointers of a rule lead to.
fn add_rule(
    rule: &Rule,
    find: impl Fn(&str) -> Option<String>,
    address: &Url,
    merger: &mut Merger,
) {
    let fields = rule.json.iter().map(|(field, _)| *field).collect();
    let found = rule.json.iter().filter_map(|(field, pointer)| {
        let text = htmlize::unescape(find(pointer)?).into_owned();
        Some((*field, RuleMatch { text, is_machine_readable: true }))
    });
    let found: Vec<_> = found.collect();
    merger.set_rule(RuleFinding::new(rule, fields, &found, address));
}

fn add_keys(body: &JsonValue<'_>, address: &Url, merger: &mut Merger) {
    if let Some(finding) = json_keys::read(body, address) {
        merger.add(Method::Json, finding);
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
