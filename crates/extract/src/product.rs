//! A product, the method that found each of its fields, and how sure that is.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// Maximum length of a name, in characters.
pub const MAX_NAME: usize = 500;

/// Maximum length of a category, in characters.
pub const MAX_CATEGORY: usize = 200;

/// Maximum length of a SKU, in characters.
pub const MAX_SKU: usize = 100;

/// Maximum length of a brand, in characters.
pub const MAX_BRAND: usize = 200;

/// Maximum length of an availability, in characters.
pub const MAX_AVAILABILITY: usize = 50;

/// Maximum length of a URL, in bytes. A longer one is dropped, since a part of a URL leads
/// elsewhere.
pub const MAX_URL: usize = 2_048;

/// The result of an extraction.
#[derive(Clone, Debug, PartialEq)]
pub enum Extraction {
    /// A product with a price.
    Found(Product),
    /// A product with a price that other evidence of the page contradicts.
    Suspect(Product),
    /// A product without a price, or with one such as "on request".
    NoPrice(Product),
    /// The page contains no product.
    None,
}

impl Extraction {
    /// Returns the product, with or without a price.
    pub fn product(&self) -> Option<&Product> {
        match self {
            Self::Found(product) | Self::Suspect(product) | Self::NoPrice(product) => Some(product),
            Self::None => None,
        }
    }

    /// Returns `found`, `suspect`, `no_price` or `none`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::Suspect(_) => "suspect",
            Self::NoPrice(_) => "no_price",
            Self::None => "none",
        }
    }
}

/// A product.
///
/// Every text is one line: trimmed, with whitespace folded and entities decoded, never empty, and
/// truncated to its limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Product {
    /// At most [`MAX_NAME`] characters.
    pub name: Option<Field<String>>,
    /// At least 0, with at most 15 digits before the point and 4 after it: it fits a DECIMAL(19,4).
    pub price: Option<Field<Decimal>>,
    /// The ISO 4217 code of the price's currency.
    pub currency: Option<Field<&'static str>>,
    /// At most [`MAX_CATEGORY`] characters.
    pub category: Option<Field<String>>,
    /// The shop's number, or else a GTIN, ISBN or manufacturer's number. At most [`MAX_SKU`]
    /// characters.
    pub sku: Option<Field<String>>,
    /// At most [`MAX_BRAND`] characters.
    pub brand: Option<Field<String>>,
    /// A name of schema.org (`InStock`), or else the text of the page. At most [`MAX_AVAILABILITY`]
    /// characters.
    pub availability: Option<Field<String>>,
    /// An absolute URL.
    pub image: Option<Field<String>>,
    /// The absolute URL that the page states as its own.
    pub canonical_url: Option<Field<String>>,
    /// The number of prices that the price is the lowest of: those of all offers and variants in
    /// its currency. 0 without a price.
    pub variants: u32,
}

/// A value, the method that found it, and how sure that is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Field<T> {
    /// The value.
    pub value: T,
    /// The method that found it.
    pub method: Method,
    /// The evidence for it.
    pub confidence: Confidence,
}

impl<T> Field<T> {
    /// A value for which there is no evidence but its own.
    pub(crate) fn new(value: T, method: Method) -> Self {
        let confidence = match method {
            Method::Shown | Method::Html => Confidence::Text,
            _ => Confidence::Structured,
        };
        Self { value, method, confidence }
    }
}

/// How sure a field is, the surest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Confidence {
    /// A field for machines, and another source has the same value.
    Confirmed,
    /// A field for machines, a rule, or the task.
    Structured,
    /// Text for people, and a field for machines has the same value.
    ConfirmedText,
    /// Text for people alone.
    Text,
}

impl Confidence {
    /// Every confidence.
    pub const ALL: [Self; 4] = [Self::Confirmed, Self::Structured, Self::ConfirmedText, Self::Text];

    /// Returns the name of the confidence, as it is printed and serialised.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Structured => "structured",
            Self::ConfirmedText => "confirmed_text",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Confidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a field was found.
///
/// The variants are in order of precedence: of two methods that find a field, the first one here
/// wins. [`Product::canonical_url`] is the exception: without a rule, the last one wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Method {
    /// The category of the task.
    Task,
    /// An extraction rule.
    Rule,
    /// Schema.org in JSON-LD.
    JsonLd,
    /// Schema.org in `itemprop` attributes.
    Microdata,
    /// Schema.org in `property` attributes.
    Rdfa,
    /// Meta tags of OpenGraph and of Facebook's catalogue.
    OpenGraph,
    /// The keys of a JSON body.
    Json,
    /// The text that the page shows: a price near a title.
    Shown,
    /// The title of the page and its canonical link.
    Html,
}

impl Method {
    /// Every method, in order of precedence.
    pub const ALL: [Self; 9] = [
        Self::Task,
        Self::Rule,
        Self::JsonLd,
        Self::Microdata,
        Self::Rdfa,
        Self::OpenGraph,
        Self::Json,
        Self::Shown,
        Self::Html,
    ];

    /// Returns the name of the method, as it is printed and serialised.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Rule => "rule",
            Self::JsonLd => "json_ld",
            Self::Microdata => "microdata",
            Self::Rdfa => "rdfa",
            Self::OpenGraph => "opengraph",
            Self::Json => "json",
            Self::Shown => "shown",
            Self::Html => "html",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_the_methods_in_order_of_precedence() {
        assert!(Method::ALL.is_sorted());
        let rows = include_str!("../README.md").lines().filter_map(|line| line.strip_prefix("| `"));
        let listed: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(listed, Method::ALL.map(Method::as_str));
    }

    #[test]
    fn a_method_is_serialised_by_its_name() {
        assert_eq!(serde_json::to_string(&Method::OpenGraph).unwrap(), "\"opengraph\"");
    }

    #[test]
    fn a_price_is_serialised_as_text_with_all_digits() {
        let product = Product {
            price: Some(Field::new("12.50".parse().unwrap(), Method::Rule)),
            ..Product::default()
        };
        let json = serde_json::to_string(&product).unwrap();
        let expected = r#""price":{"value":"12.50","method":"rule","confidence":"structured"}"#;
        assert!(json.contains(expected), "{json}");
    }
}
