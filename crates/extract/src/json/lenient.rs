//! A lenient reader of JSON.
//!
//! The parser accepts comments, trailing and missing commas, single quotes, and raw line breaks and
//! control characters in strings. If it fails, the reader tries again without the text around the
//! JSON (`<!-- … -->`, `<![CDATA[ … ]]>`, a semicolon), with several values in a row as a list,
//! with HTML entities decoded, and repaired by `repair` and by `requote`.
//!
//! The parser keeps numbers as they are written, so that no price is ever a float. serde_json does
//! so only with its feature `arbitrary_precision`, which would change numbers for every crate of
//! the workspace.

use std::borrow::Cow;

use jsonc_parser::{JsonValue, ParseOptions};

use super::{repair, requote};

/// Bytes of JSON that are read from one page, in all its blocks. A tree takes up to 50 times the
/// memory of its text, and the JSON of one product is far smaller.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// Reads JSON and passes it to `with`. Returns `None` if it is not JSON, or too long.
pub(crate) fn read<T>(text: &str, with: impl FnOnce(JsonValue<'_>) -> T) -> Option<T> {
    if text.len() > MAX_BYTES {
        return None;
    }
    if let Some(value) = parse(text) {
        return Some(with(value));
    }
    let (open_ended, bare) = unwrap(text)?;
    if let Some(value) = parse(bare) {
        return Some(with(value));
    }
    let listed = format!("[{bare}]");
    if let Some(value) = parse(&listed) {
        return Some(with(value));
    }
    let decoded = match htmlize::unescape(bare) {
        Cow::Owned(decoded) => Some(decoded),
        Cow::Borrowed(_) => None,
    };
    if let Some(value) = decoded.as_deref().and_then(parse) {
        return Some(with(value));
    }
    // If the closing bracket is missing, the last bracket in the text does not end the value.
    let candidates = [Some(open_ended), Some(bare), decoded.as_deref()];
    for json in candidates.into_iter().flatten().filter_map(repair::repair) {
        if let Some(value) = parse(&json) {
            return Some(with(value));
        }
    }
    for json in candidates.into_iter().flatten().filter_map(requote::requote) {
        if let Some(value) = parse(&json) {
            return Some(with(value));
        }
        if let Some(value) = repair::repair(&json).as_deref().and_then(parse) {
            return Some(with(value));
        }
    }
    None
}

/// Returns the value at an RFC 6901 JSON pointer.
fn resolve_pointer<'a, 'v>(value: &'v JsonValue<'a>, pointer: &str) -> Option<&'v JsonValue<'a>> {
    pointer.split('/').skip(1).try_fold(value, |value, token| match value {
        JsonValue::Object(object) => object.get(&token.replace("~1", "/").replace("~0", "~")),
        JsonValue::Array(array) => array.get(token.parse().ok()?),
        _ => None,
    })
}

/// Returns the text of the value at a pointer, unless it is an object or an array. That of `null`
/// is empty: the field exists without a value. For a price, that means a product without a price.
pub(crate) fn pointer_text(value: &JsonValue<'_>, pointer: &str) -> Option<String> {
    match resolve_pointer(value, pointer)? {
        JsonValue::String(text) => Some(text.to_string()),
        JsonValue::Number(text) => Some((*text).to_owned()),
        JsonValue::Boolean(value) => Some(value.to_string()),
        JsonValue::Null => Some(String::new()),
        JsonValue::Object(_) | JsonValue::Array(_) => None,
    }
}

/// Parses JSON with the errors that the parser itself accepts.
pub(super) fn parse(text: &str) -> Option<JsonValue<'_>> {
    let options = ParseOptions {
        allow_hexadecimal_numbers: false,
        allow_non_finite_numbers: false,
        ..Default::default()
    };
    jsonc_parser::parse_to_value(text, &options).ok().flatten()
}

/// Returns the text from the first bracket on, and the part of it up to the last bracket. The
/// bracket that closes an array may be missing.
fn unwrap(text: &str) -> Option<(&str, &str)> {
    let brace = text.find('{')?;
    let end = text.rfind('}')? + 1;
    let before = text[..brace].trim_end();
    let is_array = before.ends_with('[') && !before.ends_with("CDATA[");
    if !is_array {
        return Some((text.get(brace..)?, text.get(brace..end)?));
    }
    let closing = text[end..].find(']').map_or(0, |closing| closing + 1);
    let bracket = before.len() - 1;
    Some((text.get(bracket..)?, text.get(bracket..end + closing)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of the value at `/a`.
    fn a(text: &str) -> Option<String> {
        read(text, |value| {
            match resolve_pointer(&value, "/a").or_else(|| resolve_pointer(&value, "/0/a"))? {
                JsonValue::String(text) => Some(text.to_string()),
                JsonValue::Number(text) => Some((*text).to_owned()),
                JsonValue::Null => None,
                other => Some(format!("{other:?}")),
            }
        })
        .flatten()
    }

    #[test]
    fn json_is_read_as_pages_contain_it() {
        for text in [
            r#"{"a":"1.10"}"#,
            r#"{"a":1.10}"#,
            r#"{"a":1.10,}"#,
            r#"[{"a":1.10,},]"#,
            "{/* c */\"a\":1.10 // d\n}",
            "//<![CDATA[\n{\"a\":1.10}\n//]]>",
            "//<![CDATA[ {\"a\":1.10} //]]>",
            "/*<![CDATA[*/{\"a\":1.10}/*]]>*/",
            "<![CDATA[{\"a\":1.10}]]>",
            "<![CDATA[[{\"a\":1.10}]]]>",
            "<!--\n{\"a\":1.10}\n-->",
            "<!--//--><![CDATA[//><!--\n{\"a\":1.10}\n//--><!]]>",
            "\u{feff}{\"a\":1.10};",
            "{\"a\":1.10}\n{\"b\":2}",
            "{\"a\":1.10},{\"b\":2},",
            "{&quot;a&quot;:&quot;1.10&quot;}",
            "{'a':'1.10'}",
            "{\"b\":\"x\ny\u{1}\tz\",\"a\":1.10}",
            r#"{"b":"it\'s","a":1.10}"#,
            "{\"b\":1\n\"a\":1.10}",
            r#"{"a":1.10}}"#,
            r#"{"b":{"c":1},"a":1.10"#,
            r#"[{"a":1.10}"#,
            r#"{"b":[{"c":1],"a":1.10}"#,
            r#"{"b":1,,"a":1.10}"#,
            r#"{"b":,"a":1.10}"#,
            r#"{"b":undefined,"a":1.10}"#,
            r#"{"b":"\ud83c","a":1.10}"#,
            r#"{"b":"27" wide","a":1.10}"#,
            r#"{"b":"The "Big" one, new","a":1.10}"#,
            r#"{"b":1,299.00,"a":1.10}"#,
            r#"{"b":€5,"a":1.10}"#,
            "/* x */ {\"b\":undefined,\"a\":1.10}; //",
        ] {
            assert_eq!(a(text).as_deref(), Some("1.10"), "{text}");
        }
        for (text, expected) in [
            (r#"{"a": 1,299.00, "b": 1}"#, "1,299.00"),
            (r#"{"a": 19,99}"#, "19,99"),
            (r#"{"a":"27" wide"}"#, "27\" wide"),
        ] {
            assert_eq!(a(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_not_read() {
        for text in ["", " ", "{", "}{", "<html>", "{\"a\":", "][", "<![CDATA[", "[{}"] {
            assert_eq!(a(text), None, "{text}");
        }
    }

    #[test]
    fn no_depth_overflows_the_stack_of_a_runtime_thread() {
        let read = |text: String| {
            // The default stack of a worker's thread, unless RUST_MIN_STACK is set.
            let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
            thread.spawn(move || a(&text)).unwrap().join().unwrap()
        };
        for levels in [500, 513, 100_000] {
            assert_eq!(read(r#"{"b":"#.repeat(levels)), None);
            assert_eq!(read("[".repeat(levels) + &"]".repeat(levels)), None);
            assert_eq!(read(r#"{"b":["#.repeat(levels / 2) + &"]}".repeat(levels / 2)), None);
        }
    }

    #[test]
    fn json_that_is_too_long_is_not_read() {
        let text = format!(r#"{{"a":"1","b":"{}"}}"#, "x".repeat(MAX_BYTES));
        assert_eq!(a(&text), None);
    }

    #[test]
    fn a_pointer_leads_through_objects_and_arrays() {
        let text = r#"{"a":[{"b/c":1,"d~e":2,"":3}]}"#;
        for (pointer, expected) in [
            ("/a/0/b~1c", Some("1")),
            ("/a/0/d~0e", Some("2")),
            ("/a/0/", Some("3")),
            ("/a/1", None),
            ("/a/x", None),
            ("/b", None),
            ("/a/0/b~1c/d", None),
        ] {
            let found = read(text, |value| match resolve_pointer(&value, pointer)? {
                JsonValue::Number(text) => Some((*text).to_owned()),
                _ => None,
            });
            let found = found.flatten();
            assert_eq!(found.as_deref(), expected, "{pointer}");
        }
    }
}
