//! A product, as far as it is stored.

use rust_decimal::Decimal;

/// Whether a page tells a product, in the word that stands in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductTold {
    /// A product with a price.
    Found,
    /// A product without a price.
    NoPrice,
    /// No product.
    None,
}

impl ProductTold {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NoPrice => "no_price",
            Self::None => "none",
        }
    }
}

/// A product. What a page does not tell is `None`, and so it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Product {
    /// At most 500 characters.
    pub name: Option<String>,
    /// At most 15 digits before the point and 4 after it.
    pub price: Option<Decimal>,
    /// An ISO 4217 code.
    pub currency: Option<String>,
    /// At most 200 characters.
    pub category: Option<String>,
    /// At most 100 characters.
    pub sku: Option<String>,
    /// At most 200 characters.
    pub brand: Option<String>,
    /// At most 50 characters; in schema.org's words where the page knows them (`InStock`).
    pub availability: Option<String>,
    /// An absolute URL.
    pub image_url: Option<String>,
    /// What the page gives as its own address.
    pub canonical_url: Option<String>,
    /// How many prices of the page this one is the lowest of; 0 without a price.
    pub variants: u32,
}

impl Product {
    /// About how many bytes it adds to the statement that writes it.
    pub(crate) fn weight(&self) -> usize {
        // The fixed columns, and the lengths of the others.
        const FIXED: usize = 150;
        let texts = [
            &self.name,
            &self.currency,
            &self.category,
            &self.sku,
            &self.brand,
            &self.availability,
            &self.image_url,
            &self.canonical_url,
        ];
        FIXED + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
