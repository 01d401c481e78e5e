//! A product, and how each of its fields was found.

use std::fmt;

use rust_decimal::Decimal;
use serde::Serialize;

/// Characters of a name that are kept.
pub const MAX_NAME: usize = 500;

/// Characters of a category that are kept.
pub const MAX_CATEGORY: usize = 200;

/// Characters of a SKU that are kept.
pub const MAX_SKU: usize = 100;

/// Characters of a brand that are kept.
pub const MAX_BRAND: usize = 200;

/// Characters of an availability that are kept.
pub const MAX_AVAILABILITY: usize = 50;

/// Bytes of an image's or a page's URL; a longer one is dropped, since a part of a URL leads elsewhere.
pub const MAX_URL: usize = 2_048;

/// What a page says about a product.
#[derive(Clone, Debug, PartialEq)]
pub enum Extraction {
    /// A product with a price.
    Found(Product),
    /// A product, and the page tells no price, or none that is one ("on request").
    NoPrice(Product),
    /// Nothing that is told as a product.
    None,
}

impl Extraction {
    /// The product, with or without a price.
    pub fn product(&self) -> Option<&Product> {
        match self {
            Self::Found(product) | Self::NoPrice(product) => Some(product),
            Self::None => None,
        }
    }

    /// `found`, `no_price` or `none`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::NoPrice(_) => "no_price",
            Self::None => "none",
        }
    }
}

/// A product. Every text is one line: trimmed, white space folded, entities decoded, never empty, and cut to its
/// limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Product {
    /// At most [`MAX_NAME`] characters.
    pub name: Option<Field<String>>,
    /// From 0, with at most 15 digits before the point and 4 after it: it fits a DECIMAL(19,4).
    pub price: Option<Field<Decimal>>,
    /// The price's currency, an ISO 4217 code.
    pub currency: Option<Field<&'static str>>,
    /// At most [`MAX_CATEGORY`] characters.
    pub category: Option<Field<String>>,
    /// The shop's number, else the GTIN, ISBN or maker's number. At most [`MAX_SKU`] characters.
    pub sku: Option<Field<String>>,
    /// At most [`MAX_BRAND`] characters.
    pub brand: Option<Field<String>>,
    /// As schema.org names it (`InStock`), or as the page does. At most [`MAX_AVAILABILITY`] characters.
    pub availability: Option<Field<String>>,
    /// An absolute URL.
    pub image: Option<Field<String>>,
    /// The absolute URL that the page gives as its own.
    pub canonical_url: Option<Field<String>>,
    /// How many prices this one is the lowest of: those of all offers and variants in the same currency. 1 where there
    /// is but one, 0 where there is none.
    pub variants: u32,
}

/// A value, and what it was found by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Field<T> {
    /// The value.
    pub value: T,
    /// What it was found by.
    pub method: Method,
}

/// How a field was found. The order is that of trust: of two methods that both tell a field, the first one here wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The task said so.
    Task,
    /// By an extraction rule.
    Rule,
    /// Schema.org in JSON-LD.
    JsonLd,
    /// Schema.org in `itemprop` attributes.
    Microdata,
    /// Schema.org in `property` attributes.
    Rdfa,
    /// OpenGraph's meta tags, and those of Facebook's catalogue.
    #[serde(rename = "opengraph")]
    OpenGraph,
    /// The keys of a JSON body.
    Json,
    /// Plain HTML: the page's title and its canonical link.
    Html,
}

impl Method {
    /// The method's name, as it is shown and serialised.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Rule => "rule",
            Self::JsonLd => "json_ld",
            Self::Microdata => "microdata",
            Self::Rdfa => "rdfa",
            Self::OpenGraph => "opengraph",
            Self::Json => "json",
            Self::Html => "html",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_serialised_by_the_name_that_is_shown() {
        for method in [
            Method::Task,
            Method::Rule,
            Method::JsonLd,
            Method::Microdata,
            Method::Rdfa,
            Method::OpenGraph,
            Method::Json,
            Method::Html,
        ] {
            assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{method}\""));
        }
    }

    #[test]
    fn a_price_is_serialised_as_text_with_its_digits() {
        let product = Product {
            price: Some(Field { value: "12.50".parse().unwrap(), method: Method::Rule }),
            ..Product::default()
        };
        let json = serde_json::to_string(&product).unwrap();
        assert!(json.contains(r#""price":{"value":"12.50","method":"rule"}"#), "{json}");
    }
}
