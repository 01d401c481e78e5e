//! Products in the scripts of a page: JSON-LD that a framework passes to the browser as text, and
//! the state of an application.
//!
//! A script may hold JSON as it is (`<script id="__NEXT_DATA__" type="application/json">`), assign
//! it (`window.__STATE__ = {…}`), or pass parts of it on as strings
//! (`self.__next_f.push([1,"…"])`).
//!
//! An object of the state is the page's product if it has the name of the product, and if all such
//! objects have one price. Other objects are products that the page recommends. Some shops keep
//! prices in cents, so that a whole number counts only if the page shows it next to a currency.

use std::{borrow::Cow, collections::BTreeSet};

use memchr::memmem;
use rust_decimal::Decimal;
use url::Url;

use super::json_keys;
use crate::{
    finding::Finding,
    json,
    price::currency,
    schema_org::{graph::Graph, json_ld},
};

/// Scripts of a page that are searched.
const MAX_SCRIPTS: usize = 40;

/// Bytes of all scripts of a page that are searched.
const MAX_SEARCHED: usize = 2 * 1024 * 1024;

/// Values in one script, and strings with JSON in them, that are tried.
const MAX_VALUES: usize = 20;

/// Strings in strings that are decoded.
const MAX_LEVELS: usize = 3;

/// Tags between a number and its currency.
const MAX_TAGS: usize = 3;

/// Bytes before and after a number that are searched for its currency.
const NEIGHBOURHOOD: usize = 400;

/// Objects with the name of the product that are compared.
const MAX_OBJECTS: usize = 20;

/// Returns the scripts that may describe a product.
fn relevant<'a>(scripts: &[&'a str]) -> Vec<&'a str> {
    let mut room = MAX_SEARCHED;
    let has_price = |script: &&&str| memmem::find(script.as_bytes(), b"rice").is_some();
    let fits = |script: &&&str| {
        let left = room.checked_sub(script.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    scripts.iter().filter(has_price).filter(fits).take(MAX_SCRIPTS).copied().collect()
}

/// Adds the JSON-LD in scripts to a graph.
pub(super) fn add_json_ld(scripts: &[&str], graph: &mut Graph) {
    let mut room = json::MAX_BYTES;
    for script in relevant(scripts) {
        add_embedded(script, graph, &mut room, MAX_LEVELS);
    }
}

/// Adds the JSON-LD in a text: values that begin with its context, and those in strings.
fn add_embedded(text: &str, graph: &mut Graph, room: &mut usize, levels: usize) {
    let Some(levels) = levels.checked_sub(1) else { return };
    let mut end = 0;
    let finder = memmem::Finder::new("@context");
    for _ in 0..MAX_VALUES {
        let Some(at) = finder.find(&text.as_bytes()[end..]).map(|at| end + at) else { return };
        end = at + "@context".len();
        if text[..at].ends_with("\\\"") {
            let Some((string, string_end)) = enclosing_string(text, at) else { continue };
            end = string_end.max(end);
            if let Ok(decoded) = serde_json::from_str::<String>(string) {
                add_embedded(&decoded, graph, room, levels);
            }
        } else if let Some(start) = text[..at].rfind('{')
            && let Some(block) = json::prefix(&text[start..])
        {
            end = end.max(start + block.len());
            if let Some(left) = room.checked_sub(block.len()) {
                *room = left;
                json_ld::add_block(block, graph);
            }
        }
    }
}

/// Returns the string literal around an offset, and where it ends.
fn enclosing_string(text: &str, at: usize) -> Option<(&str, usize)> {
    let is_delimiter = |quote: &usize| {
        let before = &text[..*quote];
        (before.len() - before.trim_end_matches('\\').len()).is_multiple_of(2)
    };
    let start = text[..at].rmatch_indices('"').map(|(quote, _)| quote).find(is_delimiter)?;
    let end = text[at..].match_indices('"').map(|(quote, _)| at + quote).find(is_delimiter)? + 1;
    Some((&text[start..end], end))
}

/// Reads the product of this name from the state of the application.
pub(super) fn read_state(
    html: &str,
    scripts: &[&str],
    names: &[&str],
    address: &Url,
) -> Option<Finding> {
    let names: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
    let is_named = |(key, text): &(String, &str)| {
        matches!(key.as_str(), "name" | "title")
            && json::scalar_text(text)
                .is_some_and(|name| names.contains(&htmlize::unescape(name.trim()).to_lowercase()))
    };
    let wanted = json::Wanted {
        is_read: &json_keys::is_read,
        is_wanted: &|members| members.iter().any(is_named),
    };
    let mut found: Vec<Finding> = Vec::new();
    for script in relevant(scripts) {
        for value in values(&state_text(script)) {
            let objects = json::objects(value, &wanted);
            let findings = objects.iter().filter_map(|object| json_keys::read(object, address));
            let room = MAX_OBJECTS - found.len();
            let is_priced = |finding: &Finding| finding.price.is_some_and(|price| !price.is_zero());
            found.extend(findings.filter(is_priced).take(room));
        }
    }
    let prices: BTreeSet<Decimal> = found.iter().filter_map(|one| one.price).collect();
    let price = prices.first().filter(|_| prices.len() == 1)?;
    let is_sure = !price.fract().is_zero() || is_shown(html, *price);
    found.into_iter().next().filter(|_| is_sure)
}

/// Returns a script with the strings decoded that a framework passes on in parts.
fn state_text(script: &str) -> Cow<'_, str> {
    const PUSH: &str = "self.__next_f.push(";
    if !script.contains(PUSH) {
        return Cow::Borrowed(script);
    }
    let parts = script.split(PUSH).skip(1).filter_map(|call| {
        let (_, text): (u32, String) = serde_json::from_str(json::prefix(call)?).ok()?;
        Some(text)
    });
    Cow::Owned(parts.collect())
}

/// Returns the JSON values in a script: the script itself, what it assigns, and each of its lines.
fn values(script: &str) -> Vec<&str> {
    let mut values = Vec::new();
    let mut end = 0;
    for _ in 0..MAX_VALUES {
        let Some(start) = script[end..].find(['{', '[']).map(|at| end + at) else { break };
        let before = script[..start].trim_end();
        let begins = before.is_empty() || before.ends_with(['=', '(', ':', '\n', ',']);
        let value = if begins { json::prefix(&script[start..]) } else { None };
        values.extend(value);
        end = match value {
            Some(value) => start + value.len(),
            // The next value is likely the next assignment, or on the next line.
            None => match script[start..].find(['=', '\n']) {
                Some(next) => start + next,
                None => break,
            },
        };
    }
    values
}

/// Whether a page shows a whole number next to a currency, in one of the writings of thousands.
fn is_shown(html: &str, price: Decimal) -> bool {
    let plain = price.trunc().normalize().to_string();
    let (head, tail) = plain.split_at(plain.len().saturating_sub(3));
    let grouped = [",", ".", " ", "\u{a0}", "\u{202f}", "&nbsp;", "'", "’"]
        .map(|separator| format!("{head}{separator}{tail}"));
    let writings = std::iter::once(&plain).chain(grouped.iter().filter(|_| !head.is_empty()));
    writings.into_iter().any(|writing| {
        memmem::find_iter(html.as_bytes(), writing.as_bytes()).any(|at| {
            let start = html.ceil_char_boundary(at.saturating_sub(NEIGHBOURHOOD));
            let before = before_markup(&html[start..at]);
            let after = &html[at + writing.len()..];
            let after = &after[..after.floor_char_boundary(NEIGHBOURHOOD)];
            let after = [",00", ".00", ",-", ".-", ",–"]
                .iter()
                .find_map(|decimals| after.strip_prefix(decimals))
                .unwrap_or(after);
            let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
            !html[..at].ends_with(is_part)
                && !after.starts_with(|c: char| c.is_ascii_digit())
                && (currency::at_end(before).is_some()
                    || before.ends_with("&euro;")
                    || currency::at_start(after_markup(after)).is_some()
                    || after_markup(after).starts_with("&euro;"))
        })
    })
}

/// Returns a text up to the tags and spaces at its end.
fn before_markup(mut html: &str) -> &str {
    for _ in 0..MAX_TAGS {
        html = html.trim_end();
        html = html.strip_suffix("&nbsp;").unwrap_or(html);
        let start = html.strip_suffix('>').and_then(|tag| tag.rfind('<'));
        html = start.map_or(html, |start| &html[..start]);
    }
    html.trim_end()
}

/// Returns a text from the end of the tags and spaces at its start.
fn after_markup(mut html: &str) -> &str {
    for _ in 0..MAX_TAGS {
        html = html.trim_start();
        html = html.strip_prefix("&nbsp;").unwrap_or(html);
        let end = html.strip_prefix('<').and_then(|tag| tag.find('>'));
        html = end.map_or(html, |end| &html[end + 2..]);
    }
    html.trim_start()
}
