//! Currencies: codes, signs, and what stands for one in a text.

use iso_currency::Currency;

/// Signs and words, each with its code. The longer ones of those that begin alike come first. A sign of several
/// currencies has the code of the one that is meant most often (`$`, `¥`), or none where no one is (`kr`).
const SIGNS: &[(&str, Option<&str>)] = &[
    ("US$", Some("USD")),
    ("CA$", Some("CAD")),
    ("C$", Some("CAD")),
    ("AU$", Some("AUD")),
    ("A$", Some("AUD")),
    ("NZ$", Some("NZD")),
    ("HK$", Some("HKD")),
    ("SG$", Some("SGD")),
    ("S$", Some("SGD")),
    ("NT$", Some("TWD")),
    ("MX$", Some("MXN")),
    ("R$", Some("BRL")),
    ("$", Some("USD")),
    ("＄", Some("USD")),
    ("€", Some("EUR")),
    ("Euros", Some("EUR")),
    ("euros", Some("EUR")),
    ("Euro", Some("EUR")),
    ("euro", Some("EUR")),
    ("EURO", Some("EUR")),
    ("£", Some("GBP")),
    ("CN¥", Some("CNY")),
    ("RMB", Some("CNY")),
    ("元", Some("CNY")),
    ("¥", Some("JPY")),
    ("￥", Some("JPY")),
    ("円", Some("JPY")),
    ("₹", Some("INR")),
    ("Rs.", Some("INR")),
    ("Rs", Some("INR")),
    ("₩", Some("KRW")),
    ("원", Some("KRW")),
    ("₽", Some("RUB")),
    ("руб.", Some("RUB")),
    ("руб", Some("RUB")),
    ("₺", Some("TRY")),
    ("TL", Some("TRY")),
    ("₴", Some("UAH")),
    ("грн", Some("UAH")),
    ("zł", Some("PLN")),
    ("Kč", Some("CZK")),
    ("Ft", Some("HUF")),
    ("lei", Some("RON")),
    ("лв.", Some("BGN")),
    ("лв", Some("BGN")),
    ("SFr.", Some("CHF")),
    ("Fr.", Some("CHF")),
    ("₪", Some("ILS")),
    ("₫", Some("VND")),
    ("đ", Some("VND")),
    ("฿", Some("THB")),
    ("₱", Some("PHP")),
    ("₸", Some("KZT")),
    ("₦", Some("NGN")),
    ("₡", Some("CRC")),
    ("₼", Some("AZN")),
    ("₾", Some("GEL")),
    ("RM", Some("MYR")),
    ("Rp", Some("IDR")),
    ("S/", Some("PEN")),
    ("KD", Some("KWD")),
    ("kr.", None),
    ("kr", None),
    ("Kr.", None),
    ("Kr", None),
];

/// Codes that are also written in small letters within a text. Of the others some are words ("all", "top", "try").
const ALSO_SMALL: [&str; 6] = ["EUR", "USD", "GBP", "CHF", "PLN", "CZK"];

/// Currencies whose smallest coin is a thousandth, and whose prices are written so.
const THOUSANDTHS: [&str; 6] = ["BHD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// What stands for a currency at an edge of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sign {
    /// The ISO 4217 code, where the sign is that of one currency.
    pub(crate) code: Option<&'static str>,
    /// Its length in bytes.
    pub(crate) len: usize,
}

/// The code in a field that holds nothing but a currency: a code in letters of any size, or a sign.
pub(crate) fn of_field(text: &str) -> Option<&'static str> {
    let text = text.trim();
    code(&text.to_ascii_uppercase()).or_else(|| beginning(text).filter(|sign| sign.len == text.len())?.code)
}

/// Whether prices in this currency have three decimals.
pub(crate) fn has_thousandths(code: &str) -> bool {
    THOUSANDTHS.contains(&code)
}

/// The currency that a text begins with.
pub(crate) fn beginning(text: &str) -> Option<Sign> {
    let ends_here = |len: usize| !text[len..].starts_with(char::is_alphabetic);
    if let Some(code) = text.get(..3).filter(|_| ends_here(3)).and_then(written_code) {
        return Some(Sign { code: Some(code), len: 3 });
    }
    SIGNS
        .iter()
        .find(|(sign, _)| text.starts_with(sign) && (!sign.ends_with(char::is_alphabetic) || ends_here(sign.len())))
        .map(|&(sign, code)| Sign { code, len: sign.len() })
}

/// The currency that a text ends with.
pub(crate) fn ending(text: &str) -> Option<Sign> {
    let begins_here = |len: usize| !text[..text.len() - len].ends_with(char::is_alphabetic);
    let last = text.len().checked_sub(3).and_then(|at| text.get(at..));
    if let Some(code) = last.filter(|_| begins_here(3)).and_then(written_code) {
        return Some(Sign { code: Some(code), len: 3 });
    }
    SIGNS
        .iter()
        .find(|(sign, _)| text.ends_with(sign) && (!sign.starts_with(char::is_alphabetic) || begins_here(sign.len())))
        .map(|&(sign, code)| Sign { code, len: sign.len() })
}

fn written_code(text: &str) -> Option<&'static str> {
    code(text).or_else(|| ALSO_SMALL.into_iter().find(|code| code.eq_ignore_ascii_case(text)))
}

/// Metals, funds and the codes for "none" and "test" are no currency of a shop.
fn code(text: &str) -> Option<&'static str> {
    let currency = Currency::from_code(text)?;
    (!currency.is_special() && !currency.is_fund()).then(|| currency.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_holds_a_code_or_a_sign() {
        for (text, expected) in [
            ("EUR", Some("EUR")),
            (" eur ", Some("EUR")),
            ("€", Some("EUR")),
            ("Euro", Some("EUR")),
            ("zł", Some("PLN")),
            ("US$", Some("USD")),
            ("all", Some("ALL")),
            ("kr", None),
            ("XXX", None),
            ("XAU", None),
            ("CLF", None),
            ("ABC", None),
            ("EUR 5", None),
            ("", None),
        ] {
            assert_eq!(of_field(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_sign_is_told_from_a_part_of_a_word() {
        let code = |sign: Option<Sign>| sign.map(|sign| sign.code);
        for (text, expected) in [
            ("EUR 5", Some(Some("EUR"))),
            ("EUR5", Some(Some("EUR"))),
            ("usd 5", Some(Some("USD"))),
            ("€5", Some(Some("EUR"))),
            ("kr 5", Some(None)),
            ("EURAIL", None),
            ("top 5", None),
            ("Rsomething", None),
            ("leigh", None),
        ] {
            assert_eq!(code(beginning(text)), expected, "{text:?}");
        }
        for (text, expected) in [
            ("5 CHF", Some(Some("CHF"))),
            ("5US$", Some(Some("USD"))),
            ("ab 5 zł", Some(Some("PLN"))),
            ("5 kr.", Some(None)),
            ("aCHF", None),
            ("Ärmel", None),
            ("ö€", Some(Some("EUR"))),
        ] {
            assert_eq!(code(ending(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn no_sign_hides_behind_a_shorter_one() {
        for (at, (sign, _)) in SIGNS.iter().enumerate() {
            let shadow = SIGNS[..at].iter().find(|(shorter, _)| sign.starts_with(shorter) || sign.ends_with(shorter));
            assert_eq!(shadow, None, "{sign}");
        }
        for (sign, code) in SIGNS {
            assert_eq!(code.and_then(super::code), *code, "{sign}");
        }
    }
}
