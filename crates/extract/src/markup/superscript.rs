//! Superscript characters in text that is collected from a page.

/// Stands before superscript characters in collected text.
pub(crate) const MARKER: &str = "\u{1}";

/// Replaces the markers of collected text by spaces. In a price, two superscript digits after a
/// digit are decimals: `19<sup>99</sup>` is 19.99.
pub(crate) fn resolve(text: &str, is_price: bool) -> String {
    let mut parts = text.split(MARKER);
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let before = resolved.trim_end();
        let digits = part.trim_start().bytes().take_while(u8::is_ascii_digit).count();
        if is_price && digits == 2 && before.ends_with(|c: char| c.is_ascii_digit()) {
            let number =
                before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
            let separator = if number.contains('.') { ',' } else { '.' };
            resolved.truncate(before.len());
            resolved.push(separator);
            resolved.push_str(part.trim_start());
        } else {
            if !part.starts_with(['.', ',']) && !resolved.ends_with(['.', ',']) {
                resolved.push(' ');
            }
            resolved.push_str(part);
        }
    }
    resolved
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
            let text = text.replace('^', MARKER);
            assert_eq!(
                (resolve(&text, true).as_str(), resolve(&text, false).as_str()),
                (price, other)
            );
        }
    }
}
