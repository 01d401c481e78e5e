//! Prices as users write and read them.

use iso_currency::Currency;
use rust_decimal::Decimal;

/// A DECIMAL(19,4) holds values below this,
const LIMIT: i64 = 1_000_000_000_000_000;
/// with this many digits after the point.
const DECIMAL_PLACES: u32 = 4;

/// Parses a price: `19.99`.
pub(crate) fn parse_price(text: &str) -> Result<Decimal, String> {
    let price = Decimal::from_str_exact(text)
        .map_err(|_| "not a price (write it like 19.99)".to_owned())?
        .normalize();
    if price.is_sign_negative() || price >= LIMIT.into() || price.scale() > DECIMAL_PLACES {
        return Err(
            "a price has at most 15 digits before the point and 4 after it, and is at least 0"
                .to_owned(),
        );
    }
    Ok(price)
}

/// Parses a currency: `EUR`.
pub(crate) fn parse_currency(text: &str) -> Result<String, String> {
    let code =
        Currency::from_code(&text.to_ascii_uppercase()).map(|currency| currency.code().to_owned());
    code.ok_or_else(|| "not an ISO 4217 code (write it like EUR)".to_owned())
}

/// Formats a price with the decimal places of its currency, or more if it has more: `1299.90`,
/// `12990`.
pub(crate) fn format_price(price: Decimal, currency: Option<&str>) -> String {
    let places = currency
        .and_then(Currency::from_code)
        .and_then(|currency| currency.exponent())
        .unwrap_or(2);
    let mut price = price.normalize();
    price.rescale(price.scale().max(places.into()));
    price.to_string()
}

/// Formats a price with its currency: `1299.90 EUR`.
pub(crate) fn format_with_currency(price: Decimal, currency: Option<&str>) -> String {
    match currency {
        Some(code) => format!("{} {code}", format_price(price, currency)),
        None => format_price(price, currency),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_has_the_syntax_that_the_help_shows() {
        for (text, expected) in [
            ("19.99", "19.99"),
            ("0", "0"),
            ("1299.90", "1299.9"),
            ("999999999999999.9999", "999999999999999.9999"),
        ] {
            assert_eq!(
                parse_price(text).map(|price| price.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for wrong in ["", "cheap", "1,99", "-1", "1000000000000000", "0.00001", "1e3"] {
            assert!(parse_price(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_currency("eur").as_deref(), Ok("EUR"));
        assert!(parse_currency("EURO").is_err() && parse_currency("").is_err());
    }

    #[test]
    fn a_price_has_the_places_of_its_currency() {
        let format = |price: &str, currency| format_with_currency(price.parse().unwrap(), currency);
        assert_eq!(format("1299.9", Some("EUR")), "1299.90 EUR");
        assert_eq!(format("12990.0000", Some("JPY")), "12990 JPY");
        assert_eq!(format("0.0125", Some("USD")), "0.0125 USD");
        assert_eq!(format("5", None), "5.00");
    }
}
