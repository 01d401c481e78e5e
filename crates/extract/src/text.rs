//! Text as a database column takes it: one clean line.

/// Returns the text as one line of at most `max` characters, or `None` if nothing is left.
///
/// Whitespace of every kind is folded to single spaces. Control characters and invisible marks are
/// dropped.
pub(crate) fn clean_line(text: &str, max: usize) -> Option<String> {
    let mut line = String::with_capacity(text.len().min(4 * max));
    let mut chars = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            if chars > 0 && !line.ends_with(' ') && chars < max {
                line.push(' ');
                chars += 1;
            }
        } else if !is_invisible(c) {
            if chars == max {
                break;
            }
            line.push(c);
            chars += 1;
        }
    }
    line.truncate(line.trim_end().len());
    (!line.is_empty()).then_some(line)
}

/// Whether a line is what is left of a template that was not filled in: `$metabrand`, `{{ name }}`,
/// `undefined`. Such a text says nothing of the product.
pub(crate) fn is_placeholder(line: &str) -> bool {
    let is_identifier = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '>'))
    };
    let between = |start: &str, end: &str| {
        line.find(start).is_some_and(|at| line[at + start.len()..].contains(end))
    };
    let is_enclosed = |mark: &str| {
        let name = line.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        name.is_some_and(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    ["undefined", "null", "(null)", "nan", "n/a", "[object object]"]
        .iter()
        .any(|word| line.eq_ignore_ascii_case(word))
        || line.strip_prefix('$').is_some_and(is_identifier)
        || ["%", "%%", "##", "@@", "__"].into_iter().any(is_enclosed)
        || [("{{", "}}"), ("{%", "%}"), ("<%", "%>"), ("${", "}"), ("[[", "]]"), ("#{", "}")]
            .into_iter()
            .any(|(start, end)| between(start, end))
        || line.contains("[object Object]")
}

/// Control characters, soft hyphens, zero-width spaces, and marks of text direction. Joiners stay:
/// they change how letters look.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_is_folded_and_invisible_characters_are_dropped() {
        for (text, expected) in [
            ("  a \t\r\n b\u{a0}\u{202f}\u{3000}c ", Some("a b c")),
            ("a\u{0}\u{1b}\u{ad}\u{200b}\u{200e}b\u{feff}", Some("ab")),
            ("\u{1f469}\u{200d}\u{1f33e}", Some("\u{1f469}\u{200d}\u{1f33e}")),
            (" \u{200b} ", None),
            ("", None),
        ] {
            assert_eq!(clean_line(text, 100).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_template_that_was_not_filled_in_is_a_placeholder() {
        for line in [
            "$metabrand",
            "$product->name",
            "$item.brand",
            "{{ product.name }}",
            "{{brand}} shop",
            "{% name %}",
            "<%= name %>",
            "${brand}",
            "[[brand]]",
            "#{name}",
            "%BRAND%",
            "%%brand%%",
            "##NAME##",
            "__brand__",
            "undefined",
            "NULL",
            "NaN",
            "n/a",
            "[object Object]",
        ] {
            assert!(is_placeholder(line), "{line}");
        }
        for line in
            ["Oak Desk", "A$AP", "$5 gift card", "$UICIDE", "100%", "50% off", "None", "{a}", "#1"]
        {
            assert!(!is_placeholder(line), "{line}");
        }
    }

    #[test]
    fn a_line_is_cut_at_a_character_and_not_at_a_space() {
        assert_eq!(clean_line("äöü", 2).as_deref(), Some("äö"));
        assert_eq!(clean_line("ab cd", 3).as_deref(), Some("ab"));
        assert_eq!(clean_line("ab   ", 2).as_deref(), Some("ab"));
        assert_eq!(clean_line("abc", 3).as_deref(), Some("abc"));
    }
}
