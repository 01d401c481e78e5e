//! Text that is collected from several elements, with marks where they begin and end.

/// Stands before superscript characters in collected text.
pub(crate) const SUPERSCRIPT: &str = "\u{1}";

/// Stands where an element starts or ends within a line.
pub(crate) const BOUNDARY: &str = "\u{2}";

/// Returns what stands for an element that is left out of a text: nothing, unless there are words
/// before it. The "was" before a price that is struck through is not about the next price.
pub(crate) fn omission(text: &str) -> &'static str {
    if text.contains(char::is_alphabetic) { " … " } else { "" }
}

/// Replaces the marks of collected text. In a price, two digits that are superscript or in an
/// element of their own are decimals: `19<sup>99</sup>` and `<b>19</b><i>99</i>` are 19.99.
/// Elsewhere, superscript is set off by spaces.
pub(crate) fn resolve(text: &str, is_price: bool) -> String {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    // Where the last part that is not empty starts.
    let mut last = 0;
    while let Some(at) = rest.find(['\u{1}', '\u{2}']) {
        let (part, marked) = rest.split_at(at);
        if !part.is_empty() {
            last = resolved.len();
            resolved.push_str(part);
        }
        let is_superscript = marked.starts_with(SUPERSCRIPT);
        let after = &marked[1..];
        let last_part = if is_superscript { &*resolved } else { &resolved[last..] };
        let follows_digits = ends_with_digits(last_part);
        let is_decimals = is_price && follows_digits && starts_with_decimals(after, is_superscript);
        if is_decimals && !is_superscript && !(is_number(last_part) && ends_after_two(after)) {
            // "Qty 1" and "15 €", or "19" and "99 €".
            resolved.push(' ');
            rest = after;
        } else if is_decimals {
            resolved.truncate(resolved.trim_end().len());
            let number = resolved.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next();
            resolved.push(if number.unwrap_or_default().contains('.') { ',' } else { '.' });
            rest = after.trim_start();
        } else {
            let is_joined = after.starts_with(['.', ',']) || resolved.ends_with(['.', ',']);
            if is_superscript && !is_joined {
                resolved.push(' ');
            }
            rest = after;
        }
        last = last.min(resolved.len());
    }
    resolved.push_str(rest);
    resolved
}

/// Whether a part has no words.
fn is_number(part: &str) -> bool {
    !part.contains(char::is_alphabetic)
}

/// Whether an element ends after two characters.
fn ends_after_two(part: &str) -> bool {
    part.len() == 2 || part[2..].starts_with(['\u{1}', '\u{2}'])
}

fn ends_with_digits(part: &str) -> bool {
    part.trim_end().ends_with(|c: char| c.is_ascii_digit())
}

/// Whether a part starts with exactly two digits. Three are the thousands of a number, and one is
/// one of many elements that each show a digit.
fn starts_with_decimals(part: &str, is_superscript: bool) -> bool {
    let part = if is_superscript { part.trim_start() } else { part };
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &part[digits..];
    let continues = rest.trim_start_matches(['\u{1}', '\u{2}']).starts_with(|c: char| {
        c.is_ascii_digit() || rest.starts_with(['.', ',']) && !is_superscript
    });
    digits == 2 && !continues
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superscript_digits_are_the_decimals_of_a_price() {
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
            let text = text.replace('^', SUPERSCRIPT);
            assert_eq!(
                (resolve(&text, true).as_str(), resolve(&text, false).as_str()),
                (price, other)
            );
        }
    }

    #[test]
    fn two_digits_in_an_element_of_their_own_are_the_decimals_of_a_price() {
        for (text, price, other) in [
            ("$|1327|49| /each", "$1327.49 /each", "$132749 /each"),
            ("|1.299|00| €", "1.299,00 €", "1.29900 €"),
            ("|19||99|", "19.99", "1999"),
            ("|1|327|", "1327", "1327"),
            ("|1|3|2|7|", "1327", "1327"),
            ("|19|,|99|", "19,99", "19,99"),
            ("|19,|99|", "19,99", "19,99"),
            ("|19.99|", "19.99", "19.99"),
            ("|-20| |19|", "-20 19", "-20 19"),
            ("|1||234||56|", "1234.56", "123456"),
            ("|4|99|€", "4.99€", "499€"),
            ("|Qty 1|15 €|", "Qty 1 15 €", "Qty 115 €"),
            ("|19|99 €|", "19 99 €", "1999 €"),
        ] {
            let text = text.replace('|', BOUNDARY);
            assert_eq!(
                (resolve(&text, true).as_str(), resolve(&text, false).as_str()),
                (price, other)
            );
        }
    }
}
