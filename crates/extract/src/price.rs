//! Prices out of text, by decimal digits alone.
//!
//! Of several numbers in a text the first one that stands beside a currency is the price, else the first one that
//! stands alone, else the first one. A percentage is none, nor is a negative number.

use std::ops::Range;

use rust_decimal::Decimal;

use crate::{
    currency::{self, Sign},
    number, text,
};

/// Characters of a text that are searched for a price.
const MAX_TEXT: usize = 500;

/// What says, alone, that nothing has to be paid.
const FREE: [&str; 10] =
    ["free", "gratis", "kostenlos", "kostenfrei", "gratuit", "gratuito", "grátis", "zdarma", "za darmo", "бесплатно"];

/// A price, with the currency that was known or that its text tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Amount {
    pub(crate) value: Decimal,
    pub(crate) currency: Option<&'static str>,
}

/// The price in a field for machines. A `currency` that is known from elsewhere wins over one in the text.
pub(crate) fn exact(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    let text = plain(text)?;
    let number = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let value = if number::is_scientific(number) {
        number::scientific(number)
    } else if number::is_bare(number) {
        number::exact(number, currency.is_some_and(currency::has_thousandths))
    } else {
        return in_text(&text, currency);
    };
    let value = value.filter(|_| !text.starts_with('-'))?;
    Some(Amount { value, currency })
}

/// The price in a text for people. A `currency` that is known from elsewhere wins over one in the text.
pub(crate) fn shown(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    in_text(&plain(text)?, currency)
}

fn in_text(text: &str, known: Option<&'static str>) -> Option<Amount> {
    let mut best: Option<(Rank, Range<usize>, Option<Sign>)> = None;
    for run in number::all(text) {
        let (before, after) = (&text[..run.start], &text[run.end..]);
        if after.trim_start().starts_with('%') || is_negative(before) {
            continue;
        }
        let sign = sign_beside(before, after);
        let rank = match sign {
            Some(_) => Rank::BesideCurrency,
            None if is_glued(before, after) => Rank::Glued,
            None => Rank::Alone,
        };
        if best.as_ref().is_none_or(|(other, ..)| rank < *other) {
            best = Some((rank, run, sign));
        }
    }
    match best {
        Some((_, run, sign)) => {
            let currency = known.or_else(|| sign?.code);
            let value = number::shown(&text[run], currency.is_some_and(currency::has_thousandths))?;
            Some(Amount { value, currency })
        }
        None => is_free(text).then_some(Amount { value: Decimal::ZERO, currency: known }),
    }
}

/// How likely a number is the price; the least is the likeliest.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    BesideCurrency,
    Alone,
    Glued,
}

/// The text in one line, with the digits and separators of other scripts as ASCII.
fn plain(text: &str) -> Option<String> {
    let ascii = |c: char| match c {
        '\u{ff10}'..='\u{ff19}' => digit(c, '\u{ff10}'),
        '\u{660}'..='\u{669}' => digit(c, '\u{660}'),
        '\u{6f0}'..='\u{6f9}' => digit(c, '\u{6f0}'),
        '．' | '٫' => '.',
        '，' | '٬' => ',',
        '’' | '‘' | 'ʼ' | '′' | '´' | '`' => '\'',
        '−' | '–' | '—' | '‐' | '‑' => '-',
        _ => c,
    };
    Some(text::line(text, MAX_TEXT)?.chars().map(ascii).collect())
}

fn digit(c: char, zero: char) -> char {
    char::from_digit(u32::from(c) - u32::from(zero), 10).unwrap_or(c)
}

/// The currency next to a number: before it (`EUR 5`, `from $5`), or after it (`5 €`, `5,- €`).
fn sign_beside(before: &str, after: &str) -> Option<Sign> {
    let before = before.strip_suffix('-').unwrap_or(before);
    if let Some(sign) = currency::ending(before.trim_end_matches([' ', ':', '='])) {
        return Some(sign);
    }
    let dashes = after.strip_prefix(['.', ',']).filter(|rest| rest.starts_with('-'));
    let rest = dashes.map_or(after, |rest| rest.trim_start_matches('-'));
    let sign = currency::beginning(rest.trim_start())?;
    // In "2 $5" the sign is that of the 5.
    let next = rest.trim_start()[sign.len..].bytes().next();
    (!rest.starts_with(' ') || !next.is_some_and(|byte| byte.is_ascii_digit())).then_some(sign)
}

/// Whether a number is part of a word, such as `A4` and `100g`.
fn is_glued(before: &str, after: &str) -> bool {
    before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '#' | '/'))
        || after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '/'))
}

/// Whether a minus sign belongs to the number: `-5`, `-$5`, `$-5`, but neither `A-5` nor `4-5` nor `Tea - 5`.
fn is_negative(before: &str) -> bool {
    let signed = |before: &str| {
        before.strip_suffix('-').is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '.'))
    };
    let unsigned = currency::ending(before).map_or(before, |sign| &before[..before.len() - sign.len]);
    signed(before) || signed(unsigned)
}

fn is_free(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    FREE.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `value`, `value CUR` or nothing.
    fn told(amount: Option<Amount>) -> String {
        amount.map_or(String::new(), |Amount { value, currency }| {
            format!("{value} {}", currency.unwrap_or_default()).trim_end().to_owned()
        })
    }

    #[test]
    fn prices_for_people_are_read() {
        for (text, expected) in [
            ("1.299,00 €", "1299.00 EUR"),
            ("$1,299.00", "1299.00 USD"),
            ("1 299,00 zł", "1299.00 PLN"),
            ("1\u{a0}299,00\u{a0}zł", "1299.00 PLN"),
            ("1\u{202f}299,00\u{202f}€", "1299.00 EUR"),
            ("¥12,800", "12800 JPY"),
            ("¥１２，８００", "12800 JPY"),
            ("12,800円（税込）", "12800 JPY"),
            ("CHF 1'299.–", "1299 CHF"),
            ("CHF 1’299.50", "1299.50 CHF"),
            ("₹1,29,900", "129900 INR"),
            ("₹ 1,29,900.50", "129900.50 INR"),
            ("1299", "1299"),
            ("from 19.99", "19.99"),
            ("ab 19,99 €*", "19.99 EUR"),
            ("EUR 5", "5 EUR"),
            ("5,- €", "5 EUR"),
            ("Price: US$ 12.5", "12.5 USD"),
            ("1234.567", "1234.567"),
            ("kr 1.299,-", "1299"),
            ("1.299", "1299"),
            ("1,299", "1299"),
            ("1.299.000", "1299000"),
            ("0.299", "0.299"),
            ("19,9", "19.9"),
            (".99", "0.99"),
            ("$.99", "0.99 USD"),
            ("KWD 1.299", "1.299 KWD"),
            ("12.500 KD", "12.500 KWD"),
            ("1 299 000 ₫", "1299000 VND"),
            ("۱٬۲۹۹", "1299"),
            ("\u{200e}$12.99", "12.99 USD"),
            ("$ 12.99 - $ 15.99", "12.99 USD"),
            ("Tea - 12.99", "12.99"),
            ("-20% 12,99 €", "12.99 EUR"),
            ("Save 5 % now 12.99", "12.99"),
            ("Pack of 2 - €15.99", "15.99 EUR"),
            ("Pack of 2 €15.99", "15.99 EUR"),
            ("2 1299 €", "1299 EUR"),
            ("4711 129 €", "129 EUR"),
            ("Price12.99incl. VAT", "12.99"),
            ("A4 paper 100g 4,50", "4.50"),
            ("12,99 € incl. VAT, 1,30 €/100 g", "12.99 EUR"),
            ("19.99000", "19.99"),
            ("45.000000", "45"),
            ("000.50", "0.50"),
            ("999999999999999.9999", "999999999999999.9999"),
            ("Gratis!", "0"),
            ("KOSTENLOS", "0"),
        ] {
            assert_eq!(told(shown(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_price_is_none() {
        for text in [
            "",
            " ",
            "price on request",
            "Preis auf Anfrage",
            "Free shipping",
            "versandkostenfrei",
            "-5.00",
            "−5,00 €",
            "-$5.00",
            "$-5.00",
            "20 %",
            "12.05.2024",
            "1.2.3",
            "1,299.000,00",
            "19.99999",
            "1234567890123456",
            "99999999999999999999999999999999",
            "€",
            ".",
            "-",
        ] {
            assert_eq!((shown(text, None), exact(text, None)), (None, None), "{text:?}");
        }
    }

    #[test]
    fn prices_for_machines_are_read() {
        for (text, expected) in [
            ("1.299", "1.299"),
            ("1299.00", "1299.00"),
            ("1299", "1299"),
            ("12,99", "12.99"),
            ("1,299", "1299"),
            ("0,299", "0.299"),
            ("1.299,00", "1299.00"),
            ("1,299.00", "1299.00"),
            ("1.299.000", "1299000"),
            ("1 299.00", "1299.00"),
            ("12345.6780", "12345.6780"),
            ("45.000000", "45"),
            ("1.5e3", "1500"),
            ("2E1", "20"),
            ("125e-1", "12.5"),
            ("+5", "5"),
            ("0", "0"),
            ("0.00", "0.00"),
            (" 7.50\n", "7.50"),
            // What is for people in spite of the field is read as that.
            ("1.299 €", "1299 EUR"),
            ("$1,299.00", "1299.00 USD"),
            ("free", "0"),
        ] {
            assert_eq!(told(exact(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_that_fit_no_price_column_are_none() {
        for text in
            ["1.23456", "1e15", "1e16", "1e400", "1e5e5", "1e99999999999", "1e-5", "-1", "-1e3", "NaN", "0.00001"]
        {
            assert_eq!(exact(text, None), None, "{text:?}");
        }
        assert_eq!(told(exact("1e14", None)), "100000000000000");
    }

    #[test]
    fn a_currency_that_is_known_wins_and_decides_on_thousandths() {
        assert_eq!(told(shown("$5", Some("CAD"))), "5 CAD");
        assert_eq!(told(shown("1.299", Some("KWD"))), "1.299 KWD");
        assert_eq!(told(exact("1,299", Some("KWD"))), "1.299 KWD");
        assert_eq!(told(shown("kostenlos", Some("EUR"))), "0 EUR");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in r"[-+0-9eE.,' €$%\u{a0}EURkr]{0,40}|\PC{0,80}") {
            for amount in [exact(&text, None), shown(&text, Some("EUR"))].into_iter().flatten() {
                proptest::prop_assert!(amount.value >= Decimal::ZERO && amount.value.scale() <= 4);
                proptest::prop_assert!(amount.value < Decimal::from(1_000_000_000_000_000_i64));
            }
        }

        #[test]
        fn a_price_is_read_as_it_was_written(cents in 0_u64..1_000_000_000_000) {
            let value = Decimal::from_i128_with_scale(i128::from(cents), 2);
            proptest::prop_assert_eq!(exact(&value.to_string(), None).map(|amount| amount.value), Some(value));
            let german = format!("{} €", value.to_string().replace('.', ","));
            proptest::prop_assert_eq!(shown(&german, None).map(|amount| amount.value), Some(value));
        }
    }
}
