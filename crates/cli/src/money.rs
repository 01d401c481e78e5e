//! Prices as people write and read them.

use iso_currency::Currency;
use rust_decimal::Decimal;

/// What a DECIMAL(19,4) holds is below this,
const LIMIT: i64 = 1_000_000_000_000_000;
/// and has so many digits after the point.
const DECIMAL_PLACES: u32 = 4;

/// A price that somebody typed: `19.99`.
pub(crate) fn price(text: &str) -> Result<Decimal, String> {
    let price = Decimal::from_str_exact(text).map_err(|_| "no price (write it like 19.99)".to_owned())?.normalize();
    if price.is_sign_negative() || price >= LIMIT.into() || price.scale() > DECIMAL_PLACES {
        return Err("a price has at most 15 digits before the point and 4 after it, and is not below 0".to_owned());
    }
    Ok(price)
}

/// A currency that somebody typed: `EUR`.
pub(crate) fn currency(text: &str) -> Result<String, String> {
    let code = Currency::from_code(&text.to_ascii_uppercase()).map(|currency| currency.code().to_owned());
    code.ok_or_else(|| "no ISO 4217 code (write it like EUR)".to_owned())
}

/// A price with the decimal places that its currency has, and more where the price does: `1299.90`, `12990`.
pub(crate) fn shown(price: Decimal, currency: Option<&str>) -> String {
    let usual = currency.and_then(Currency::from_code).and_then(|currency| currency.exponent()).unwrap_or(2);
    let mut price = price.normalize();
    price.rescale(price.scale().max(usual.into()));
    price.to_string()
}

/// A price with its currency: `1299.90 EUR`.
pub(crate) fn with_currency(price: Decimal, currency: Option<&str>) -> String {
    match currency {
        Some(code) => format!("{} {code}", shown(price, currency)),
        None => shown(price, currency),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_written_as_the_help_says() {
        for (typed, read) in
            [("19.99", "19.99"), ("0", "0"), ("1299.90", "1299.9"), ("999999999999999.9999", "999999999999999.9999")]
        {
            assert_eq!(price(typed).map(|price| price.to_string()).as_deref(), Ok(read), "{typed}");
        }
        for wrong in ["", "cheap", "1,99", "-1", "1000000000000000", "0.00001", "1e3"] {
            assert!(price(wrong).is_err(), "{wrong}");
        }
        assert_eq!(currency("eur").as_deref(), Ok("EUR"));
        assert!(currency("EURO").is_err() && currency("").is_err());
    }

    #[test]
    fn a_price_is_shown_with_the_places_of_its_currency() {
        let shown = |price: &str, currency| with_currency(price.parse().unwrap(), currency);
        assert_eq!(shown("1299.9", Some("EUR")), "1299.90 EUR");
        assert_eq!(shown("12990.0000", Some("JPY")), "12990 JPY");
        assert_eq!(shown("0.0125", Some("USD")), "0.0125 USD");
        assert_eq!(shown("5", None), "5.00");
    }
}
