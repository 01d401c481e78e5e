//! What the locators of a rule find in a page, also within JSON in its scripts and attributes.

use url::Url;

use super::{json_keys, merger::Merger, rule::RuleFinding};
use crate::{
    json,
    product::Method,
    rules::{FieldName, Rule, RuleMatch},
};

/// Adds what was found, in the order of the rule's locators.
pub(super) fn add(
    rule: &Rule,
    matches: impl Iterator<Item = Option<RuleMatch>>,
    base: &Url,
    merger: &mut Merger,
) {
    let mut fields: Vec<FieldName> = Vec::new();
    let mut found: Vec<(FieldName, RuleMatch)> = Vec::new();
    for ((field, locator), one) in rule.html.iter().zip(matches) {
        let pointer = locator.pointer.as_deref();
        match (field, pointer) {
            (FieldName::Script, pointer) => {
                fields.extend(rule.json.iter().map(|(field, _)| *field));
                if let Some(script) = one {
                    add_script(rule, &script.text, pointer.unwrap_or_default(), &mut found);
                    add_keys(rule, &script.text, pointer.unwrap_or_default(), base, merger);
                }
            }
            (field, Some(pointer)) => {
                fields.push(*field);
                found.extend(one.and_then(|one| Some((*field, at(&one.text, pointer)?))));
            }
            (field, None) => {
                fields.push(*field);
                found.extend(one.map(|one| (*field, one)));
            }
        }
    }
    merger.set_rule(RuleFinding::new(rule, fields, &found, base));
}

/// Adds the values of the pointers that the rule has for a JSON body, in the JSON of a script.
fn add_script(rule: &Rule, script: &str, base: &str, found: &mut Vec<(FieldName, RuleMatch)>) {
    let values = rule
        .json
        .iter()
        .filter_map(|(field, pointer)| Some((*field, at(script, &format!("{base}{pointer}"))?)));
    found.extend(values);
}

/// Adds the product in the JSON of a script by the names of its keys, if the rule has no pointers.
fn add_keys(rule: &Rule, script: &str, pointer: &str, base: &Url, merger: &mut Merger) {
    if !rule.json.is_empty() {
        return;
    }
    let mut room = json::MAX_BYTES;
    let finding = value(script)
        .and_then(|value| json::find(value, pointer))
        .and_then(|value| json::prune(value, &|name, _| json_keys::is_read(name), &mut room))
        .and_then(|value| json_keys::read(&value, base));
    if let Some(finding) = finding {
        merger.add(Method::Json, finding);
    }
}

/// Returns what is at a pointer in a text with JSON.
fn at(text: &str, pointer: &str) -> Option<RuleMatch> {
    let text = match value(text) {
        Some(value) => json::find(value, pointer).and_then(json::scalar_text),
        None => json::read(text, |value| json::pointer_text(&value, pointer)).flatten(),
    };
    Some(RuleMatch { text: htmlize::unescape(text?).into_owned(), is_machine_readable: true })
}

/// Returns the first valid JSON in a text, such as what a script assigns.
fn value(text: &str) -> Option<&str> {
    json::prefix(&text[text.find(['{', '['])?..])
}
