//! Products as they are stored.

use rust_decimal::Decimal;

/// Whether a page contains a product. The word for it is stored in the column `product`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductStatus {
    /// A product with a price.
    Found,
    /// A product with a price that other evidence of the page contradicts.
    Suspect,
    /// A product without a price.
    NoPrice,
    /// No product.
    None,
}

impl ProductStatus {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Suspect => "suspect",
            Self::NoPrice => "no_price",
            Self::None => "none",
        }
    }
}

/// A product. Fields that the page does not have are `None`, and are stored as NULL.
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
    /// At most 50 characters; a schema.org term where the page has one (`InStock`).
    pub availability: Option<String>,
    /// An absolute URL.
    pub image_url: Option<String>,
    /// The page's own statement of its address.
    pub canonical_url: Option<String>,
    /// The number of prices on the page of which this one is the lowest; 0 without a price.
    pub variants: u32,
}

impl Product {
    /// The approximate number of bytes that the product adds to a statement.
    pub(crate) fn weight(&self) -> usize {
        // The fixed-size columns, and the length prefixes of the others.
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
