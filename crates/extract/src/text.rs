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
    fn a_line_is_cut_at_a_character_and_not_at_a_space() {
        assert_eq!(clean_line("äöü", 2).as_deref(), Some("äö"));
        assert_eq!(clean_line("ab cd", 3).as_deref(), Some("ab"));
        assert_eq!(clean_line("ab   ", 2).as_deref(), Some("ab"));
        assert_eq!(clean_line("abc", 3).as_deref(), Some("abc"));
    }
}
