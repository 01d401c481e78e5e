//! Text as a database column takes it: one clean line.

/// One line of at most `max` characters: white space of every kind is folded to single spaces, control characters and
/// marks that nobody sees are dropped. `None` when nothing is left.
pub(crate) fn line(text: &str, max: usize) -> Option<String> {
    let mut line = String::with_capacity(text.len().min(4 * max));
    let mut chars = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            if chars > 0 && !line.ends_with(' ') && chars < max {
                line.push(' ');
                chars += 1;
            }
        } else if !is_unseen(c) {
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

/// Marks where raised characters begin in a text that is collected from a page.
pub(crate) const RAISED: &str = "\u{1}";

/// A collected text with spaces for its marks. In a price, two raised digits behind a digit are decimals: `19<sup>99</sup>`.
pub(crate) fn lowered(text: &str, is_price: bool) -> String {
    let mut parts = text.split(RAISED);
    let mut lowered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let before = lowered.trim_end();
        let decimals = part.trim_start().bytes().take_while(u8::is_ascii_digit).count();
        if is_price && decimals == 2 && before.ends_with(|c: char| c.is_ascii_digit()) {
            let number = before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
            let point = if number.contains('.') { ',' } else { '.' };
            lowered.truncate(before.len());
            lowered.push(point);
            lowered.push_str(part.trim_start());
        } else {
            if !part.starts_with(['.', ',']) && !lowered.ends_with(['.', ',']) {
                lowered.push(' ');
            }
            lowered.push_str(part);
        }
    }
    lowered
}

/// Control characters, soft hyphens, zero-width spaces, and the marks of a text's direction. Joiners stay: they change
/// how letters look.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_folded_and_what_nobody_sees_is_dropped() {
        for (text, expected) in [
            ("  a \t\r\n b\u{a0}\u{202f}\u{3000}c ", Some("a b c")),
            ("a\u{0}\u{1b}\u{ad}\u{200b}\u{200e}b\u{feff}", Some("ab")),
            ("\u{1f469}\u{200d}\u{1f33e}", Some("\u{1f469}\u{200d}\u{1f33e}")),
            (" \u{200b} ", None),
            ("", None),
        ] {
            assert_eq!(line(text, 100).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn raised_digits_are_the_decimals_of_a_price() {
        for (text, price, other) in [
            ("19^99 €", "19.99 €", "19 99 €"),
            ("19 ^\n99\n€", "19.99\n€", "19  \n99\n€"),
            ("1.299^00", "1.299,00", "1.299 00"),
            ("1,299^00", "1,299.00", "1,299 00"),
            ("^$19^99", " $19.99", " $19 99"),
            ("19^,99", "19,99", "19,99"),
            ("19,^99", "19,99", "19,99"),
            ("1299^1", "1299 1", "1299 1"),
            ("Tea^®", "Tea ®", "Tea ®"),
            ("Tea", "Tea", "Tea"),
        ] {
            let text = text.replace('^', RAISED);
            assert_eq!((lowered(&text, true).as_str(), lowered(&text, false).as_str()), (price, other));
        }
    }

    #[test]
    fn a_line_is_cut_at_a_character_and_not_at_a_space() {
        assert_eq!(line("äöü", 2).as_deref(), Some("äö"));
        assert_eq!(line("ab cd", 3).as_deref(), Some("ab"));
        assert_eq!(line("ab   ", 2).as_deref(), Some("ab"));
        assert_eq!(line("abc", 3).as_deref(), Some("abc"));
    }
}
