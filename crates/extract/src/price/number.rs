//! Numbers with separators, by decimal digits alone.
//!
//! A separator means, by the first rule that applies:
//!
//! 1. In currencies with thousandths (KWD and others), a single dot or comma is the decimal
//!    separator. `1.299` is 1.299.
//! 2. Of two different separators, the last one is the decimal separator. `1.299,00`, `1,299.00`,
//!    `1'299.00` and `1 299,00` are 1299.00.
//! 3. A separator that occurs several times, a space and an apostrophe separate thousands.
//!    `1.299.000` and `1 299 000` are 1299000, `1,29,900` is 129900.
//! 4. A single dot or comma is the decimal separator unless exactly three digits follow it and one
//!    to three digits other than a lone 0 precede it. `19,9`, `1234.567` and `0.299` have decimals.
//! 5. In a machine-readable value (JSON, or an attribute such as `content`), a single dot is the
//!    decimal separator, except in currencies that are priced without decimals (CLP, JPY, HUF and
//!    others). `1.299` is 1.299, but 1299 in HUF.
//! 6. Otherwise a single dot or comma separates thousands. `1.299` and `1,299` are 1299.
//!
//! A machine-readable value with more than a bare number (`1.299 €`) is read as text for people.
//!
//! A number with more than 4 digits after the point, other than zeros at the end, has the noise of
//! a float: `185.130001`. It is rounded to the digits that prices of its currency have, or to 4
//! digits below 1. One that rounding would change by more than 0.5 %, and one with more than 15
//! digits before the point, does not fit the column of prices, a DECIMAL(19,4), and is not read.

use std::ops::Range;

use rust_decimal::{Decimal, RoundingStrategy};

use super::currency::MinorUnit;

/// Digits after the point, as in a DECIMAL(19,4).
const MAX_DECIMALS: usize = 4;

/// Digits after the point that are read of a number that is rounded.
const MAX_READ_DECIMALS: usize = 12;

/// The part of a number by which rounding may change it.
const MAX_ROUNDING: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// Digits before the point, as in a DECIMAL(19,4).
const MAX_DIGITS: usize = 15;

/// Returns the ranges of the numbers in a text, with separators and without signs.
pub(crate) fn find_all(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let starts_with_point = bytes[at] == b'.'
            && is_digit(at + 1)
            && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        if !is_digit(at) && !starts_with_point {
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
                // A space separates thousands only before exactly three digits.
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

/// Parses a number of a text for people.
pub(crate) fn parse_human(number: &str, minor_unit: MinorUnit) -> Option<Decimal> {
    let separators: Vec<(usize, u8)> =
        number.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_digit()).collect();
    let Some(&(last_at, last)) = separators.last() else {
        return decimal(number, "", minor_unit);
    };
    let (whole, after) = (&number[..last_at], &number[last_at + 1..]);
    let earlier = &separators[..separators.len() - 1];
    let is_decimal = match last {
        b' ' | b'\'' => false,
        _ if earlier.is_empty() => {
            minor_unit == MinorUnit::Thousandths || !may_separate_thousands(whole, after)
        }
        _ => earlier.iter().all(|&(_, other)| other != last),
    };
    if is_decimal {
        decimal(&join_groups(whole)?, after, minor_unit)
    } else {
        decimal(&join_groups(number)?, "", minor_unit)
    }
}

/// Whether a single separator between these digits may separate thousands.
fn may_separate_thousands(before: &str, after: &str) -> bool {
    after.len() == 3 && (1..=3).contains(&before.len()) && before != "0"
}

/// Returns the digits of a whole number in groups: three digits in the last group, two (as in
/// India) or three in those before it. The groups of a date or a version do not fit.
fn join_groups(number: &str) -> Option<String> {
    let groups: Vec<&str> = number.split(|c: char| !c.is_ascii_digit()).collect();
    let is_grouped = groups.len() > 1;
    for (at, group) in groups.iter().enumerate().filter(|_| is_grouped) {
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

/// Parses a machine-readable [bare](is_bare) number.
pub(crate) fn parse_machine(number: &str, minor_unit: MinorUnit) -> Option<Decimal> {
    let run = find_all(number).into_iter().next()?;
    let is_whole = |whole: &str, decimals: &str| {
        minor_unit == MinorUnit::None && may_separate_thousands(whole, decimals)
    };
    match number[run.clone()].split_once('.') {
        Some((whole, decimals))
            if is_digits(whole) && is_digits(decimals) && !is_whole(whole, decimals) =>
        {
            decimal(whole, decimals, minor_unit)
        }
        _ => parse_human(&number[run], minor_unit),
    }
}

/// Parses an amount in minor units of a currency, such as cents. A major unit has 10 to the power
/// of `decimals` minor units.
pub(crate) fn parse_minor_units(number: &str, decimals: u32) -> Option<Decimal> {
    if !is_digits(number) || decimals as usize > MAX_DECIMALS {
        return None;
    }
    let mut value = decimal(number, "", MinorUnit::Usual)?;
    value.set_scale(decimals).ok()?;
    Some(value)
}

/// Whether a text consists of one number in digits and separators.
pub(crate) fn is_bare(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'\'' | b' '))
        && find_all(text).len() == 1
}

/// Whether a number is written as `1.5e3`, as JSON allows.
pub(crate) fn is_scientific(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.contains(['e', 'E'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
}

/// Parses a [scientific](is_scientific) number.
pub(crate) fn parse_scientific(number: &str, minor_unit: MinorUnit) -> Option<Decimal> {
    let value = Decimal::from_scientific(number).ok()?.normalize();
    let is_short = value.trunc().to_string().len() <= MAX_DIGITS;
    round(value, minor_unit).filter(|_| is_short)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the number unless it does not fit a DECIMAL(19,4).
fn decimal(whole: &str, decimals: &str, minor_unit: MinorUnit) -> Option<Decimal> {
    let whole = whole.trim_start_matches('0');
    let decimals = match decimals.len() > MAX_DECIMALS {
        true => decimals.trim_end_matches('0'),
        false => decimals,
    };
    let decimals = decimals.get(..MAX_READ_DECIMALS).unwrap_or(decimals);
    if whole.len() > MAX_DIGITS {
        return None;
    }
    let scale = u32::try_from(decimals.len()).ok()?;
    let digits = format!("0{whole}{decimals}").parse().ok()?;
    let value = Decimal::try_from_i128_with_scale(digits, scale).ok()?;
    round(value, minor_unit)
}

/// Rounds a number with more digits after the point than fit. Returns `None` if that changes it
/// by more than noise could: the price of a screw may be 0.00125.
fn round(value: Decimal, minor_unit: MinorUnit) -> Option<Decimal> {
    if value.scale() as usize <= MAX_DECIMALS {
        return Some(value);
    }
    let digits = match minor_unit {
        _ if value < Decimal::ONE => 4,
        MinorUnit::Thousandths => 3,
        MinorUnit::Usual | MinorUnit::None => 2,
    };
    let rounded = value.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
    let difference = (rounded - value).abs();
    (difference <= value * MAX_ROUNDING).then_some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_digits_and_have_no_more_decimals_than_the_price_column() {
        let parse = |number, decimals| {
            parse_minor_units(number, decimals).map(|value| value.to_string()).unwrap_or_default()
        };
        assert_eq!(parse("1299", 2), "12.99");
        assert_eq!(parse("1299", 0), "1299");
        assert_eq!(parse("1299", 4), "0.1299");
        for (number, decimals) in [("1299", 5), ("12.99", 2), ("", 2)] {
            assert_eq!(parse(number, decimals), "", "{number:?} {decimals}");
        }
    }
}
