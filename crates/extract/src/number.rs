//! Numbers with separators, by decimal digits alone.
//!
//! What the separators of a number mean:
//!
//! | written | rule | read |
//! |---|---|---|
//! | `1.299,00` `1,299.00` `1'299.50` `1 299,00` | of two kinds, the last one is the decimal separator | 1299.00 |
//! | `1.299.000` `1,29,900` `1 299` `1'299` | the same one several times, spaces and apostrophes part thousands | 1299000 |
//! | `19,9` `19.99` `1234.567` `0.299` | a single one with other than three digits after it, with more than three before it, or after a lone 0, is the decimal separator | 19.9 |
//! | `1.299` `1,299` | in text for people, a single one with exactly three digits after it parts thousands | 1299 |
//! | `1.299` | in a field for machines (JSON, a `content` or `value` attribute), a single dot is always the decimal separator; a single comma is read as in text for people | 1.299 |
//! | `12.990` `1,299` | in currencies that are priced without decimals (CLP, JPY, HUF …, see `currency.rs`), a single one with exactly three digits after it parts thousands, in a field for machines as well | 12990 |
//! | `1.299` `1,299` | in currencies with thousandths (KWD …), a single one is always the decimal separator | 1.299 |
//!
//! A rule holds for what those above it leave open, and the last two come first where the currency is known. What a
//! field for machines holds beside a bare number (`1.299 €`) makes it text for people.
//!
//! More than four decimals other than 0, or more than 15 digits before the point, do not fit a price's column: that is
//! no number here.

use std::ops::Range;

use rust_decimal::Decimal;

use crate::currency::Fraction;

/// Digits after the point, as in a DECIMAL(19,4).
const MAX_DECIMALS: usize = 4;

/// Digits before the point, as in a DECIMAL(19,4).
const MAX_DIGITS: usize = 15;

/// Where the numbers of a text are, with their separators and without signs.
pub(crate) fn all(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let point_first = bytes[at] == b'.' && is_digit(at + 1) && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        if !is_digit(at) && !point_first {
            at += 1;
            continue;
        }
        let start = at;
        let mut group = at;
        let mut only_spaces = true;
        loop {
            match bytes.get(at) {
                Some(byte) if byte.is_ascii_digit() => at += 1,
                Some(b'.' | b',' | b'\'') if is_digit(at + 1) => {
                    only_spaces = false;
                    at += 1;
                    group = at;
                }
                // A space parts thousands only before exactly three digits.
                Some(b' ')
                    if only_spaces
                        && at - group <= 3
                        && (1..=3).all(|next| is_digit(at + next))
                        && !is_digit(at + 4) =>
                {
                    at += 1;
                    group = at;
                }
                _ => break,
            }
        }
        runs.push(start..at);
    }
    runs
}

/// Reads a number in text for people.
pub(crate) fn shown(number: &str, fraction: Fraction) -> Option<Decimal> {
    let separators: Vec<(usize, u8)> = number.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_digit()).collect();
    let Some(&(last_at, last)) = separators.last() else { return decimal(number, "") };
    let (whole, after) = (&number[..last_at], &number[last_at + 1..]);
    let earlier = &separators[..separators.len() - 1];
    let is_decimal = match last {
        b' ' | b'\'' => false,
        _ if earlier.is_empty() => fraction == Fraction::Thousandths || !parts_thousands(whole, after),
        _ => earlier.iter().all(|&(_, other)| other != last),
    };
    if is_decimal { decimal(&joined(whole)?, after) } else { decimal(&joined(number)?, "") }
}

/// Whether a single separator may part thousands.
fn parts_thousands(before: &str, after: &str) -> bool {
    after.len() == 3 && (1..=3).contains(&before.len()) && before != "0"
}

/// The digits of a whole number that is parted into groups: three in the last one, two (as in India) or three in those
/// before. A date or a version is not.
fn joined(number: &str) -> Option<String> {
    let groups: Vec<&str> = number.split(|c: char| !c.is_ascii_digit()).collect();
    let parted = groups.len() > 1;
    for (at, group) in groups.iter().enumerate().filter(|_| parted) {
        let fits = match at {
            0 => (1..=3).contains(&group.len()),
            _ if at == groups.len() - 1 => group.len() == 3,
            _ => (2..=3).contains(&group.len()),
        };
        if !fits {
            return None;
        }
    }
    Some(groups.concat())
}

/// Reads a [bare](is_bare) number in a field for machines.
pub(crate) fn exact(number: &str, fraction: Fraction) -> Option<Decimal> {
    let run = all(number).into_iter().next()?;
    let is_whole = |whole: &str, decimals: &str| fraction == Fraction::None && parts_thousands(whole, decimals);
    match number[run.clone()].split_once('.') {
        Some((whole, decimals)) if is_digits(whole) && is_digits(decimals) && !is_whole(whole, decimals) => {
            decimal(whole, decimals)
        }
        _ => shown(&number[run], fraction),
    }
}

/// Reads a whole number of a currency's smallest units, of which 10 to the power of `decimals` are one.
pub(crate) fn of_minor_units(number: &str, decimals: u32) -> Option<Decimal> {
    if !is_digits(number) || decimals as usize > MAX_DECIMALS {
        return None;
    }
    let mut value = decimal(number, "")?;
    value.set_scale(decimals).ok()?;
    Some(value)
}

/// Whether a text holds nothing but one number, in digits and separators.
pub(crate) fn is_bare(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'\'' | b' ')) && all(text).len() == 1
}

/// Whether a number is written as `1.5e3`, as JSON allows.
pub(crate) fn is_scientific(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.contains(['e', 'E'])
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
}

/// Reads a [scientific](is_scientific) number.
pub(crate) fn scientific(number: &str) -> Option<Decimal> {
    let value = Decimal::from_scientific(number).ok()?.normalize();
    let (whole, decimals) = (value.trunc().to_string(), value.scale() as usize);
    (decimals <= MAX_DECIMALS && whole.len() <= MAX_DIGITS).then_some(value)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn decimal(whole: &str, decimals: &str) -> Option<Decimal> {
    let whole = whole.trim_start_matches('0');
    let decimals = if decimals.len() > MAX_DECIMALS { decimals.trim_end_matches('0') } else { decimals };
    if whole.len() > MAX_DIGITS || decimals.len() > MAX_DECIMALS {
        return None;
    }
    let scale = u32::try_from(decimals.len()).ok()?;
    let digits = format!("0{whole}{decimals}").parse().ok()?;
    Some(Decimal::from_i128_with_scale(digits, scale))
}
