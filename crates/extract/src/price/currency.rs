//! Currencies by their ISO 4217 codes and by the symbols and words that stand for them.

use iso_currency::Currency;

/// Symbols and words with their codes. Of two that start or end alike, the longer one is first. A
/// symbol of several currencies has the code that is meant most often (`$`, `¥`), or none if no
/// code clearly is (`kr`).
const SYMBOLS: &[(&str, Option<&str>)] = &[
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
    ("RD$", Some("DOP")),
    ("U$S", Some("USD")),
    ("U$D", Some("USD")),
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
    ("рублей", Some("RUB")),
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
    ("Lei", Some("RON")),
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
    ("Bs.", Some("BOB")),
    ("₲", Some("PYG")),
    ("₵", Some("GHS")),
    ("৳", Some("BDT")),
    ("₨", Some("INR")),
    ("₮", Some("MNT")),
    ("₭", Some("LAK")),
    ("៛", Some("KHR")),
    ("֏", Some("AMD")),
    ("KSh", Some("KES")),
    ("FCFA", Some("XOF")),
    ("CFA", Some("XOF")),
    ("Dhs.", Some("AED")),
    ("Dhs", Some("AED")),
    ("Dh", Some("AED")),
    ("DHS", Some("AED")),
    ("DH", Some("AED")),
    ("DT", Some("TND")),
    ("د.إ", Some("AED")),
    ("ر.س", Some("SAR")),
    ("ج.م", Some("EGP")),
    ("د.ك", Some("KWD")),
    ("ر.ق", Some("QAR")),
    ("ر.ع", Some("OMR")),
    ("ع.د", Some("IQD")),
    ("د.ا", Some("JOD")),
    ("د.ب", Some("BHD")),
    ("د.ت", Some("TND")),
    ("د.ج", Some("DZD")),
    ("د.م", Some("MAD")),
    ("ريال", Some("SAR")),
    ("ریال", Some("IRR")),
    ("جنيه", Some("EGP")),
    ("درهم", Some("AED")),
    ("ש״ח", Some("ILS")),
    ("ש\"ח", Some("ILS")),
    ("тенге", Some("KZT")),
    ("тг", Some("KZT")),
    ("р.", Some("RUB")),
    ("рсд", Some("RSD")),
    ("дин.", Some("RSD")),
    ("дин", Some("RSD")),
    ("din.", Some("RSD")),
    ("ден.", Some("MKD")),
    ("ден", Some("MKD")),
    ("KM", Some("BAM")),
    ("LEI", Some("RON")),
    ("บาท", Some("THB")),
    ("VNĐ", Some("VND")),
    ("KD", Some("KWD")),
    ("¤", None),
    ("kr.", None),
    ("kr", None),
    ("Kr.", None),
    ("Kr", None),
];

/// Symbols that several currencies share, and the codes that may be next to them to say which one
/// is meant. Codes that are words ("TOP", "MOP") are left out.
const SHARED: &[(&[&str], &[&str])] = &[
    (
        &["$", "＄"],
        &[
            "USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "ARS", "BRL", "CLP", "COP",
            "UYU", "DOP", "BBD", "BMD", "BND", "BSD", "BZD", "FJD", "GYD", "JMD", "KYD", "LRD",
            "NAD", "SRD", "TTD", "XCD",
        ],
    ),
    (&["¥", "￥"], &["JPY", "CNY"]),
    (&["£"], &["GBP", "EGP", "GIP", "FKP", "SHP", "LBP", "SYP"]),
    (&["Rs.", "Rs", "₨"], &["INR", "PKR", "LKR", "NPR", "MUR", "SCR"]),
    (&["kr.", "kr", "Kr.", "Kr"], &["SEK", "NOK", "DKK", "ISK"]),
    (&["Dhs.", "Dhs", "Dh", "DHS", "DH", "درهم"], &["AED", "MAD"]),
];

/// Symbols that stand after a number. Before one, they are the name of a model: `DT 990`.
const ONLY_AFTER: [&str; 3] = ["DH", "DHS", "DT"];

/// Codes that are also recognised in lower case within a text. Some of the others are words there
/// ("all", "top", "try").
const LOWER_CASE_CODES: [&str; 6] = ["EUR", "USD", "GBP", "CHF", "PLN", "CZK"];

/// Codes that shops still use or misspell, and those that they stand for. Codes whose currency had
/// another value are left out.
const RENAMED: [(&str, &str); 8] = [
    ("RUR", "RUB"),
    ("RMB", "CNY"),
    ("NTD", "TWD"),
    ("NIS", "ILS"),
    ("YTL", "TRY"),
    ("STG", "GBP"),
    ("UKP", "GBP"),
    ("KSH", "KES"),
];

/// Currencies with a minor unit of a thousandth.
const THOUSANDTHS: [&str; 6] = ["BHD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Currencies that are priced without decimals: by ISO 4217, or because their minor unit is worth
/// so little that it is out of use.
const WHOLE: [&str; 28] = [
    "BIF", "CLP", "COP", "CRC", "DJF", "GNF", "HUF", "IDR", "IQD", "IRR", "ISK", "JPY", "KMF",
    "KRW", "LAK", "LBP", "MMK", "PYG", "RSD", "RWF", "TZS", "UGX", "UZS", "VND", "VUV", "XAF",
    "XOF", "XPF",
];

/// The minor unit that prices in a currency use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MinorUnit {
    /// A hundredth in most currencies. Also stands for an unknown currency.
    Usual,
    /// A thousandth: prices have three decimals.
    Thousandths,
    /// None: every price is a whole number.
    None,
}

/// A code, symbol or word for a currency, at the start or end of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Symbol {
    /// The ISO 4217 code, unless the symbol does not say which currency is meant.
    pub(crate) code: Option<&'static str>,
    /// Its length in bytes.
    pub(crate) len: usize,
    /// The codes that it may stand for, if several currencies share it.
    shared: &'static [&'static str],
}

impl Symbol {
    /// Whether the other one says which currency is meant by this shared one.
    pub(crate) fn is_resolved_by(&self, other: &Self) -> bool {
        other.code.is_some_and(|code| self.shared.contains(&code))
    }

    fn from_code(code: &'static str) -> Self {
        Self { code: Some(code), len: code.len(), shared: &[] }
    }

    fn from_entry(text: &str, code: Option<&'static str>) -> Self {
        let shared = SHARED
            .iter()
            .find(|(symbols, _)| symbols.contains(&text))
            .map_or(&[][..], |(_, codes)| codes);
        Self { code, len: text.len(), shared }
    }

    /// Returns the code of this symbol together with a word next to it: `MXN$`, `AU $`, `$ US`.
    fn resolve_with(&self, word: &str, text: &str) -> Option<&'static str> {
        let known = || SYMBOLS.iter().find(|(known, _)| known.strip_suffix(text) == Some(word))?.1;
        code_in_text(word)
            .or_else(known)
            .filter(|code| !word.is_empty() && self.shared.contains(code))
    }
}

/// Parses a text that consists of a currency: a code in upper or lower case, or a symbol.
pub(crate) fn parse(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let code = text.to_ascii_uppercase();
    let renamed = RENAMED.iter().find(|(old, _)| *old == code).map_or(&*code, |(_, new)| new);
    known_code(renamed).or_else(|| at_start(text).filter(|symbol| symbol.len == text.len())?.code)
}

/// Whether a text says of its currency only what `code` and `local` have in common: a symbol that
/// both share, and that means `code` unless something else is said.
pub(super) fn is_unclear(text: &str, code: Option<&str>, local: &str) -> bool {
    let means_code = |symbol: &str| SYMBOLS.contains(&(symbol, code));
    let is_shared = SHARED.iter().any(|(symbols, codes)| {
        let has_symbol = || symbols.iter().any(|symbol| text.contains(symbol));
        let has_cents = || symbols.contains(&"$") && text.contains(['¢', '￠']);
        codes.contains(&local) && means_code(symbols[0]) && (has_symbol() || has_cents())
    });
    let is_said = code.is_some_and(|code| {
        let word = &code[..2];
        text.to_ascii_uppercase().contains(code)
            || ["$", " $"].iter().any(|symbol| text.contains(&format!("{word}{symbol}")))
            || text.contains(&format!("${word}"))
    });
    is_shared && !is_said
}

/// Returns the minor unit of prices in a currency.
pub(crate) fn minor_unit(code: Option<&str>) -> MinorUnit {
    match code {
        Some(code) if THOUSANDTHS.contains(&code) => MinorUnit::Thousandths,
        Some(code) if WHOLE.contains(&code) => MinorUnit::None,
        Some(_) | None => MinorUnit::Usual,
    }
}

/// Returns the currency at the start of a text.
pub(crate) fn at_start(text: &str) -> Option<Symbol> {
    let ends_here = |len: usize| !text[len..].starts_with(char::is_alphabetic);
    if let Some(code) = text.get(..3).filter(|_| ends_here(3)).and_then(code_in_text) {
        return Some(Symbol::from_code(code));
    }
    let &(entry, code) = SYMBOLS.iter().find(|(entry, _)| {
        text.starts_with(entry) && (!entry.ends_with(char::is_alphabetic) || ends_here(entry.len()))
    })?;
    let symbol = Symbol::from_entry(entry, code);
    let rest = text[entry.len()..].trim_start();
    let word = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
    let resolved = symbol.resolve_with(word, entry).filter(|_| word.len() > 1);
    Some(resolved.map_or(symbol, |code| Symbol {
        len: text.len() - rest.len() + word.len(),
        ..Symbol::from_code(code)
    }))
}

/// Returns the currency at the end of a text.
pub(crate) fn at_end(text: &str) -> Option<Symbol> {
    let starts_here = |len: usize| !text[..text.len() - len].ends_with(char::is_alphabetic);
    let last = text.len().checked_sub(3).and_then(|at| text.get(at..));
    if let Some(code) = last.filter(|_| starts_here(3)).and_then(code_in_text) {
        return Some(Symbol::from_code(code));
    }
    let &(entry, code) = SYMBOLS.iter().find(|(entry, _)| {
        text.ends_with(entry)
            && !ONLY_AFTER.contains(entry)
            && (!entry.starts_with(char::is_alphabetic) || starts_here(entry.len()))
    })?;
    let symbol = Symbol::from_entry(entry, code);
    let rest = text[..text.len() - entry.len()].trim_end_matches([' ', ':']);
    let word = rest.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    // "C $5" is Canadian, but the C of "Vitamin C $5" and the A of "A $5 gift" are just words.
    let resolved =
        symbol.resolve_with(word, entry).filter(|_| word.len() > 1 || word == rest && word != "A");
    Some(resolved.map_or(symbol, |code| Symbol {
        len: text.len() - rest.len() + word.len(),
        ..Symbol::from_code(code)
    }))
}

fn code_in_text(text: &str) -> Option<&'static str> {
    known_code(text)
        .or_else(|| LOWER_CASE_CODES.into_iter().find(|code| code.eq_ignore_ascii_case(text)))
}

/// Returns the code if it is one of a currency that shops use. Metals, funds and the codes for
/// "none" and "test" are not.
fn known_code(text: &str) -> Option<&'static str> {
    let currency = Currency::from_code(text)?;
    (!currency.is_special() && !currency.is_fund()).then(|| currency.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_a_code_or_a_symbol() {
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
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_symbol_is_not_part_of_a_word() {
        let code = |symbol: Option<Symbol>| symbol.map(|symbol| symbol.code);
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
            assert_eq!(code(at_start(text)), expected, "{text:?}");
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
            assert_eq!(code(at_end(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn no_symbol_hides_behind_a_shorter_one() {
        for (at, (symbol, _)) in SYMBOLS.iter().enumerate() {
            let shadow = SYMBOLS[..at]
                .iter()
                .find(|(shorter, _)| symbol.starts_with(shorter) || symbol.ends_with(shorter));
            assert_eq!(shadow, None, "{symbol}");
        }
        for (symbol, code) in SYMBOLS {
            assert_eq!(code.and_then(known_code), *code, "{symbol}");
        }
    }

    #[test]
    fn every_listed_code_and_shared_symbol_is_known() {
        for (symbols, codes) in SHARED {
            assert!(
                symbols.iter().all(|symbol| SYMBOLS.iter().any(|(known, _)| known == symbol)),
                "{symbols:?}"
            );
            assert!(codes.iter().all(|&code| known_code(code) == Some(code)), "{codes:?}");
        }
        assert!(WHOLE.into_iter().chain(THOUSANDTHS).all(|code| known_code(code) == Some(code)));
        assert!(!WHOLE.iter().any(|code| THOUSANDTHS.contains(code)));
    }
}
