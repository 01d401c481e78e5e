//! Where a page has an amount that is known: selectors and pointers that a rule could have.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde_json::Value;

use super::tree::{Element, Tree};
use crate::price;

/// Locators that are returned of a page.
const MAX_LOCATORS: usize = 60;

/// The longest text that is a price, in characters.
const MAX_TEXT: usize = 60;

/// Values of JSON that are compared.
const MAX_VALUES: usize = 100_000;

/// Returns selectors for a page, as they stand in a file of rules: the simplest first.
pub(crate) fn of_page(html: &str, price: Decimal) -> Vec<String> {
    let mut attributes = Vec::new();
    let mut index = 0;
    let tree = Tree::read(html, |tag| {
        for &(name, value) in tag.attributes {
            let is_name = !matches!(name, "class" | "id" | "style" | "href");
            if is_name && value.len() < MAX_TEXT && is_machine(value, price) {
                attributes.push((index, name));
            }
        }
        index += usize::from(tag.text.is_none());
    });
    let mut found = BTreeSet::new();
    for (index, name) in attributes {
        let Some(element) = tree.elements.get(index) else { continue };
        for (cost, selector) in selectors(&tree, index) {
            // A rule reads these attributes without naming them.
            let is_implied =
                matches!((element.tag, name), ("meta", "content") | ("input", "value"));
            found.insert(match is_implied {
                true => (cost, format!("\"{selector}\"")),
                false => (cost, format!("{{ selector = \"{selector}\", attribute = \"{name}\" }}")),
            });
        }
        if is_plain(name) && !["content", "value"].contains(&name) {
            let locator = format!("{{ selector = \"[{name}]\", attribute = \"{name}\" }}");
            found.insert((1, locator));
        }
    }
    for index in 0..tree.elements.len() {
        let element = &tree.elements[index];
        if (1..=8).contains(&element.texts.len()) && is_human(&tree.text_of(index), price) {
            let selectors = selectors(&tree, index);
            found.extend(selectors.into_iter().map(|(cost, text)| (cost, format!("\"{text}\""))));
        }
    }
    found.into_iter().map(|(_, locator)| locator).take(MAX_LOCATORS).collect()
}

/// Returns pointers into a JSON body, as they stand in a file of rules: the shortest first.
pub(crate) fn of_json(text: &str, price: Decimal) -> Vec<String> {
    let Ok(body) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), &body)];
    let mut read = 0;
    while let Some((pointer, value)) = waiting.pop() {
        read += 1;
        let text = match value {
            Value::String(text) if text.len() < MAX_TEXT => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if is_machine(&text, price) && !pointer.contains(['"', '\\']) {
            found.push(format!("\"{pointer}\""));
        }
        if read + waiting.len() > MAX_VALUES {
            continue;
        }
        match value {
            Value::Object(fields) => waiting.extend(fields.iter().map(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                (format!("{pointer}/{key}"), value)
            })),
            Value::Array(values) => waiting.extend(
                values.iter().enumerate().map(|(at, value)| (format!("{pointer}/{at}"), value)),
            ),
            _ => {}
        }
    }
    found.sort_by_key(|pointer| (pointer.matches('/').count(), pointer.clone()));
    found.truncate(MAX_LOCATORS);
    found
}

fn is_machine(text: &str, price: Decimal) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    has_digit && price::parse_machine(text, None).is_some_and(|amount| amount.value == price)
}

fn is_human(text: &str, price: Decimal) -> bool {
    text.chars().count() <= MAX_TEXT
        && price::parse_human(text, None).is_some_and(|amount| amount.value == price)
}

/// Returns selectors of an element, each with its cost: by itself, then within those around it.
fn selectors(tree: &Tree<'_>, index: usize) -> Vec<(usize, String)> {
    let element = &tree.elements[index];
    let own = names(element);
    let mut selectors: Vec<(usize, String)> =
        own.iter().filter(|(_, name)| name != element.tag).cloned().collect();
    let around = tree.path(index).skip(1).take(3).enumerate();
    for (level, outer) in around {
        let outer = &tree.elements[outer];
        for (outer_cost, outer_name) in names(outer).iter().filter(|(_, name)| name != outer.tag) {
            let inner = own.iter().map(|(cost, name)| {
                (3 + level + cost + outer_cost, format!("{outer_name} {name}"))
            });
            selectors.extend(inner);
        }
    }
    selectors
}

/// Returns what an element can be selected by. Names with digits are made up for one page.
fn names(element: &Element<'_>) -> Vec<(usize, String)> {
    let tag = element.tag.to_ascii_lowercase();
    let mut names = Vec::new();
    if is_plain(element.names.id) {
        names.push((0, format!("#{}", element.names.id)));
    }
    let classes = element.names.class.split_ascii_whitespace().filter(|class| is_plain(class));
    for class in classes.take(4) {
        let is_price = super::naming::of_name(class).is_price;
        names.push((if is_price { 1 } else { 2 }, format!("{tag}.{class}")));
    }
    names.push((4, tag));
    names
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_'))
}
