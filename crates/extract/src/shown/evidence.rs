//! Numbers that a page has for machines: under keys that name a price, outside its visible text.

use rust_decimal::Decimal;

use super::{naming, scan};
use crate::{
    markup::Tag,
    price::{self, currency},
};

/// Numbers that are kept of a page.
const MAX_NUMBERS: usize = 4_000;

/// Bytes of attributes that are searched for keys.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// Languages with the currency of their country. Those of a country come before those of none.
const LANGUAGES: &[(&str, &str)] = &[
    ("en-ca", "CAD"),
    ("fr-ma", "MAD"),
    ("ar-ma", "MAD"),
    ("fr-ca", "CAD"),
    ("en-au", "AUD"),
    ("en-nz", "NZD"),
    ("en-sg", "SGD"),
    ("en-hk", "HKD"),
    ("zh-hk", "HKD"),
    ("zh-tw", "TWD"),
    ("zh-hant", "TWD"),
    ("zh", "CNY"),
    ("ja", "JPY"),
    ("es-mx", "MXN"),
    ("es-ar", "ARS"),
    ("es-cl", "CLP"),
    ("es-co", "COP"),
    ("es-uy", "UYU"),
    ("pt-br", "BRL"),
    ("sv-fi", "EUR"),
    ("sv", "SEK"),
    ("nb", "NOK"),
    ("nn", "NOK"),
    ("no", "NOK"),
    ("da", "DKK"),
    ("is", "ISK"),
    ("en-pk", "PKR"),
    ("ur", "PKR"),
    ("si", "LKR"),
    ("en-lk", "LKR"),
    ("ne", "NPR"),
    ("cs-cz", "CZK"),
    ("de-de", "EUR"),
    ("de-at", "EUR"),
    ("de-ch", "CHF"),
    ("fr-ch", "CHF"),
    ("fr-fr", "EUR"),
    ("fr-be", "EUR"),
    ("nl-nl", "EUR"),
    ("nl-be", "EUR"),
    ("it-it", "EUR"),
    ("es-es", "EUR"),
    ("pt-pt", "EUR"),
    ("fi-fi", "EUR"),
    ("pl-pl", "PLN"),
    ("el-gr", "EUR"),
    ("sk-sk", "EUR"),
    ("en-gb", "GBP"),
    ("en-ie", "EUR"),
    ("en-in", "INR"),
    ("en-za", "ZAR"),
    ("hu-hu", "HUF"),
    ("ro-ro", "RON"),
    ("tr-tr", "TRY"),
    ("ko-kr", "KRW"),
];

/// Attributes that have the value of an element.
const VALUES: &[&str] = &["content", "value", "data-value", "data-amount"];

/// The numbers of a page, and the currencies that it names.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    numbers: Vec<Number>,
    currencies: Vec<&'static str>,
    /// The language that the page declares, in lower case: `zh-cn`.
    language: String,
}

/// A number under a key that names a price.
#[derive(Debug)]
struct Number {
    value: Decimal,
    key: String,
    /// Whether the number may be in minor units, as those of scripts are.
    may_be_minor: bool,
}

impl Evidence {
    /// Adds what a start tag has: its attributes, and a script.
    pub(super) fn add_tag(&mut self, tag: &Tag<'_, '_>) {
        if let Some(text) = tag.text.filter(|_| tag.is("script")) {
            self.add_script(text);
            return;
        }
        if tag.is("option") {
            return;
        }
        if let Some(language) = tag.attribute("lang").filter(|_| tag.is("html")) {
            self.language = language.to_ascii_lowercase().replace('_', "-");
        }
        let owner = ["itemprop", "property", "name", "id", "class"]
            .iter()
            .find_map(|name| tag.attribute(name).filter(|name| is_price_key(name)));
        for &(name, value) in tag.attributes {
            if name == "class" || name == "style" || !value.bytes().any(|b| b.is_ascii_digit()) {
                continue;
            }
            let is_value = VALUES.iter().any(|own| name.eq_ignore_ascii_case(own));
            let key = if is_value { owner } else { Some(name).filter(|key| is_price_key(key)) };
            match key {
                Some(key) if value.len() <= 40 => self.add(key, &htmlize::unescape(value), false),
                _ if value.len() > 10 && value.len() <= MAX_ATTRIBUTE && value.contains(':') => {
                    self.add_script(&htmlize::unescape_attribute(value));
                }
                _ => {}
            }
        }
        if tag.is("meta") {
            self.add_meta(tag);
        }
        let codes = ["data-currency", "data-currency-code", "data-product-currency"];
        let code = codes.iter().find_map(|name| tag.attribute(name));
        code.into_iter().for_each(|code| self.add_currency(code));
    }

    /// A description for search engines may repeat the price as people write it.
    fn add_meta(&mut self, tag: &Tag<'_, '_>) {
        let name = tag.attribute("name").or_else(|| tag.attribute("property")).unwrap_or_default();
        let Some(content) = tag.attribute("content") else { return };
        let name = name.to_ascii_lowercase();
        if name.ends_with("description") || name == "og:title" || name.starts_with("twitter:data") {
            let text = htmlize::unescape(&content[..content.floor_char_boundary(500)]);
            let amount = price::parse_human(&text, None).filter(|amount| amount.currency.is_some());
            if let Some(amount) = amount.filter(|_| naming::of_label(&text).is_empty()) {
                self.push(amount.value, &name, false);
            }
        } else if name.ends_with("currency") || tag.attribute("itemprop") == Some("priceCurrency") {
            self.add_currency(content);
        }
    }

    fn add_script(&mut self, script: &str) {
        scan::pairs(script, |pair| {
            if pair.key.to_ascii_lowercase().contains("urrency") {
                self.add_currency(pair.value);
            } else if pair.is_money && naming::of_name(pair.key).contexts.is_empty()
                || is_price_key(pair.key)
            {
                self.add(pair.key, pair.value, true);
            }
            self.numbers.len() < MAX_NUMBERS
        });
    }

    fn add(&mut self, key: &str, value: &str, may_be_minor: bool) {
        if let Some(amount) = price::parse_machine(value, None) {
            self.push(amount.value, key, may_be_minor);
        }
        // `1.299` of a script or an attribute may have been written for people.
        if value.contains(['.', ','])
            && let Some(amount) = price::parse_human(value, None)
        {
            self.push(amount.value, key, false);
        }
    }

    fn push(&mut self, value: Decimal, key: &str, may_be_minor: bool) {
        if self.numbers.len() < MAX_NUMBERS && value > Decimal::ZERO {
            let key = key[..key.floor_char_boundary(60)].to_owned();
            self.numbers.push(Number { value, key, may_be_minor });
        }
    }

    fn add_currency(&mut self, code: &str) {
        let code = currency::parse(code).filter(|_| code.trim().len() == 3);
        let is_new = |code: &&str| !self.currencies.contains(code) && self.currencies.len() < 20;
        self.currencies.extend(code.filter(is_new));
    }

    /// Returns the key under which a number stands.
    pub(super) fn key_of(&self, value: Decimal) -> Option<&str> {
        let is_same = |number: &&Number| {
            number.value == value
                || number.may_be_minor
                    && number.value.fract().is_zero()
                    && number.value == value * Decimal::ONE_HUNDRED
        };
        self.numbers.iter().find(is_same).map(|number| number.key.as_str())
    }

    /// Returns the only currency that the page names, of those that fit.
    pub(super) fn currency(&self, fits: impl Fn(&'static str) -> bool) -> Option<&'static str> {
        let mut fitting = self.currencies.iter().copied().filter(|code| fits(code));
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// Returns the currency of the country whose language the page declares, if the page names no
    /// currency, and unless its host is below the domain of a country with another one. Where the
    /// language is that of no country, the domain says which one it is.
    pub(super) fn currency_of_country(&self, host: &str) -> Option<&'static str> {
        let domain = host.rsplit('.').next().filter(|domain| domain.len() == 2);
        let mut parts = self.language.split('-');
        let (language, country) = (parts.next().unwrap_or_default(), parts.next());
        let declared = self.currency_of_language(|_| true);
        let local =
            domain.and_then(|domain| currency_of(&format!("{language}-{domain}"), |_| true));
        let code = match country {
            None => local.or(declared),
            Some(country) if domain.is_some_and(|domain| domain != country) => {
                declared.filter(|_| declared == local)
            }
            Some(_) => declared,
        };
        code.filter(|_| self.currencies.is_empty())
    }

    /// Returns the currency of the language that the page declares, if it fits.
    pub(super) fn currency_of_language(
        &self,
        fits: impl Fn(&'static str) -> bool,
    ) -> Option<&'static str> {
        currency_of(&self.language, fits)
    }
}

/// Returns the currency of a language, or of that of a country, if it fits.
fn currency_of(language: &str, fits: impl Fn(&'static str) -> bool) -> Option<&'static str> {
    let is_language = |(known, code): &&(&str, &'static str)| {
        let rest = language.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) && fits(code)
    };
    LANGUAGES.iter().find(is_language).map(|(_, code)| *code)
}

/// Whether a key names the price to pay. What scripts call a retail price is mostly a list price.
pub(super) fn is_price_key(key: &str) -> bool {
    let facts = naming::of_name(key);
    let is_retail = || key.to_ascii_lowercase().contains("retail");
    facts.is_price && facts.contexts.is_weak() && !is_retail()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::tree::Tree;

    fn key_of(html: &str, value: &str) -> Option<String> {
        let mut evidence = Evidence::default();
        Tree::read(html, |tag| evidence.add_tag(tag));
        evidence.key_of(value.parse().unwrap()).map(str::to_owned)
    }

    #[test]
    fn a_number_is_found_under_each_kind_of_key() {
        for html in [
            "<div data-price=19.99>",
            "<div data-price='19,99 €'>",
            "<div data-product-price=\"19.99\">",
            "<button data-item='{&quot;id&quot;:7,&quot;price&quot;:19.99}'>",
            "<meta itemprop=price content=19.99>",
            "<meta property='product:price:amount' content=19.99>",
            "<meta name=description content='The best desk for only 19,99 € at Desks'>",
            "<meta name='twitter:data1' content='€19.99'>",
            "<input type=hidden name=price value=19.99>",
            "<input type=hidden id=cena_produktu value='19,99'>",
            "<script>dataLayer.push({'event':'view','price':'19.99'})</script>",
            "<script>var productPrice = 19.99;</script>",
            "<script>window.preis='19,99'</script>",
            "<script>{\"price\":1999,\"available\":true}</script>",
            "<script>{\\\"price\\\":\\\"19.99\\\"}</script>",
            "<script>fbq('track','ViewContent',{value:19.99,currency:'EUR'})</script>",
            "<script>{\"price\":{\"amount\":\"19.99\",\"currency\":\"EUR\"}}</script>",
            "<script>self.x({salePrice:\"$19.99\"})</script>",
            "<script>a.set('price', 19.99)</script>",
        ] {
            assert!(key_of(html, "19.99").is_some(), "{html}");
        }
    }

    #[test]
    fn numbers_of_other_keys_are_not_prices() {
        for html in [
            "<div data-old-price=19.99>",
            "<div data-id=19.99>",
            "<option data-price=19.99>",
            "<meta name=version content=19.99>",
            "<meta name=description content='Free shipping over 19,99 €'>",
            "<input type=hidden name=shipping_price value=19.99>",
            "<script>{\"listPrice\":19.99,\"compare_at_price\":1999}</script>",
            "<script>{\"rating\":19.99, value: 19.99}</script>",
            "<script>{\"unitPrice\":19.99}</script>",
            "<script>{\"originalPrice\":{\"currency\":\"EUR\",\"value\":19.99}}</script>",
            "<script>{\"price\":119.99,\"price2\":219.991}</script>",
        ] {
            assert_eq!(key_of(html, "19.99"), None, "{html}");
        }
    }

    #[test]
    fn an_object_names_a_currency_by_its_code() {
        for script in [
            "Shopify.currency = {\"active\":\"CAD\",\"rate\":\"1.0\"}",
            "{\"currency\":{\"code\":\"CAD\",\"symbol\":\"$\"}}",
            "{\\\"currency\\\":{\\\"isoCode\\\":\\\"CAD\\\"}}",
        ] {
            let mut evidence = Evidence::default();
            let html = format!("<script>{script}</script>");
            Tree::read(&html, |tag| evidence.add_tag(tag));
            assert_eq!(evidence.currency(|_| true), Some("CAD"), "{script}");
        }
    }

    #[test]
    fn the_country_of_the_language_has_a_currency_unless_the_host_is_elsewhere() {
        for (language, host, expected) in [
            ("nl-NL", "shop.example", Some("EUR")),
            ("cs-CZ", "shop.cz", Some("CZK")),
            ("de-DE", "shop.ch", None),
            ("en-US", "shop.example", None),
            ("da", "shop.dk", Some("DKK")),
            ("nl", "shop.nl", Some("EUR")),
            ("nl", "shop.example", None),
            ("nl-NL", "shop.be", Some("EUR")),
            ("pl", "shop.pl", Some("PLN")),
            ("sv", "shop.fi", Some("EUR")),
            ("zh", "shop.tw", Some("TWD")),
        ] {
            let mut evidence = Evidence::default();
            let html = format!("<html lang={language}>");
            Tree::read(&html, |tag| evidence.add_tag(tag));
            assert_eq!(evidence.currency_of_country(host), expected, "{language} {host}");
        }
    }

    #[test]
    fn the_only_fitting_currency_of_a_page_counts() {
        let mut evidence = Evidence::default();
        let html = "<script>{\"currency\":\"CAD\",\"currencyCode\":'EUR'}</script>";
        Tree::read(html, |tag| evidence.add_tag(tag));
        assert_eq!(evidence.currency(|code| code != "EUR"), Some("CAD"));
        assert_eq!(evidence.currency(|_| true), None);
    }
}
