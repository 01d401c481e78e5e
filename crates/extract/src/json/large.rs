//! Valid JSON of any length, read member by member: only the parts that matter become trees.
//!
//! serde_json streams over the members of an object and passes each as a slice of the text. Time
//! grows with the length times the levels at which long values are nested, and memory not at all.

use std::{borrow::Cow, fmt};

use jsonc_parser::{JsonArray, JsonValue, Map};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lenient;

/// Bytes of a part that becomes a tree as a whole.
const MAX_WHOLE: usize = 32 * 1024;

/// Levels of parts that are longer.
const MAX_LEVELS: usize = 24;

/// Bytes that a value takes of a budget in addition to its text.
const OVERHEAD: usize = 16;

/// Passes the name and the text of each member of an object to `visit`, or those of the elements of
/// an array with the index as their name. Returns `None` if the text is not valid JSON.
pub(crate) fn children<'a>(text: &'a str, visit: &mut dyn FnMut(&str, &'a str)) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_any(Children(visit)).ok()?;
    deserializer.end().ok()
}

struct Children<'v, 'a>(&'v mut dyn FnMut(&str, &'a str));

/// A string, without a copy if nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Visitor<'a> for Children<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            let value: &'a RawValue = map.next_value()?;
            (self.0)(&name, value.get());
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        while let Some(value) = list.next_element::<&'a RawValue>()? {
            (self.0)(&index.to_string(), value.get());
            index += 1;
        }
        Ok(())
    }
}

/// Returns the text of the value at an RFC 6901 JSON pointer.
pub(crate) fn find<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    pointer.split('/').skip(1).try_fold(text.trim(), |text, token| {
        let token = token.replace("~1", "/").replace("~0", "~");
        let mut found = None;
        children(text, &mut |name, value| {
            if name == token {
                found = Some(value);
            }
        })?;
        found
    })
}

/// Returns the text of a value that is not an object or an array. That of `null` is empty.
pub(crate) fn scalar_text(value: &str) -> Option<String> {
    match value.as_bytes().first()? {
        b'"' => serde_json::from_str(value).ok(),
        b'{' | b'[' => None,
        b'n' => Some(String::new()),
        _ => Some(value.to_owned()),
    }
}

/// Returns the length of the valid JSON value at the start of a text.
pub(crate) fn prefix(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    text.get(..values.byte_offset())
}

/// Reads the parts of a valid value that `keeps` says matter, by their name and text. A part of at
/// most [`MAX_WHOLE`] bytes is kept as a whole, and no part once the budget of bytes is spent.
/// Returns `None` if the text is not valid JSON.
pub(crate) fn prune<'a>(
    text: &'a str,
    keeps: &dyn Fn(&str, &str) -> bool,
    budget: &mut usize,
) -> Option<JsonValue<'a>> {
    members(text.trim(), keeps, budget, MAX_LEVELS)
}

/// Reads a value member by member.
fn members<'a>(
    text: &'a str,
    keeps: &dyn Fn(&str, &str) -> bool,
    budget: &mut usize,
    levels: usize,
) -> Option<JsonValue<'a>> {
    let levels = levels.checked_sub(1)?;
    *budget = budget.checked_sub(OVERHEAD)?;
    match text.as_bytes().first()? {
        b'{' => {
            let mut members = Map::new();
            children(text, &mut |name, value| {
                if keeps(name, value)
                    && *budget > name.len()
                    && let Some(value) = part(value, keeps, budget, levels)
                {
                    *budget = budget.saturating_sub(name.len());
                    members.insert(Cow::Owned(name.to_owned()), value);
                }
            })?;
            Some(JsonValue::Object(members.into()))
        }
        b'[' => {
            let mut elements = Vec::new();
            children(text, &mut |_, value| elements.extend(part(value, keeps, budget, levels)))?;
            Some(JsonValue::Array(JsonArray::new(elements)))
        }
        _ => None,
    }
}

/// Reads a member of a valid value: as a whole if it is short.
fn part<'a>(
    text: &'a str,
    keeps: &dyn Fn(&str, &str) -> bool,
    budget: &mut usize,
    levels: usize,
) -> Option<JsonValue<'a>> {
    if text.len() > MAX_WHOLE {
        return members(text, keeps, budget, levels);
    }
    *budget = budget.checked_sub(OVERHEAD + text.len())?;
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(|Text(text)| JsonValue::String(text)),
        b'-' | b'0'..=b'9' => Some(JsonValue::Number(text)),
        _ => lenient::parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filler() -> String {
        format!("[{}0]", r#"{"x":[1,2,{"y":"z"}]},"#.repeat(20_000))
    }

    #[test]
    fn a_pointer_leads_into_long_json() {
        let text = format!(r#"{{"a":{0},"b/c":{{"d":[{0},{{"e":1.10}},"\u00e9"]}}}}"#, filler());
        for (pointer, expected) in [
            ("/b~1c/d/1/e", Some("1.10")),
            ("/b~1c/d/2", Some("é")),
            ("/a/20000", Some("0")),
            ("/a/7/x/2/y", Some("z")),
            ("/b~1c/d/3", None),
            ("/b~1c", None),
        ] {
            let found = find(&text, pointer).and_then(scalar_text);
            assert_eq!(found.as_deref(), expected, "{pointer}");
        }
        assert_eq!(find(&text[..text.len() - 1], "/b~1c/d/1/e"), None);
    }

    #[test]
    fn only_the_parts_that_matter_become_a_tree() {
        let text = format!(r#"{{"a":{0},"b":{{"c":{0},"d":1.10}},"e":5}}"#, filler());
        let keeps = |name: &str, _: &str| matches!(name, "b" | "d");
        let mut budget = 1_000;
        let value = prune(&text, &keeps, &mut budget).unwrap();
        let expected = lenient::read(r#"{"b":{"d":1.10}}"#, |value| format!("{value:?}"));
        assert_eq!(Some(format!("{value:?}")), expected);
        assert!(budget < 1_000);
        let mut none = 20;
        assert_eq!(
            format!("{:?}", prune(&text, &keeps, &mut none)),
            "Some(Object(JsonObject({})))"
        );
    }

    #[test]
    fn the_value_at_the_start_of_a_text_is_found() {
        for (text, expected) in [
            (r#"{"a":[1]};x"#, Some(r#"{"a":[1]}"#)),
            (r#"[1,"]"])"#, Some(r#"[1,"]"]"#)),
            (r#"{a:1}"#, None),
            (r#"{"a":1"#, None),
        ] {
            assert_eq!(prefix(text), expected, "{text}");
        }
    }
}
