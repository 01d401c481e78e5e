//! Repairs errors of templates in JSON: unbalanced brackets, missing values, lone surrogates.

/// Brackets that may be added or dropped. With more errors, the structure is a guess.
const MAX_BRACKETS: usize = 3;

/// Returns the JSON with balanced brackets, single commas and spaces, `null` for missing and
/// `undefined` values, and no comments. Returns `None` if a string or comment does not end, or if
/// more than [`MAX_BRACKETS`] brackets are wrong.
pub(crate) fn repair(json: &str) -> Option<String> {
    let mut output = Output {
        text: String::with_capacity(json.len() + 16),
        open: Vec::new(),
        brackets_left: MAX_BRACKETS,
    };
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => string_length(rest, first)?,
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/")? + "*/".len(),
            _ if is_word_char(first) => rest.find(|c| !is_word_char(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            '{' | '[' => output.open(first),
            '}' | ']' => output.close(first)?,
            ',' => output.push_comma(),
            '"' | '\'' => output.push_string(token),
            '/' => output.push_space(),
            // Single spaces keep the text that is looked back over short.
            _ if first.is_whitespace() => output.push_space(),
            _ if matches!(token, "undefined" | "NaN") && output.expects_value() => {
                output.text.push_str("null")
            }
            _ => output.text.push_str(token),
        }
    }
    while let Some(open) = output.open.last().copied() {
        output.brackets_left = output.brackets_left.checked_sub(1)?;
        output.end(open);
    }
    Some(output.text)
}

struct Output {
    text: String,
    /// The closing bracket of each open one.
    open: Vec<char>,
    brackets_left: usize,
}

impl Output {
    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.open.push(if bracket == '{' { '}' } else { ']' });
    }

    /// Closes the open brackets up to the matching one. Drops a bracket that matches none.
    fn close(&mut self, bracket: char) -> Option<()> {
        let Some(at) = self.open.iter().rposition(|&open| open == bracket) else {
            self.brackets_left = self.brackets_left.checked_sub(1)?;
            return Some(());
        };
        self.brackets_left = self.brackets_left.checked_sub(self.open.len() - 1 - at)?;
        while self.open.len() > at {
            self.end(self.open.last().copied()?);
        }
        Some(())
    }

    fn end(&mut self, bracket: char) {
        self.complete_value();
        self.text.push(bracket);
        self.open.pop();
    }

    fn push_space(&mut self) {
        if !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    fn push_comma(&mut self) {
        self.complete_value();
        if !self.text.trim_end().ends_with(['{', '[', ',']) {
            self.text.push(',');
        }
    }

    /// Adds `null` after a name without a value.
    fn complete_value(&mut self) {
        if self.text.trim_end().ends_with(':') {
            self.text.push_str("null");
        }
    }

    fn expects_value(&self) -> bool {
        let before = self.text.trim_end();
        before.ends_with([':', '[']) || before.ends_with(',') && self.open.last() == Some(&']')
    }

    /// Adds a string with its quotes. Lone surrogates become U+FFFD.
    fn push_string(&mut self, token: &str) {
        let mut rest = token;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            self.text.push_str(before);
            let length = match (surrogate(escape), escape.get(6..).and_then(surrogate)) {
                (Some(Surrogate::High), Some(Surrogate::Low)) => 12,
                (Some(_), _) => {
                    self.text.push('\u{fffd}');
                    rest = &escape[6..];
                    continue;
                }
                (None, _) => escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end),
            };
            self.text.push_str(&escape[..length]);
            rest = &escape[length..];
        }
        self.text.push_str(rest);
    }
}

enum Surrogate {
    High,
    Low,
}

/// Returns the surrogate that the escape at the start of a text encodes.
fn surrogate(text: &str) -> Option<Surrogate> {
    let unit = u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    match unit {
        0xd800..=0xdbff => Some(Surrogate::High),
        0xdc00..=0xdfff => Some(Surrogate::Low),
        _ => None,
    }
}

/// Returns the bytes of the string at the start of `json`, quotes included.
fn string_length(json: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    let end = json.char_indices().skip(1).find(|&(_, c)| {
        let is_end = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    end.map(|(at, _)| at + 1)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '+' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_json_stays_unchanged() {
        for json in [
            r#"{"a":[1,-2.5e+3,true,null],"b c":"x\"}\\","ä":'it\'s "ö"'}"#,
            r#"{"a":"\ud83c\udf75 \u00e9 \n // no /* comment */ ,, undefined"}"#,
            r#"{undefined: 1}"#,
            "",
        ] {
            assert_eq!(repair(json).as_deref(), Some(json));
        }
    }

    #[test]
    fn errors_of_templates_are_repaired() {
        for (json, expected) in [
            (r#"{"a":{"b":1}"#, r#"{"a":{"b":1}}"#),
            (r#"{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"a":[{"b":1]}"#, r#"{"a":[{"b":1}]}"#),
            (r#"{"a":[1}"#, r#"{"a":[1]}"#),
            (r#"[{"a":1}"#, r#"[{"a":1}]"#),
            (r#"{,"a":1,, ,"b":[,1]}"#, r#"{"a":1, "b":[1]}"#),
            (r#"{"a":,"b": }"#, r#"{"a":null,"b": null}"#),
            (r#"{"a":"#, r#"{"a":null}"#),
            (r#"{"a":undefined,"b":[NaN,undefined]}"#, r#"{"a":null,"b":[null,null]}"#),
            (r#"{"a":"\ud83c","b":"\udf75x\\"}"#, "{\"a\":\"\u{fffd}\",\"b\":\"\u{fffd}x\\\\\"}"),
            (r#"{"a":"\ud83c\ud83c\udf75"}"#, "{\"a\":\"\u{fffd}\\ud83c\\udf75\"}"),
            ("{/* ' */\"a\":1 // \"\n}", "{ \"a\":1 }"),
        ] {
            assert_eq!(repair(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn json_with_too_many_errors_is_not_repaired() {
        for json in [r#"{"a":"b}"#, "{/*", "[[[[[", "}}}}}"] {
            assert_eq!(repair(json), None, "{json}");
        }
    }
}
