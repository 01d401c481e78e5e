//! Prices out of text, by decimal digits alone.
//!
//! Of several numbers in a text the first one that stands beside a currency is the price, else one that is beside it
//! for a unit of measure (`39,98 €/kg`), else the first one that stands alone, else the first one. The lower end of a
//! range has the currency behind its upper end (`12,99 – 15,99 €`).
//!
//! No price is a percentage, a negative number, and, unless a currency is beside it, a date, a part of a telephone
//! number or of another row (`030 1234567`, `2-3`, `10:30`), and a number of units (`2 Tage`, `10 pcs`). What says that
//! the price is to be asked for ("on request") leaves only a number before it that is beside a currency.

use rust_decimal::Decimal;

use crate::{
    currency::{self, Sign},
    no_price::{is_date, is_glued, is_in_row, is_negative, is_on_request, is_per_measure, is_quantity, is_whole},
    number, text,
    words::{is_no_letter, is_one_of, last_word},
};

/// Characters of a text that are searched for a price.
const MAX_TEXT: usize = 500;

/// What says, alone, that nothing has to be paid.
const FREE: [&str; 10] =
    ["free", "gratis", "kostenlos", "kostenfrei", "gratuit", "gratuito", "grátis", "zdarma", "za darmo", "бесплатно"];

/// What says that a price is the lowest of several. These and [`TO`] are all that may stand around the number in a
/// field for machines.
const FROM: &str = "from von starting at ab à a partir de dès desde da od vanaf fra från alk от az";

/// What stands between the ends of a range.
const TO: &str = "- ~ 〜 ～ to bis à a au do tot til till hasta até";

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
        let is_other = is_in_row("", number, "", false) || is_date("", number, "");
        number::exact(number, currency::fraction(currency)).filter(|_| !is_other)
    } else {
        // A number among other words is rather a telephone's or a date's, unless a currency is beside it.
        return in_text(&text, currency, if is_without_words(&text) { Rank::Alone } else { Rank::PerMeasure });
    };
    let value = value.filter(|_| !text.starts_with('-'))?;
    Some(Amount { value, currency })
}

/// The price in a text for people. A `currency` that is known from elsewhere wins over one in the text.
pub(crate) fn shown(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    in_text(&plain(text)?, currency, Rank::Glued)
}

/// The price in a text, unless it is less likely than `least`.
fn in_text(text: &str, known: Option<&'static str>, least: Rank) -> Option<Amount> {
    let Some((number, sign)) = likeliest(text, least) else {
        return is_free(text).then_some(Amount { value: Decimal::ZERO, currency: known });
    };
    let currency = known.or_else(|| sign?.code);
    let value = number::shown(number, currency::fraction(currency))?;
    Some(Amount { value, currency })
}

/// The first of the likeliest numbers.
fn likeliest(text: &str, mut least: Rank) -> Option<(&str, Option<Sign>)> {
    let mut runs = number::all(text);
    if is_on_request(text) {
        runs.truncate(runs.partition_point(|run| !is_on_request(&text[..run.start])));
        least = least.min(Rank::PerMeasure);
    }
    let mut best: Option<(Rank, &str, Option<Sign>)> = None;
    // The end of the last number that is a part of a row: what follows a space is the row's as well.
    let mut row_end = None;
    for (at, run) in runs.iter().enumerate() {
        let (before, number, after) = (&text[..run.start], &text[run.clone()], &text[run.end..]);
        if after.trim_start().starts_with('%') || is_negative(before) {
            continue;
        }
        let upper = runs.get(at + 1).filter(|upper| {
            is_one_of(TO, Some(text[run.end..upper.start].trim())) && are_alike(number, &text[(*upper).clone()])
        });
        let is_range = upper.is_some() && (!is_whole(number) || may_begin_a_range(before));
        let behind = upper.map_or(after, |upper| &text[upper.end..]);
        let sign = sign_beside(before, after).or_else(|| sign_behind(behind).filter(|_| is_range));
        let follows_row = is_whole(number) && row_end.is_some_and(|end: usize| text[end..run.start].trim().is_empty());
        let rank = match sign {
            Some(_) if is_per_measure(before, after) => Rank::PerMeasure,
            Some(_) => Rank::BesideCurrency,
            None if follows_row || is_in_row(before, number, after, is_range) => {
                row_end = Some(run.end);
                continue;
            }
            None if is_date(before, number, after) || is_quantity(behind) => continue,
            None if is_glued(before, after) || is_per_measure(before, after) => Rank::Glued,
            None => Rank::Alone,
        };
        if rank <= least && best.is_none_or(|(other, ..)| rank < other) {
            best = Some((rank, number, sign));
        }
    }
    best.map(|(_, number, sign)| (number, sign))
}

/// How likely a number is the price; the least is the likeliest.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    BesideCurrency,
    /// Beside a currency, for a unit of measure.
    PerMeasure,
    Alone,
    /// A part of a word, or for a unit of measure.
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

/// The currency next to a number: before it (`EUR 5`, `from $5`), or behind it (`5 €`, `5,- €`). One that is clear wins
/// over a sign that several share (`$5 MXN`).
fn sign_beside(before: &str, after: &str) -> Option<Sign> {
    let before = before.strip_suffix('-').unwrap_or(before);
    let Some(sign) = currency::ending(before.trim_end_matches([' ', ':', '='])) else { return sign_behind(after) };
    let after = after.trim_start_matches([' ', '(']);
    sign_behind(after).filter(|other| sign.may_be(other) && !is_of_the_next(after, other)).or(Some(sign))
}

fn sign_behind(after: &str) -> Option<Sign> {
    let dashes = after.strip_prefix(['.', ',']).filter(|rest| rest.starts_with('-'));
    let rest = dashes.map_or(after, |rest| rest.trim_start_matches('-'));
    let sign = currency::beginning(rest.trim_start())?;
    // In "2 $5" the sign is that of the 5.
    let next = rest.trim_start()[sign.len..].bytes().next();
    (!rest.starts_with(' ') || !next.is_some_and(|byte| byte.is_ascii_digit())).then_some(sign)
}

/// Whether a sign behind a number that has one before it is that of a number behind it, as in `$5 CAD 7` and `$5 CAD $7`.
fn is_of_the_next(after: &str, sign: &Sign) -> bool {
    let rest = after.trim_start_matches([' ', '.', ',', '-']).get(sign.len..).unwrap_or_default();
    let rest = rest.trim_start();
    let rest = currency::beginning(rest).map_or(rest, |sign| rest[sign.len..].trim_start());
    rest.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether two numbers are written with as many decimals, as those of a range are.
fn are_alike(one: &str, other: &str) -> bool {
    let decimals =
        |number: &str| number.rfind(['.', ',']).map(|at| number.len() - at - 1).filter(|digits| *digits != 3);
    decimals(one) == decimals(other)
}

/// Whether a whole number may be the lower end of a range of prices: the 2 of "Pack of 2 - 15 €" is none.
fn may_begin_a_range(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty() || before.ends_with(':') || is_one_of(FROM, last_word(before))
}

/// Whether a text has no words but those of "from" and "to".
fn is_without_words(text: &str) -> bool {
    text.split(is_no_letter).all(|word| word.is_empty() || is_one_of(FROM, Some(word)) || is_one_of(TO, Some(word)))
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
    fn what_is_to_be_asked_for_has_no_price() {
        for text in [
            "Preis auf Anfrage, Tel. 030 1234567",
            "Auf Anfrage (Tel. 030 1234567)",
            "Price on request (min. 10 pcs)",
            "Price on request (shipping 5 €)",
            "Call for price 1-800-555-1234",
            "Prix sur demande, 2 pièces",
            "a consultar 12",
            "Prezzo su richiesta 2024",
            "PRIJS OP AANVRAAG 12",
            "Cena na zapytanie 48",
            "Contact us: 12345",
        ] {
            assert_eq!((shown(text, Some("EUR")), exact(text, Some("EUR"))), (None, None), "{text:?}");
        }
        assert_eq!(told(shown("19,99 €, größere Mengen auf Anfrage", None)), "19.99 EUR");
    }

    #[test]
    fn dates_quantities_and_telephones_are_no_prices() {
        for text in [
            "Lieferzeit 2-3 Tage",
            "Lieferzeit 2 - 3 Tage",
            "Lieferzeit 2 Tage",
            "Ausverkauft – wieder da am 24.12.",
            "Ausverkauft bis 24.12.2024",
            "Available from 24 December 2024",
            "wieder da: 24. Dezember",
            "24.12.",
            "24.12.24",
            "030",
            "2024-12-24",
            "24/12/2024",
            "10:30",
            "Tel. 030 1234567",
            "+1 800-555-1234",
            "1/2",
            "Tea 100 g",
        ] {
            assert_eq!((shown(text, Some("EUR")), exact(text, Some("EUR"))), (None, None), "{text:?}");
        }
        for (text, expected) in [
            ("Lieferzeit 2-3 Tage, 19,99", "19.99"),
            ("ab 24.12. nur 19,99", "19.99"),
            ("5 € bis 24.12.2024", "5 EUR"),
            ("$24.12.", "24.12 USD"),
            ("12-Pack 5 €", "5 EUR"),
        ] {
            assert_eq!(told(shown(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_range_gives_its_lower_end() {
        for (text, expected) in [
            ("12,99 – 15,99 €", "12.99 EUR"),
            ("12,99–15,99 €", "12.99 EUR"),
            ("ab 12,99 bis 15,99 €", "12.99 EUR"),
            ("from 12.99 to 15.99 USD", "12.99 USD"),
            ("1,299.00 - 1,499.00 USD", "1299.00 USD"),
            ("999 - 1.299 €", "999 EUR"),
            ("Preis: 10 - 15 €", "10 EUR"),
            ("12-15 €", "12 EUR"),
            ("von 10 bis 20 Euro", "10 EUR"),
            ("€12-15", "12 EUR"),
            ("12.99-15.99", "12.99"),
            ("Pack of 2 - 15 €", "15 EUR"),
            ("Price 1,299 - 1,499 USD", "1299 USD"),
            ("1,299-1,499", "1299"),
            ("5 - 10 % off, 12.99", "12.99"),
            ("12.99 - 20 % off", "12.99"),
            ("$12 - 20 % off", "12 USD"),
            ("12.99 - 3 days", "12.99"),
            ("12,99 - 15,99 CHF", "12.99 CHF"),
            ("12,99 $ à 15,99 $ CA", "12.99 USD"),
        ] {
            assert_eq!(told(shown(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn the_price_of_a_unit_of_measure_comes_after_that_of_the_whole() {
        for (text, expected) in [
            ("(1 kg = 39,98 €) 19,99 €", "19.99 EUR"),
            ("(1 kg = €39.98) €19.99", "19.99 EUR"),
            ("19,99 € (39,98 €/kg)", "19.99 EUR"),
            ("39,98 €/kg, 19,99 €", "19.99 EUR"),
            ("Inhalt: 0.5 Liter (39,98 € * / 1 Liter) 19,99 € *", "19.99 EUR"),
            ("39,98 € pro 100 ml 19,99 €", "19.99 EUR"),
            ("39,98 €/kg", "39.98 EUR"),
            ("(1 kg = 39,98) 19,99", "19.99"),
            ("100 g, 3,98 €/100 g", "3.98 EUR"),
            ("Price = 5 €", "5 EUR"),
            ("5 €/Stück, 4 € Versand", "5 EUR"),
        ] {
            assert_eq!(told(shown(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_clear_wins_over_a_sign_that_several_currencies_share() {
        for (text, expected) in [
            ("AU $12.99", "12.99 AUD"),
            ("C $12.99", "12.99 CAD"),
            ("MXN$ 1,299", "1299 MXN"),
            ("$1,299.00 MXN", "1299.00 MXN"),
            ("$1,299.00MXN", "1299.00 MXN"),
            ("$ 12.990 COP", "12990 COP"),
            ("12,99 $CA", "12.99 CAD"),
            ("¥99 CNY", "99 CNY"),
            ("kr 129 SEK", "129 SEK"),
            ("129 kr DKK", "129 DKK"),
            ("$1,299.00 (MXN)", "1299.00 MXN"),
            ("$5 CAD 7", "5 USD"),
            ("$5 CAD $7", "5 USD"),
            ("$5 (CAD 7)", "5 USD"),
            ("$5 €4", "5 USD"),
            ("$5 (4 €)", "5 USD"),
            ("$5 TOP quality", "5 USD"),
            ("-AU $5", ""),
        ] {
            assert_eq!(told(shown(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_in_a_field_for_machines_needs_a_currency_beside_its_number() {
        for (text, expected) in [
            ("from 12.99", "12.99"),
            ("ab 12,99 bis 15,99", "12.99"),
            ("12.99 - 15.99", "12.99"),
            ("12,99 *", "12.99"),
            ("Now only 12.99 €", "12.99 EUR"),
            ("Price: USD 12.99", "12.99 USD"),
            ("Model 12", ""),
            ("12.99 incl. VAT", ""),
            ("A4", ""),
            ("030 1234567", ""),
        ] {
            assert_eq!(told(exact(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn currencies_without_decimals_part_thousands_in_fields_for_machines_too() {
        for (text, currency, expected) in [
            ("12.990", "CLP", "12990 CLP"),
            ("12,990", "COP", "12990 COP"),
            ("129.000", "IDR", "129000 IDR"),
            ("1.299", "HUF", "1299 HUF"),
            ("1299.000", "JPY", "1299.000 JPY"),
            ("12.99", "HUF", "12.99 HUF"),
            ("0.299", "JPY", "0.299 JPY"),
            ("12.990", "EUR", "12.990 EUR"),
        ] {
            assert_eq!(told(exact(text, Some(currency))), expected, "{text:?} {currency}");
        }
        assert_eq!(told(shown("12.990", Some("CLP"))), "12990 CLP");
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
