//! The price in a text.
//!
//! If a text contains several numbers, the price is, in order of preference:
//!
//! 1. the first number next to a currency;
//! 2. the first number next to a currency that is for a unit of measure (`39,98 €/kg`);
//! 3. the first number that stands alone;
//! 4. any other number.
//!
//! The lower end of a range has the currency that follows its upper end (`12,99 – 15,99 €`).
//!
//! A percentage or a negative number is never a price. The following are prices only next to a
//! currency: a date, a part of a telephone number or of another sequence (`030 1234567`, `2-3`,
//! `10:30`), and a number of units (`2 Tage`, `10 pcs`). After a phrase such as "on request" no
//! number is a price; before it, only one next to a currency is.

use rust_decimal::Decimal;

use super::{
    currency::{self, Symbol},
    exclusion::{
        is_date, is_in_sequence, is_negative, is_on_request, is_part_of_word, is_per_measure,
        is_quantity, is_whole,
    },
    number,
    words::{is_word_boundary, last_word, list_contains},
};
use crate::text;

/// Characters of a text that are searched for a price.
const MAX_TEXT: usize = 500;

/// Words that, alone in a text, mean a price of 0.
const FREE_WORDS: [&str; 10] = [
    "free",
    "gratis",
    "kostenlos",
    "kostenfrei",
    "gratuit",
    "gratuito",
    "grátis",
    "zdarma",
    "za darmo",
    "бесплатно",
];

/// Words before the lowest of several prices. A machine-readable value without a currency may
/// contain these and [`RANGE_WORDS`], and no other words.
const FROM_WORDS: &str =
    "from von starting at ab à a partir de dès desde da od vanaf fra från alk от az";

/// Words and signs between the ends of a range.
const RANGE_WORDS: &str = "- ~ 〜 ～ to bis à a au do tot til till hasta até";

/// A price, with its currency as known before or as found in its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Amount {
    pub(crate) value: Decimal,
    pub(crate) currency: Option<&'static str>,
}

/// Parses the price of a machine-readable value: JSON, or an attribute. A known `currency` takes
/// precedence over one in the text.
pub(crate) fn parse_machine(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    let text = normalize(text)?;
    let number = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let value = if number::is_scientific(number) {
        number::parse_scientific(number)
    } else if number::is_bare(number) {
        let is_excluded = is_in_sequence("", number, "", false) || is_date("", number, "");
        number::parse_machine(number, currency::minor_unit(currency)).filter(|_| !is_excluded)
    } else {
        // Without a currency, a number among other words is more likely a telephone number or date.
        let lowest = if has_only_range_words(&text) { Rank::Alone } else { Rank::PerMeasure };
        return parse_ranked(&text, currency, lowest);
    };
    let value = value.filter(|_| !text.starts_with('-'))?;
    Some(Amount { value, currency })
}

/// Parses the price of a text for people. A known `currency` takes precedence over one in the text.
pub(crate) fn parse_human(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    parse_ranked(&normalize(text)?, currency, Rank::Unlikely)
}

/// Parses the likeliest price of a text, unless it ranks below `lowest`.
fn parse_ranked(text: &str, known: Option<&'static str>, lowest: Rank) -> Option<Amount> {
    let Some((number, symbol)) = find_likeliest(text, lowest) else {
        return is_free(text).then_some(Amount { value: Decimal::ZERO, currency: known });
    };
    let currency = known.or_else(|| symbol?.code);
    let value = number::parse_human(number, currency::minor_unit(currency))?;
    Some(Amount { value, currency })
}

/// Returns the first number of the best rank, with the currency symbol next to it.
fn find_likeliest(text: &str, mut lowest: Rank) -> Option<(&str, Option<Symbol>)> {
    let mut runs = number::find_all(text);
    if is_on_request(text) {
        runs.truncate(runs.partition_point(|run| !is_on_request(&text[..run.start])));
        lowest = lowest.min(Rank::PerMeasure);
    }
    let mut best: Option<(Rank, &str, Option<Symbol>)> = None;
    // The end of the last number of a sequence. A number after nothing but a space continues it.
    let mut sequence_end = None;
    for (at, run) in runs.iter().enumerate() {
        let (before, number, after) = (&text[..run.start], &text[run.clone()], &text[run.end..]);
        if after.trim_start().starts_with('%') || is_negative(before) {
            continue;
        }
        let upper = runs.get(at + 1).filter(|upper| {
            list_contains(RANGE_WORDS, Some(text[run.end..upper.start].trim()))
                && have_equal_decimals(number, &text[(*upper).clone()])
        });
        let is_range = upper.is_some() && (!is_whole(number) || can_start_range(before));
        let after_range = upper.map_or(after, |upper| &text[upper.end..]);
        let symbol = adjacent_symbol(before, after)
            .or_else(|| following_symbol(after_range).filter(|_| is_range));
        let continues_sequence = is_whole(number)
            && sequence_end.is_some_and(|end: usize| text[end..run.start].trim().is_empty());
        let rank = match symbol {
            Some(_) if is_per_measure(before, after) => Rank::PerMeasure,
            Some(_) => Rank::NextToCurrency,
            None if continues_sequence || is_in_sequence(before, number, after, is_range) => {
                sequence_end = Some(run.end);
                continue;
            }
            None if is_date(before, number, after) || is_quantity(after_range) => continue,
            None if is_part_of_word(before, after) || is_per_measure(before, after) => {
                Rank::Unlikely
            }
            None => Rank::Alone,
        };
        if rank <= lowest && best.is_none_or(|(other, ..)| rank < other) {
            best = Some((rank, number, symbol));
        }
    }
    best.map(|(_, number, symbol)| (number, symbol))
}

/// How likely a number is the price, the likeliest first.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    NextToCurrency,
    /// Next to a currency, for a unit of measure.
    PerMeasure,
    Alone,
    /// Part of a word, or for a unit of measure without a currency.
    Unlikely,
}

/// Returns the text as one line, with digits and separators of other scripts as ASCII.
pub(crate) fn normalize(text: &str) -> Option<String> {
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
    Some(text::clean_line(text, MAX_TEXT)?.chars().map(ascii).collect())
}

fn digit(c: char, zero: char) -> char {
    char::from_digit(u32::from(c) - u32::from(zero), 10).unwrap_or(c)
}

/// Returns the currency symbol before a number (`EUR 5`, `from $5`) or after it (`5 €`, `5,- €`).
/// An unambiguous one takes precedence over one that several currencies share (`$5 MXN`).
fn adjacent_symbol(before: &str, after: &str) -> Option<Symbol> {
    let before = before.strip_suffix('-').unwrap_or(before);
    let Some(symbol) = currency::at_end(before.trim_end_matches([' ', ':', '='])) else {
        return following_symbol(after);
    };
    let after = after.trim_start_matches([' ', '(']);
    following_symbol(after)
        .filter(|other| symbol.is_resolved_by(other) && !belongs_to_next_number(after, other))
        .or(Some(symbol))
}

fn following_symbol(after: &str) -> Option<Symbol> {
    let dashes = after.strip_prefix(['.', ',']).filter(|rest| rest.starts_with('-'));
    let rest = dashes.map_or(after, |rest| rest.trim_start_matches('-'));
    let symbol = currency::at_start(rest.trim_start())?;
    // In "2 $5" the symbol belongs to the 5.
    let next = rest.trim_start()[symbol.len..].bytes().next();
    let is_before_number = next.is_some_and(|byte| byte.is_ascii_digit());
    (!rest.starts_with(' ') || !is_before_number).then_some(symbol)
}

/// Whether the symbol after a number that already has one belongs to the next number, as in
/// `$5 CAD 7` and `$5 CAD $7`.
fn belongs_to_next_number(after: &str, symbol: &Symbol) -> bool {
    let rest = after.trim_start_matches([' ', '.', ',', '-']).get(symbol.len..).unwrap_or_default();
    let rest = rest.trim_start();
    let rest = currency::at_start(rest).map_or(rest, |symbol| rest[symbol.len..].trim_start());
    rest.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether two numbers have equally many decimals, as the ends of a range do.
fn have_equal_decimals(one: &str, other: &str) -> bool {
    let decimals = |number: &str| {
        number.rfind(['.', ',']).map(|at| number.len() - at - 1).filter(|digits| *digits != 3)
    };
    decimals(one) == decimals(other)
}

/// Whether a whole number may be the lower end of a price range, unlike the 2 of
/// "Pack of 2 - 15 €".
fn can_start_range(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty() || before.ends_with(':') || list_contains(FROM_WORDS, last_word(before))
}

/// Whether a text contains no words but [`FROM_WORDS`] and [`RANGE_WORDS`].
fn has_only_range_words(text: &str) -> bool {
    text.split(is_word_boundary).all(|word| {
        word.is_empty()
            || list_contains(FROM_WORDS, Some(word))
            || list_contains(RANGE_WORDS, Some(word))
    })
}

fn is_free(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    FREE_WORDS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats an amount as `value` or `value CUR`, and `None` as an empty text.
    fn format_amount(amount: Option<Amount>) -> String {
        amount.map_or(String::new(), |Amount { value, currency }| {
            format!("{value} {}", currency.unwrap_or_default()).trim_end().to_owned()
        })
    }

    #[test]
    fn prices_in_text_for_people_are_read() {
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
            assert_eq!(format_amount(parse_human(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_price_on_request_is_not_a_price() {
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
            assert_eq!(
                (parse_human(text, Some("EUR")), parse_machine(text, Some("EUR"))),
                (None, None),
                "{text:?}"
            );
        }
        assert_eq!(
            format_amount(parse_human("19,99 €, größere Mengen auf Anfrage", None)),
            "19.99 EUR"
        );
    }

    #[test]
    fn dates_quantities_and_telephone_numbers_are_not_prices() {
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
            assert_eq!(
                (parse_human(text, Some("EUR")), parse_machine(text, Some("EUR"))),
                (None, None),
                "{text:?}"
            );
        }
        for (text, expected) in [
            ("Lieferzeit 2-3 Tage, 19,99", "19.99"),
            ("ab 24.12. nur 19,99", "19.99"),
            ("5 € bis 24.12.2024", "5 EUR"),
            ("$24.12.", "24.12 USD"),
            ("12-Pack 5 €", "5 EUR"),
        ] {
            assert_eq!(format_amount(parse_human(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn the_price_of_a_range_is_its_lower_end() {
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
            assert_eq!(format_amount(parse_human(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_total_price_takes_precedence_over_a_unit_price() {
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
            assert_eq!(format_amount(parse_human(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn an_unambiguous_code_takes_precedence_over_a_shared_symbol() {
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
            assert_eq!(format_amount(parse_human(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn words_in_a_machine_readable_value_require_a_currency() {
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
            assert_eq!(format_amount(parse_machine(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn in_currencies_without_decimals_a_dot_separates_thousands() {
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
            assert_eq!(
                format_amount(parse_machine(text, Some(currency))),
                expected,
                "{text:?} {currency}"
            );
        }
        assert_eq!(format_amount(parse_human("12.990", Some("CLP"))), "12990 CLP");
    }

    #[test]
    fn text_without_a_price_yields_none() {
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
            assert_eq!(
                (parse_human(text, None), parse_machine(text, None)),
                (None, None),
                "{text:?}"
            );
        }
    }

    #[test]
    fn machine_readable_prices_are_read() {
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
            // Text for people in a machine-readable field is read as text for people.
            ("1.299 €", "1299 EUR"),
            ("$1,299.00", "1299.00 USD"),
            ("free", "0"),
        ] {
            assert_eq!(format_amount(parse_machine(text, None)), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_the_price_column_yield_none() {
        for text in [
            "1.23456",
            "1e15",
            "1e16",
            "1e400",
            "1e5e5",
            "1e99999999999",
            "1e-5",
            "-1",
            "-1e3",
            "NaN",
            "0.00001",
        ] {
            assert_eq!(parse_machine(text, None), None, "{text:?}");
        }
        assert_eq!(format_amount(parse_machine("1e14", None)), "100000000000000");
    }

    #[test]
    fn a_known_currency_takes_precedence_and_decides_on_thousandths() {
        assert_eq!(format_amount(parse_human("$5", Some("CAD"))), "5 CAD");
        assert_eq!(format_amount(parse_human("1.299", Some("KWD"))), "1.299 KWD");
        assert_eq!(format_amount(parse_machine("1,299", Some("KWD"))), "1.299 KWD");
        assert_eq!(format_amount(parse_human("kostenlos", Some("EUR"))), "0 EUR");
    }

    proptest::proptest! {
        #[test]
        fn every_text_yields_a_valid_price_or_none(
            text in r"[-+0-9eE.,' €$%\u{a0}EURkr]{0,40}|\PC{0,80}",
        ) {
            let amounts = [parse_machine(&text, None), parse_human(&text, Some("EUR"))];
            for amount in amounts.into_iter().flatten() {
                proptest::prop_assert!(amount.value >= Decimal::ZERO && amount.value.scale() <= 4);
                proptest::prop_assert!(amount.value < Decimal::from(1_000_000_000_000_000_i64));
            }
        }

        #[test]
        fn a_price_is_read_back_as_written(cents in 0_u64..1_000_000_000_000) {
            let value = Decimal::from_i128_with_scale(i128::from(cents), 2);
            let written = value.to_string();
            let machine = parse_machine(&written, None).map(|amount| amount.value);
            proptest::prop_assert_eq!(machine, Some(value));
            let german = format!("{} €", written.replace('.', ","));
            let human = parse_human(&german, None).map(|amount| amount.value);
            proptest::prop_assert_eq!(human, Some(value));
        }
    }
}
