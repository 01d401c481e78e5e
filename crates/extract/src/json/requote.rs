//! Repairs quotes of templates in JSON: a string with quotes that are not escaped, and a value that
//! should be in quotes, such as `1,299.00`.
//!
//! A quote ends a string only if the text after it goes on as JSON does: a name by a colon, and a
//! value by a bracket, by a comma and the next name or value, or by the end of the text.

/// Bytes of the name of a member. A longer text after a comma is not one.
const MAX_KEY: usize = 100;

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expected {
    Key,
    Value,
    /// A colon, a comma or a closing bracket.
    Other,
}

/// Returns the JSON with its quotes repaired, or `None` if a string does not end.
pub(crate) fn requote(json: &str) -> Option<String> {
    let mut output = String::with_capacity(json.len() + 16);
    let mut open = Vec::new();
    let mut expected = Expected::Value;
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let is_object = open.last() == Some(&'{');
        let mut length = first.len_utf8();
        match first {
            '{' | '[' => {
                open.push(first);
                expected = if first == '{' { Expected::Key } else { Expected::Value };
                output.push(first);
            }
            '}' | ']' => {
                open.pop();
                expected = Expected::Other;
                output.push(first);
            }
            ',' => {
                expected = if is_object { Expected::Key } else { Expected::Value };
                output.push(first);
            }
            ':' if expected == Expected::Other => {
                expected = Expected::Value;
                output.push(first);
            }
            '"' => {
                let is_key = is_object && expected == Expected::Key;
                let end = string_end(&rest[1..], is_key, is_object)?;
                push_string(&mut output, &rest[1..=end]);
                length = end + 2;
                expected = Expected::Other;
            }
            _ if first.is_whitespace() || expected != Expected::Value => output.push(first),
            _ => {
                length = rest[..bare_end(rest, is_object)].trim_end().len();
                push_bare(&mut output, &rest[..length]);
                expected = Expected::Other;
            }
        }
        rest = &rest[length..];
    }
    Some(output)
}

/// Returns the offset of the quote that ends the string at the start of a text. A string that goes
/// on over the name of the next member has no end.
fn string_end(text: &str, is_key: bool, is_in_object: bool) -> Option<usize> {
    let mut is_escaped = false;
    let quotes = text.char_indices().filter(|&(_, c)| {
        let is_quote = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_quote
    });
    let mut offsets = quotes.map(|(at, _)| at);
    offsets.find_map(|at| {
        let after = text[at + 1..].trim_start();
        let ends = if is_key { after.starts_with(':') } else { ends_value(after, is_in_object) };
        let is_next_key =
            text[..at].trim_end().ends_with([',', '{']) && starts_with_key(&text[at..]);
        if ends { Some(Some(at)) } else { is_next_key.then_some(None) }
    })?
}

/// Whether a value may end before this text.
fn ends_value(after: &str, is_in_object: bool) -> bool {
    let Some(first) = after.chars().next() else { return true };
    let next = after[first.len_utf8()..].trim_start();
    match first {
        '}' => is_in_object,
        ']' => !is_in_object,
        ',' if is_in_object => next.starts_with('}') || starts_with_key(next),
        ',' => {
            next.starts_with(['"', '{', '[', ']', 't', 'f', 'n', '-']) || starts_with_digit(next)
        }
        _ => is_in_object && starts_with_key(after),
    }
}

fn starts_with_key(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('"') else { return false };
    let end = rest.bytes().take(MAX_KEY).position(|byte| matches!(byte, b'"' | b'\n' | b'{'));
    end.is_some_and(|end| {
        rest.as_bytes()[end] == b'"' && rest[end + 1..].trim_start().starts_with(':')
    })
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns the length of a value without quotes.
fn bare_end(text: &str, is_in_object: bool) -> usize {
    let is_end = |&(at, c): &(usize, char)| match c {
        ',' if !is_in_object => true,
        ',' | '}' | ']' => ends_value(&text[at..], is_in_object),
        '{' | '[' => true,
        _ => false,
    };
    text.char_indices().skip(1).find(is_end).map_or(text.len(), |(at, _)| at)
}

fn push_string(output: &mut String, content: &str) {
    output.push('"');
    let mut is_escaped = false;
    for c in content.chars() {
        if c == '"' && !is_escaped {
            output.push('\\');
        }
        is_escaped = c == '\\' && !is_escaped;
        output.push(c);
    }
    output.push('"');
}

fn push_bare(output: &mut String, value: &str) {
    let is_literal = matches!(value, "true" | "false" | "null" | "undefined" | "NaN")
        || value.parse::<f64>().is_ok() && !value.starts_with('+');
    if is_literal || value.starts_with(['\'', '/']) {
        output.push_str(value);
    } else {
        push_string(output, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_json_stays_unchanged() {
        for json in [
            r#"{"a":[1,-2.5e+3,true,null,"x"],"b c":"x\"}\\","ä":{},"d":[]}"#,
            r#"[{"a":"b, \"c\": d"}, {"e":""}]"#,
            r#"{ "a" : "b" , "c" : [ "d" , 1 ] }"#,
        ] {
            assert_eq!(requote(json).as_deref(), Some(json));
        }
    }

    #[test]
    fn quotes_within_strings_are_escaped() {
        for (json, expected) in [
            (r#"{"a":"27" wide"}"#, r#"{"a":"27\" wide"}"#),
            (r#"{"a":"27"","b":1}"#, r#"{"a":"27\"","b":1}"#),
            (r#"{"a":"The "Big" desk","b":1}"#, r#"{"a":"The \"Big\" desk","b":1}"#),
            (r#"{"a":"say "hi", then go", "b":1}"#, r#"{"a":"say \"hi\", then go", "b":1}"#),
            (r#"["a "b" c","d"]"#, r#"["a \"b\" c","d"]"#),
            ("{\"a\":\"x \"y\"\"\n,\n\"b\":1}", "{\"a\":\"x \\\"y\\\"\"\n,\n\"b\":1}"),
            (r#"{"a":{"b":"1" x"},"c":["2" y"]}"#, r#"{"a":{"b":"1\" x"},"c":["2\" y"]}"#),
        ] {
            assert_eq!(requote(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn values_without_quotes_get_them() {
        for (json, expected) in [
            (r#"{"a": 1,299.00, "b": 1}"#, r#"{"a": "1,299.00", "b": 1}"#),
            (r#"{"a":19,99}"#, r#"{"a":"19,99"}"#),
            (r#"{"a":1.299,00,"b":{}}"#, r#"{"a":"1.299,00","b":{}}"#),
            (r#"{"a": 1 299.00 ,"b":1}"#, r#"{"a": "1 299.00" ,"b":1}"#),
            (r#"{"a":€19.99,"b":1}"#, r#"{"a":"€19.99","b":1}"#),
            (r#"{"a":InStock,"b":true}"#, r#"{"a":"InStock","b":true}"#),
        ] {
            assert_eq!(requote(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn a_string_without_an_end_is_not_repaired() {
        for json in [r#"{"a":"27" b, "c":1,"d":"e"}"#, r#"{"a":"b"#, r#"{"a"#, r#"{"a":"b" c"#] {
            assert_eq!(requote(json), None, "{json}");
        }
    }
}
