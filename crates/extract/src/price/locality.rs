//! What a symbol of several currencies means on a page, by the country of its host.

use url::Url;

use super::{Amount, currency};

/// Currencies by the top-level domain of a country, for those that share a symbol.
const BY_COUNTRY: &[(&str, &str)] = &[
    ("ar", "ARS"),
    ("au", "AUD"),
    ("bb", "BBD"),
    ("br", "BRL"),
    ("bs", "BSD"),
    ("ca", "CAD"),
    ("cl", "CLP"),
    ("cn", "CNY"),
    ("com.co", "COP"),
    ("dk", "DKK"),
    ("do", "DOP"),
    ("eg", "EGP"),
    ("fj", "FJD"),
    ("hk", "HKD"),
    ("is", "ISK"),
    ("jm", "JMD"),
    ("lk", "LKR"),
    ("ma", "MAD"),
    ("mu", "MUR"),
    ("mx", "MXN"),
    ("no", "NOK"),
    ("np", "NPR"),
    ("nz", "NZD"),
    ("pk", "PKR"),
    ("se", "SEK"),
    ("sg", "SGD"),
    ("tt", "TTD"),
    ("tw", "TWD"),
    ("uy", "UYU"),
];

/// Returns the amount in the currency of the page's country, if its text has a symbol that this
/// currency shares with others, and nothing that says which one is meant.
pub(crate) fn localize(amount: Amount, text: &str, address: &Url) -> Amount {
    let host = address.host_str().unwrap_or_default();
    let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let local = BY_COUNTRY.iter().find(|(domain, _)| is_below(domain)).map(|&(_, code)| code);
    match local.and_then(currency::parse) {
        Some(local) if currency::is_unclear(text, amount.currency, local) => {
            Amount { currency: Some(local), ..amount }
        }
        _ => amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::parse_human;

    #[test]
    fn a_shared_symbol_means_the_currency_of_the_country() {
        for (host, text, expected) in [
            ("shop.example.com.au", "$12.99", Some("AUD")),
            ("shop.example.ca", "$12.99", Some("CAD")),
            ("shop.example.sg", "From $12.99", Some("SGD")),
            ("shop.example.hk", "$ 12.99", Some("HKD")),
            ("shop.example.co.nz", "12.99$", Some("NZD")),
            ("shop.example.com.mx", "$1,299.00", Some("MXN")),
            ("shop.example.com.co", "$129.900", Some("COP")),
            ("shop.example.co", "$129", Some("USD")),
            ("shop.example.com.au", "99¢", Some("AUD")),
            ("shop.example.com.au", "US$12.99", Some("USD")),
            ("shop.example.com.au", "$12.99 USD", Some("USD")),
            ("shop.example.com.au", "€12.99", Some("EUR")),
            ("shop.example.com.au", "12.99", None),
            ("shop.example.com.au", "£12.99", Some("GBP")),
            ("shop.example.com", "$12.99", Some("USD")),
            ("shop.example.cn", "¥12.99", Some("CNY")),
            ("shop.example.jp", "¥1299", Some("JPY")),
            ("shop.example.se", "129 kr", Some("SEK")),
            ("shop.example.no", "kr 129,-", Some("NOK")),
            ("shop.example.dk", "129 kr.", Some("DKK")),
            ("shop.example.pk", "Rs. 1,299", Some("PKR")),
            ("shop.example.in", "Rs. 1,299", Some("INR")),
            ("shop.example.ma", "1 299,00 Dhs", Some("MAD")),
            ("shop.example.ma", "1 299 DH", Some("MAD")),
            ("shop.example.ae", "1,299 DH", Some("AED")),
            ("shop.example.tn", "49,900 DT", Some("TND")),
            ("shop.example.com", "DT 990", None),
        ] {
            let address = format!("https://{host}/p/1").parse().unwrap();
            let amount = localize(parse_human(text, None).unwrap(), text, &address);
            assert_eq!(amount.currency, expected, "{host} {text:?}");
        }
    }
}
