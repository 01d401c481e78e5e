//! Rules by host.
//!
//! ```toml
//! # This host, on any port.
//! ["shop.example"]
//! category = "Tea"                            # for every product of the host
//! currency = "EUR"                            # for every price of the host
//! html.name = "h1.title"                      # a CSS selector
//! html.price = [".price--sale", ".price"]     # the first that is found
//! html.sku = { selector = "[data-sku]", attribute = "data-sku" }
//! html.image = "img.main"                     # of `img` the attribute `src`
//!
//! # Every host below api.example, but not api.example itself.
//! ["*.api.example"]
//! json.name = "/data/title"                   # a JSON pointer (RFC 6901) into a JSON body
//! json.price = "/data/price/amount"
//! json.currency = "/data/price/currency"
//!
//! # A page that holds the JSON in a script.
//! ["app.example"]
//! script.json = { selector = "#__NEXT_DATA__", pointer = "/props/product" }
//! json.price = "/price/amount"                # below that pointer
//! html.sku = { selector = "#app", attribute = "data-item", pointer = "/sku" }
//! ```
//!
//! A field that the rule names is taken from there or not at all; all other fields come from the
//! page as usual. `category` and `currency` at the top of a rule apply where `html.category` and
//! the like find nothing.

use std::{collections::HashMap, fmt};

use lol_html::Selector;
use url::Url;

use super::host_pattern;

/// Extraction rules by host. Without rules, pages are read as they describe themselves.
#[derive(Default)]
pub struct Rules {
    /// By host name, or by `*.` and a host name.
    pub(super) by_host: HashMap<String, Rule>,
    pub(super) fingerprint: u64,
}

/// Shows the number of rules, since each may be long.
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rules", self.by_host.len())
    }
}

/// Where the product of a host's pages is.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(crate) category: Option<String>,
    pub(crate) currency: Option<&'static str>,
    /// Where fields are in a page, in order of preference.
    pub(crate) html: Vec<(FieldName, Locator)>,
    /// JSON pointers to fields of a JSON body or of a script's JSON, in order of preference.
    pub(crate) json: Vec<(FieldName, String)>,
}

/// A field that a rule can name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FieldName {
    Name,
    Price,
    Currency,
    Category,
    Sku,
    Brand,
    Availability,
    Image,
    Url,
    /// The script with the JSON that the pointers of the rule lead into.
    Script,
}

impl FieldName {
    /// All fields, by their keys in a file of rules.
    pub(super) const BY_KEY: [(&str, Self); 9] = [
        ("name", Self::Name),
        ("price", Self::Price),
        ("currency", Self::Currency),
        ("category", Self::Category),
        ("sku", Self::Sku),
        ("brand", Self::Brand),
        ("availability", Self::Availability),
        ("image", Self::Image),
        ("url", Self::Url),
    ];
}

/// Where a field is in a page.
#[derive(Debug)]
pub(crate) struct Locator {
    pub(crate) selector: Selector,
    /// Read instead of the text.
    pub(crate) attribute: Option<String>,
    /// A JSON pointer into the text or the attribute, which is JSON.
    pub(crate) pointer: Option<String>,
}

/// What a locator or a JSON pointer of a rule found.
#[derive(Debug)]
pub(crate) struct RuleMatch {
    pub(crate) text: String,
    /// Whether the text is machine-readable: from JSON or an attribute.
    pub(crate) is_machine_readable: bool,
}

impl Rules {
    /// A number that differs where the text of the rules differs; 0 without rules.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Finds the rule of a page: that of its host, or else that of the longest matching pattern.
    pub(crate) fn find(&self, address: &Url) -> Option<&Rule> {
        if self.by_host.is_empty() {
            return None;
        }
        host_pattern::matching(address.host_str()?).find_map(|pattern| self.by_host.get(&pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_rule_applies() {
        let text = r#"
            ["shop.example"]
            category = "apex"
            ["*.shop.example"]
            category = "below"
            ["*.de.shop.example"]
            category = "german"
            ["www.de.shop.example"]
            category = "www"
            ["bücher.example"]
            category = "books"
            ["127.0.0.1"]
            category = "local"
        "#;
        let rules = Rules::parse("rules.toml", text).unwrap();
        for (url, expected) in [
            ("https://shop.example/p/1", Some("apex")),
            ("https://SHOP.example:8443/p/1", Some("apex")),
            ("https://www.shop.example/", Some("below")),
            ("https://a.b.shop.example/", Some("below")),
            ("https://a.de.shop.example/", Some("german")),
            ("https://www.de.shop.example/", Some("www")),
            ("https://xn--bcher-kva.example/", Some("books")),
            ("http://127.0.0.1:8080/", Some("local")),
            ("https://noshop.example/", None),
            ("https://example/", None),
            ("data:text/plain,x", None),
        ] {
            let rule = rules.find(&url.parse().unwrap());
            assert_eq!(rule.and_then(|rule| rule.category.as_deref()), expected, "{url}");
        }
    }

    #[test]
    fn rules_can_be_shared_between_threads() {
        fn assert_shareable<T: Send + Sync>(_: T) {}
        assert_shareable(Rules::default());
    }
}
