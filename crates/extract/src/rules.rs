//! Rules for sites that do not tell their products in a form of their own.
//!
//! ```toml
//! # By host: this one alone, on any port.
//! ["shop.example"]
//! category = "Tea"                # what everything there is
//! currency = "EUR"                # what every price there is in
//! html.name = "h1.title"          # a CSS selector: the text of the first element that has one
//! html.price = [".price--sale", ".price"]     # the first that is found
//! html.sku = { selector = "[data-sku]", attribute = "data-sku" }
//! html.image = "img.main"         # of an `img` its `src`; so with `meta`, `link` and their like
//!
//! # Every host below it, but not api.example itself. The rule with the longest pattern counts.
//! ["*.api.example"]
//! json.name = "/data/title"       # a JSON pointer into a JSON body
//! json.price = "/data/price/amount"
//! json.currency = "/data/price/currency"
//! ```
//!
//! Fields are `name`, `price`, `currency`, `category`, `sku`, `brand`, `availability`, `image` and `url`. A field that
//! the rule names is taken from there or not at all; the others are taken from what the page tells by itself. Where a
//! rule has both `category` and `html.category`, the former stands in where the latter is not found; so with currencies.

use std::{collections::HashMap, fmt};

use lol_html::Selector;
use url::Url;

use crate::host_pattern;

/// Extraction rules by host. Without any, pages are taken by what they tell themselves.
#[derive(Default)]
pub struct Rules {
    /// By host name, or by `*.` and a host name.
    pub(crate) by_host: HashMap<String, Rule>,
}

/// Shows how many there are: each may be long.
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rules", self.by_host.len())
    }
}

/// How products of a host are found.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(crate) category: Option<String>,
    pub(crate) currency: Option<&'static str>,
    /// Where fields are in a page, in order of preference.
    pub(crate) html: Vec<(Target, Place)>,
    /// JSON pointers to fields in a JSON body, in order of preference.
    pub(crate) json: Vec<(Target, String)>,
}

/// A field that a rule can name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Name,
    Price,
    Currency,
    Category,
    Sku,
    Brand,
    Availability,
    Image,
    Url,
}

impl Target {
    /// All fields, by the names that rules have for them.
    pub(crate) const NAMES: [(&str, Self); 9] = [
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

/// A place in a page.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) selector: Selector,
    /// Read instead of the text.
    pub(crate) attribute: Option<String>,
}

/// Everything that is wrong with a file of rules, one line each: file, line, rule, and what it is.
#[derive(Debug, thiserror::Error)]
pub struct RulesError {
    pub(crate) file: String,
    /// In the order of their lines; never empty.
    pub(crate) faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Fault {
    /// From 1.
    pub(crate) line: usize,
    /// The host pattern of the rule, where it is within one.
    pub(crate) rule: Option<String>,
    pub(crate) what: String,
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { line, rule, what }) in self.faults.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{line}: ", self.file)?;
            if let Some(rule) = rule {
                write!(f, "rule \"{rule}\": ")?;
            }
            f.write_str(what)?;
        }
        Ok(())
    }
}

impl Rules {
    /// The rule for a page: that of its host, else that of the longest pattern.
    pub(crate) fn of(&self, address: &Url) -> Option<&Rule> {
        if self.by_host.is_empty() {
            return None;
        }
        host_pattern::met_by(address.host_str()?).find_map(|pattern| self.by_host.get(&pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rule_counts() {
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
            let rule = rules.of(&url.parse().unwrap());
            assert_eq!(rule.and_then(|rule| rule.category.as_deref()), expected, "{url}");
        }
    }

    #[test]
    fn rules_are_shared_between_threads() {
        fn shared<T: Send + Sync>(_: T) {}
        shared(Rules::default());
    }
}
