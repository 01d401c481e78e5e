//! Pairs of a key and a value in scripts and in attributes with JSON.
//!
//! The text may be JSON, JavaScript, or a string within either, with escaped quotes. It is searched
//! for keys that may name a price or a currency, and is not parsed.

use memchr::memmem;

/// Parts of keys. A first letter is left out where it may be in upper or lower case.
const PARTS: &[&str] = &[
    "rice", "RICE", "reis", "prix", "precio", "preco", "rezzo", "cena", "rijs", "iyat", "valor",
    "mount", "alue", "urrency",
];

/// Bytes around a value that are searched for a currency.
const NEIGHBOURHOOD: usize = 80;

/// Bytes after a part of a key that the key may end within.
const MAX_KEY_END: usize = 60;

/// Bytes of an object that are searched for a currency.
const MAX_OBJECT: usize = 120;

/// The longest value that is read.
const MAX_VALUE: usize = 30;

/// A key and its value.
pub(super) struct Pair<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// Whether the key says no more than that it is a number, and a currency or a price is nearby.
    pub(super) is_money: bool,
}

/// Calls back with each pair, until the callback returns false.
pub(super) fn pairs<'a>(text: &'a str, mut each: impl FnMut(Pair<'a>) -> bool) {
    for part in PARTS {
        for at in memmem::find_iter(text.as_bytes(), part.as_bytes()) {
            if let Some(pair) = pair_at(text, at, part.len())
                && !each(pair)
            {
                return;
            }
        }
    }
}

/// Reads the pair whose key has a part at an offset.
fn pair_at(text: &str, at: usize, len: usize) -> Option<Pair<'_>> {
    let is_of_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let before = &text[..at];
    let start = before.len()
        - before
            .chars()
            .rev()
            .take(60)
            .take_while(|c| is_of_key(*c))
            .map(char::len_utf8)
            .sum::<usize>();
    let rest = &text[at + len..];
    let rest = &rest[..rest.floor_char_boundary(MAX_KEY_END)];
    let end = at + len + rest.find(|c| !is_of_key(c)).unwrap_or(rest.len());
    let mut key = &text[start..end];
    if key.to_ascii_lowercase().ends_with("urrency")
        && let Some(value) = code_of_object(&text[end..])
    {
        return Some(Pair { key, value, is_money: false });
    }
    let value = value_of(&text[end..])?;
    let bare = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    let is_number = matches!(bare.as_str(), "amount" | "value");
    if is_number {
        // `"originalPrice": {"value": 5}` is as much a list price as `"originalPrice": 5`.
        key = outer_key(&text[..start]).unwrap_or(key);
    }
    let around = &text[text.floor_char_boundary(start.saturating_sub(NEIGHBOURHOOD))
        ..text.floor_char_boundary((end + NEIGHBOURHOOD).min(text.len()))];
    let is_money = is_number && (around.contains("urrency") || around.contains("rice"));
    (is_money || !is_number).then_some(Pair { key, value, is_money })
}

/// Returns the key of the object that a text ends within, if that is near.
fn outer_key(before: &str) -> Option<&str> {
    let before = &before[before.ceil_char_boundary(before.len().saturating_sub(NEIGHBOURHOOD))..];
    let open = before.rfind('{').filter(|open| !before[*open..].contains('}'))?;
    let key = before[..open].trim_end().strip_suffix(':')?.trim_end_matches(['"', '\'', '\\', ' ']);
    let start = key
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')))
        .map_or(0, |at| at + key[at..].chars().next().map_or(1, char::len_utf8));
    Some(&key[start..]).filter(|key| !key.is_empty())
}

/// Returns the code of the currency that an object after a key describes:
/// `{"active":"CAD","rate":"1.0"}`.
fn code_of_object(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches(['\\', '"', '\'']).trim_start();
    let rest = rest.strip_prefix([':', '='])?.trim_start().strip_prefix('{')?;
    let rest = &rest[..rest.floor_char_boundary(MAX_OBJECT)];
    let object = &rest[..rest.find(['{', '}']).unwrap_or(rest.len())];
    let is_code = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    let mut parts = object.split(['"', '\'', '\\']).filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        // What a colon follows is a key: `{"USD":1.1}`.
        let is_key = parts.peek().is_some_and(|next| next.trim_start().starts_with(':'));
        if is_code(part) && !is_key {
            return Some(part);
        }
    }
    None
}

/// Returns the value after a key: what stands in quotes, or a number.
fn value_of(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches(['\\', '"', '\'']).trim_start();
    let rest = rest.strip_prefix([':', '=', ','])?.trim_start();
    let unquoted = rest.trim_start_matches('\\');
    if let Some(quote) = unquoted.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &unquoted[1..];
        let inner = &inner[..inner.floor_char_boundary(MAX_VALUE)];
        return inner
            .find([quote, '\\'])
            .map(|end| &inner[..end])
            .filter(|inner| !inner.is_empty());
    }
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|number| !number.is_empty() && number.len() <= MAX_VALUE)
}
