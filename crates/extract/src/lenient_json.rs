//! JSON as pages really hold it.
//!
//! Comments, trailing and missing commas, single quotes, raw line breaks and control characters in strings are taken
//! by the parser as they come. What is wrapped around (`<!-- … -->`, `<![CDATA[ … ]]>`, a semicolon), several values in
//! a row, JSON whose quotes are HTML entities, and what `json_repair.rs` mends get a second try. A quote that nobody escaped
//! is beyond repair.
//!
//! The parser keeps numbers as they are written, so that a price never is a float on its way. serde_json does not,
//! without its feature `arbitrary_precision`, which would change what every crate of the workspace gets as a number.

use std::borrow::Cow;

use jsonc_parser::{JsonValue, ParseOptions};

use crate::json_repair;

/// Bytes of JSON that are read of a page, in all its blocks. A tree takes up to 50 times its text, and what tells one
/// product is smaller by far.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// Reads JSON, and hands it on. `None` when it is none, or too long.
pub(crate) fn read<T>(text: &str, with: impl FnOnce(JsonValue<'_>) -> T) -> Option<T> {
    if text.len() > MAX_BYTES {
        return None;
    }
    if let Some(value) = parse(text) {
        return Some(with(value));
    }
    let (endless, bare) = unwrapped(text)?;
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
    // What is missing may be the last bracket, and then the last one that is there is not the end.
    let candidates = [Some(endless), Some(bare), decoded.as_deref()];
    for json in candidates.into_iter().flatten().filter_map(json_repair::mended) {
        if let Some(value) = parse(&json) {
            return Some(with(value));
        }
    }
    None
}

/// The value that an RFC 6901 JSON pointer leads to.
pub(crate) fn at<'a, 'v>(value: &'v JsonValue<'a>, pointer: &str) -> Option<&'v JsonValue<'a>> {
    pointer.split('/').skip(1).try_fold(value, |value, token| match value {
        JsonValue::Object(object) => object.get(&token.replace("~1", "/").replace("~0", "~")),
        JsonValue::Array(array) => array.get(token.parse().ok()?),
        _ => None,
    })
}

fn parse(text: &str) -> Option<JsonValue<'_>> {
    let options =
        ParseOptions { allow_hexadecimal_numbers: false, allow_non_finite_numbers: false, ..Default::default() };
    jsonc_parser::parse_to_value(text, &options).ok().flatten()
}

/// What begins with the first bracket, and what of it ends with the last one. The one that closes an array may be missing.
fn unwrapped(text: &str) -> Option<(&str, &str)> {
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

    /// What the value at `/a` is, in JSON's terms.
    fn a(text: &str) -> Option<String> {
        read(text, |value| match at(&value, "/a").or_else(|| at(&value, "/0/a"))? {
            JsonValue::String(text) => Some(text.to_string()),
            JsonValue::Number(text) => Some((*text).to_owned()),
            JsonValue::Null => None,
            other => Some(format!("{other:?}")),
        })
        .flatten()
    }

    #[test]
    fn json_is_read_as_pages_hold_it() {
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
            "/* x */ {\"b\":undefined,\"a\":1.10}; //",
        ] {
            assert_eq!(a(text).as_deref(), Some("1.10"), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in ["", " ", "{", "}{", "<html>", "{\"a\":", "{\"a\":\"27\" wide\"}", "][", "<![CDATA[", "[{}"] {
            assert_eq!(a(text), None, "{text}");
        }
    }

    #[test]
    fn no_depth_is_too_deep_for_a_thread_of_the_runtime() {
        let read = |text: String| {
            // The stack of a worker's thread, unless RUST_MIN_STACK says otherwise.
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
    fn what_is_too_long_is_not_read() {
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
            let found = read(text, |value| match at(&value, pointer)? {
                JsonValue::Number(text) => Some((*text).to_owned()),
                _ => None,
            });
            let found = found.flatten();
            assert_eq!(found.as_deref(), expected, "{pointer}");
        }
    }
}
