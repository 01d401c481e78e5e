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

/// Signs that several currencies share, and the codes that may stand beside them to tell which one is meant. Codes that
/// are words ("TOP", "MOP") are left out.
const SHARED: &[(&[&str], &[&str])] = &[
    (
        &["$", "＄"],
        &[
            "USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "ARS", "BRL", "CLP", "COP", "UYU", "DOP", "BBD",
            "BMD", "BND", "BSD", "BZD", "FJD", "GYD", "JMD", "KYD", "LRD", "NAD", "SRD", "TTD", "XCD",
        ],
    ),
    (&["¥", "￥"], &["JPY", "CNY"]),
    (&["£"], &["GBP", "EGP", "GIP", "FKP", "SHP", "LBP", "SYP"]),
    (&["Rs.", "Rs"], &["INR", "PKR", "LKR", "NPR", "MUR", "SCR"]),
    (&["kr.", "kr", "Kr.", "Kr"], &["SEK", "NOK", "DKK", "ISK"]),
];

/// Codes that are also written in small letters within a text. Of the others some are words ("all", "top", "try").
const ALSO_SMALL: [&str; 6] = ["EUR", "USD", "GBP", "CHF", "PLN", "CZK"];

/// Currencies whose smallest coin is a thousandth, and whose prices are written so.
const THOUSANDTHS: [&str; 6] = ["BHD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Currencies that are priced without decimals, by ISO 4217 or in practice, where a coin that is worth little has gone.
const WHOLE: [&str; 28] = [
    "BIF", "CLP", "COP", "CRC", "DJF", "GNF", "HUF", "IDR", "IQD", "IRR", "ISK", "JPY", "KMF", "KRW", "LAK", "LBP",
    "MMK", "PYG", "RSD", "RWF", "TZS", "UGX", "UZS", "VND", "VUV", "XAF", "XOF", "XPF",
];

/// The decimals that prices of a currency have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fraction {
    /// Two, mostly; also where the currency is not known.
    Usual,
    /// Three.
    Thousandths,
    /// None: every price is a whole number.
    None,
}

/// What stands for a currency at an edge of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sign {
    /// The ISO 4217 code, where the sign is that of one currency.
    pub(crate) code: Option<&'static str>,
    /// Its length in bytes.
    pub(crate) len: usize,
    /// The codes it may stand for, where several currencies share it.
    shared: &'static [&'static str],
}

impl Sign {
    /// Whether the other one tells which of the currencies is meant that share this one.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        other.code.is_some_and(|code| self.shared.contains(&code))
    }

    fn of_code(code: &'static str) -> Self {
        Self { code: Some(code), len: code.len(), shared: &[] }
    }

    fn known(sign: &str, code: Option<&'static str>) -> Self {
        let shared = SHARED.iter().find(|(signs, _)| signs.contains(&sign)).map_or(&[][..], |(_, codes)| codes);
        Self { code, len: sign.len(), shared }
    }

    /// The code that this sign stands for together with a word beside it: `MXN$`, `AU $`, `$ US`.
    fn with(&self, word: &str, sign: &str) -> Option<&'static str> {
        let known = || SIGNS.iter().find(|(known, _)| known.strip_suffix(sign) == Some(word))?.1;
        written_code(word).or_else(known).filter(|code| !word.is_empty() && self.shared.contains(code))
    }
}

/// The code in a field that holds nothing but a currency: a code in letters of any size, or a sign.
pub(crate) fn of_field(text: &str) -> Option<&'static str> {
    let text = text.trim();
    code(&text.to_ascii_uppercase()).or_else(|| beginning(text).filter(|sign| sign.len == text.len())?.code)
}

/// The decimals of prices in a currency.
pub(crate) fn fraction(code: Option<&str>) -> Fraction {
    match code {
        Some(code) if THOUSANDTHS.contains(&code) => Fraction::Thousandths,
        Some(code) if WHOLE.contains(&code) => Fraction::None,
        _ => Fraction::Usual,
    }
}

/// The currency that a text begins with.
pub(crate) fn beginning(text: &str) -> Option<Sign> {
    let ends_here = |len: usize| !text[len..].starts_with(char::is_alphabetic);
    if let Some(code) = text.get(..3).filter(|_| ends_here(3)).and_then(written_code) {
        return Some(Sign::of_code(code));
    }
    let &(sign, code) = SIGNS
        .iter()
        .find(|(sign, _)| text.starts_with(sign) && (!sign.ends_with(char::is_alphabetic) || ends_here(sign.len())))?;
    let known = Sign::known(sign, code);
    let rest = text[sign.len()..].trim_start();
    let word = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
    let clear = known.with(word, sign).filter(|_| word.len() > 1);
    Some(clear.map_or(known, |code| Sign { len: text.len() - rest.len() + word.len(), ..Sign::of_code(code) }))
}

/// The currency that a text ends with.
pub(crate) fn ending(text: &str) -> Option<Sign> {
    let begins_here = |len: usize| !text[..text.len() - len].ends_with(char::is_alphabetic);
    let last = text.len().checked_sub(3).and_then(|at| text.get(at..));
    if let Some(code) = last.filter(|_| begins_here(3)).and_then(written_code) {
        return Some(Sign::of_code(code));
    }
    let &(sign, code) = SIGNS.iter().find(|(sign, _)| {
        text.ends_with(sign) && (!sign.starts_with(char::is_alphabetic) || begins_here(sign.len()))
    })?;
    let known = Sign::known(sign, code);
    let rest = text[..text.len() - sign.len()].trim_end_matches([' ', ':']);
    let word = rest.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    // The C of "C $5" is Canada's, but not that of "Vitamin C $5", and the A of "A $5 gift" nobody's.
    let clear = known.with(word, sign).filter(|_| word.len() > 1 || word == rest && word != "A");
    Some(clear.map_or(known, |code| Sign { len: text.len() - rest.len() + word.len(), ..Sign::of_code(code) }))
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
            ("$ MXN", Some(Some("MXN"))),
            ("$US", Some(Some("USD"))),
            ("$ CA", Some(Some("CAD"))),
            ("$ TOP", Some(Some("USD"))),
            ("$A", Some(Some("USD"))),
            ("€ USD", Some(Some("EUR"))),
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
            ("AU $", Some(Some("AUD"))),
            ("C $", Some(Some("CAD"))),
            ("Vitamin C $", Some(Some("USD"))),
            ("A $", Some(Some("USD"))),
            ("MXN$", Some(Some("MXN"))),
            ("COP: $", Some(Some("COP"))),
            ("TOP $", Some(Some("USD"))),
            ("CNY ¥", Some(Some("CNY"))),
            ("SEK kr", Some(Some("SEK"))),
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

    #[test]
    fn every_code_and_every_shared_sign_is_one() {
        for (signs, codes) in SHARED {
            assert!(signs.iter().all(|sign| SIGNS.iter().any(|(known, _)| known == sign)), "{signs:?}");
            assert!(codes.iter().all(|&code| super::code(code) == Some(code)), "{codes:?}");
        }
        assert!(WHOLE.into_iter().chain(THOUSANDTHS).all(|code| super::code(code) == Some(code)));
        assert!(!WHOLE.iter().any(|code| THOUSANDTHS.contains(code)));
    }
}
