//! Text that people type or paste: without what a clipboard or a chat adds to it.

use std::borrow::Cow;

/// Pairs of characters that people put around a URL or a word.
const PAIRS: [(char, char); 10] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('<', '>'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{201a}', '\u{2018}'),
    ('\u{ab}', '\u{bb}'),
    ('\u{2039}', '\u{203a}'),
];

/// The text without white space and pairs of quotes or angle brackets around it, and without
/// invisible characters.
pub(crate) fn bare(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() && text.contains(is_invisible) {
        let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
        return Cow::Owned(unwrapped(&visible).to_owned());
    }
    Cow::Borrowed(unwrapped(text))
}

/// Whether a character is invisible and means nothing in a URL or a word: zero-width spaces, byte
/// order marks, soft hyphens, and marks of the writing direction. Joiners are not among them, since
/// some scripts need them.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character means nothing at the ends of a text, where a joiner joins nothing.
pub fn is_padding(c: char) -> bool {
    c.is_whitespace() || is_invisible(c) || matches!(c, '\u{200c}' | '\u{200d}')
}

/// The text without white space and pairs of quotes or angle brackets around it.
pub fn unwrapped(text: &str) -> &str {
    let mut text = text.trim_matches(is_padding);
    // Most texts are bare, and each message is read.
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return text;
    }
    let inside = |text: &str, (open, close): (char, char)| -> Option<usize> {
        text.strip_prefix(open)?.strip_suffix(close).map(str::len)
    };
    while let Some(&pair) = PAIRS.iter().find(|&&pair| inside(text, pair).is_some()) {
        let (open, close) = pair;
        text = &text[open.len_utf8()..text.len() - close.len_utf8()];
        text = text.trim_matches(is_padding);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clipboard_adds_is_no_part_of_the_text() {
        for typed in [
            "https://a.example/p",
            "  https://a.example/p\r\n",
            "\"https://a.example/p\"",
            "<https://a.example/p>",
            "'https://a.example/p' ",
            "\u{201c}https://a.example/p\u{201d}",
            "\u{201e}https://a.example/p\u{201c}",
            "\u{ab} https://a.example/p \u{bb}",
            "\" <https://a.example/p> \"",
            "\u{feff}https://a.example/p\u{200b}",
            "https://a.\u{200b}example/\u{2060}p\u{200d}",
            "\u{202a}https://a.example/p\u{202c}",
        ] {
            assert_eq!(bare(typed), "https://a.example/p", "{typed:?}");
        }
    }

    #[test]
    fn what_belongs_to_the_text_stays() {
        for text in ["", "\"", "<", "a\"b\"", "\"a", "<a", "\u{645}\u{200c}\u{647}", "it's"] {
            assert_eq!(bare(text), text);
        }
        assert_eq!(bare("\"\""), "");
    }
}
