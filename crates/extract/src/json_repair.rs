//! Mends what templates do to JSON: a bracket too many or too few, values that are missing, halves of a character.

/// How many brackets may be added or dropped. Where more are wrong, nobody knows what belongs to what.
const MAX_BRACKETS: usize = 3;

/// The JSON with its brackets in pairs, one comma or space where there were several, and null for what is missing or
/// `undefined`. Comments are left out. `None` where a text does not end, or too many brackets are wrong.
pub(crate) fn mended(json: &str) -> Option<String> {
    let mut mended =
        Mended { text: String::with_capacity(json.len() + 16), open: Vec::new(), brackets_left: MAX_BRACKETS };
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => text_length(rest, first)?,
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/")? + "*/".len(),
            _ if is_of_word(first) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            '{' | '[' => mended.open(first),
            '}' | ']' => mended.close(first)?,
            ',' => mended.comma(),
            '"' | '\'' => mended.text(token),
            '/' => mended.space(),
            // One is as good as many, and keeps what is looked back over short.
            _ if first.is_whitespace() => mended.space(),
            _ if matches!(token, "undefined" | "NaN") && mended.wants_value() => mended.text.push_str("null"),
            _ => mended.text.push_str(token),
        }
    }
    while let Some(open) = mended.open.last().copied() {
        mended.brackets_left = mended.brackets_left.checked_sub(1)?;
        mended.end(open);
    }
    Some(mended.text)
}

struct Mended {
    text: String,
    /// The brackets that are open, each by the one that closes it.
    open: Vec<char>,
    brackets_left: usize,
}

impl Mended {
    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.open.push(if bracket == '{' { '}' } else { ']' });
    }

    /// Closes what has to be closed before, or drops a bracket that closes nothing.
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
        self.complete();
        self.text.push(bracket);
        self.open.pop();
    }

    fn space(&mut self) {
        if !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    fn comma(&mut self) {
        self.complete();
        if !self.text.trim_end().ends_with(['{', '[', ',']) {
            self.text.push(',');
        }
    }

    /// Gives a name its value, where it has none yet.
    fn complete(&mut self) {
        if self.text.trim_end().ends_with(':') {
            self.text.push_str("null");
        }
    }

    fn wants_value(&self) -> bool {
        let before = self.text.trim_end();
        before.ends_with([':', '[']) || before.ends_with(',') && self.open.last() == Some(&']')
    }

    /// A text in its quotes. A surrogate that is alone is no character.
    fn text(&mut self, token: &str) {
        let mut rest = token;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            self.text.push_str(before);
            let length = match (surrogate(escape), escape.get(6..).and_then(surrogate)) {
                (Some(Half::High), Some(Half::Low)) => 12,
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

enum Half {
    High,
    Low,
}

/// Which half of a character an escape that stands in front tells.
fn surrogate(text: &str) -> Option<Half> {
    let unit = u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    match unit {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

/// Bytes of a text with its quotes.
fn text_length(json: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    let end = json.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map(|(at, _)| at + 1)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '+' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sound_stays_as_it_is() {
        for json in [
            r#"{"a":[1,-2.5e+3,true,null],"b c":"x\"}\\","ä":'it\'s "ö"'}"#,
            r#"{"a":"\ud83c\udf75 \u00e9 \n // no /* comment */ ,, undefined"}"#,
            r#"{undefined: 1}"#,
            "",
        ] {
            assert_eq!(mended(json).as_deref(), Some(json));
        }
    }

    #[test]
    fn what_is_wrong_is_mended() {
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
            assert_eq!(mended(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_wrong_all_over_is_not_mended() {
        for json in [r#"{"a":"b}"#, "{/*", "[[[[[", "}}}}}"] {
            assert_eq!(mended(json), None, "{json}");
        }
    }
}
