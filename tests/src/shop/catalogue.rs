//! The products of the shop: one for every number, the same on every machine and in every run.

use std::fmt::Write as _;

/// A product as it is on its pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Product {
    /// The number in its path, `/p/{id}`.
    pub id: u64,
    /// The name; it may contain non-ASCII characters, and characters that HTML and JSON escape.
    pub name: String,
    /// The price in hundredths of the currency; a yen counts 100, too.
    pub price_cents: u64,
    /// ISO 4217; mostly EUR.
    pub currency: &'static str,
    /// One of [`CATEGORIES`].
    pub category: &'static str,
    /// The stock-keeping unit, unique to the product.
    pub sku: String,
    /// The brand; one brand has an `&` in its name.
    pub brand: &'static str,
    /// The last part of a schema.org URL: `InStock`, `OutOfStock` or `PreOrder`.
    pub availability: &'static str,
}

/// All categories, about equally frequent.
pub const CATEGORIES: [&str; 8] =
    ["Audio", "Books", "Coffee", "Garden", "Kitchen", "Monitors", "Shoes", "Toys"];

/// The kinds of products in each category, in the order of [`CATEGORIES`].
const KINDS: [[&str; 4]; 8] = [
    ["Headphones", "Speaker", "Microphone", "Turntable"],
    ["Atlas", "Cookbook", "Crime Novel", "Dictionary"],
    ["Café Crème Beans", "Espresso Machine", "Grinder", "Filter"],
    ["Hose", "Lawn Mower", "Parasol", "Rake"],
    ["Brûlée Torch", "Knife", "Pan", "Toaster"],
    ["24\" Monitor", "27\" Monitor", "32\" Monitor", "Arm"],
    ["Boots", "Sandals", "Sneakers", "Slippers"],
    ["Blocks", "Puzzle 🧩", "Teddy Bear", "Train"],
];

const RANGES: [&str; 8] =
    ["Basic", "Classic", "Compact", "Eco", "Family", "Premium", "Travel", "Ultra"];

const BRANDS: [&str; 8] =
    ["Acorn", "Berg & Sohn", "Corvus", "Delphine", "Estrella", "Fjord", "Grove", "Halcyon"];

impl Product {
    /// The product with this number, at its first price.
    #[must_use]
    pub fn nth(id: u64) -> Self {
        Self::at_revision(id, 0)
    }

    /// The product with this number at a price revision. At any revision above 0, every tenth
    /// product (those whose number ends in 0) has a price that it has at no other revision below
    /// 1,000,000,000.
    #[must_use]
    pub fn at_revision(id: u64, revision: u64) -> Self {
        let mut dice = Dice(id);
        let category = dice.roll(8);
        let kind = KINDS[category][dice.roll(4)];
        let brand = BRANDS[dice.roll(8)];
        let range = RANGES[dice.roll(8)];
        let currency = match dice.roll(20) {
            0 => "USD",
            1 => "GBP",
            2 => "JPY",
            3 => "PLN",
            _ => "EUR",
        };
        let availability = match dice.roll(10) {
            0 => "OutOfStock",
            1 => "PreOrder",
            _ => "InStock",
        };
        let mut price_cents = 199 + dice.roll(120_000) as u64;
        if id.is_multiple_of(10) {
            price_cents += 100 * (revision % 1_000_000_000);
        }
        if currency == "JPY" {
            price_cents *= 100;
        }
        Self {
            id,
            name: format!("{brand} {range} {kind} {}", 100 + id % 900),
            price_cents,
            currency,
            category: CATEGORIES[category],
            sku: format!("{}-{id:06}", &brand[..2].to_ascii_uppercase()),
            brand,
            availability,
        }
    }

    /// The price as a decimal: `1299.90`, or `12990` in a currency without hundredths.
    #[must_use]
    pub fn price(&self) -> String {
        let (units, cents) = (self.price_cents / 100, self.price_cents % 100);
        let mut price = units.to_string();
        if self.currency != "JPY" {
            // Writing to a String never fails.
            let _ = write!(price, ".{cents:02}");
        }
        price
    }
}

/// A pseudorandom generator that depends only on its seed: splitmix64, as published by Sebastiano
/// Vigna.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_product_is_the_same_every_time() {
        assert_eq!(Product::nth(4711), Product::nth(4711));
        let skus: HashSet<_> = (0..5_000).map(|id| Product::nth(id).sku).collect();
        assert_eq!(skus.len(), 5_000);
    }

    #[test]
    fn most_prices_are_in_euros_and_every_category_is_stocked() {
        let products: Vec<_> = (0..5_000).map(Product::nth).collect();
        let euros = products.iter().filter(|p| p.currency == "EUR").count();
        assert!((3_700..4_300).contains(&euros), "{euros}");
        for category in CATEGORIES {
            let stocked = products.iter().filter(|p| p.category == category).count();
            assert!((500..750).contains(&stocked), "{category}: {stocked}");
        }
    }

    #[test]
    fn a_revision_changes_the_price_of_every_tenth_product_and_nothing_else() {
        let changed: Vec<u64> =
            (0..5_000).filter(|&id| Product::nth(id) != Product::at_revision(id, 1)).collect();
        assert_eq!(changed, (0..5_000).step_by(10).collect::<Vec<_>>());
        assert_ne!(Product::at_revision(20, 1).price(), Product::at_revision(20, 2).price());
    }

    #[test]
    fn a_yen_has_no_hundredths() {
        let of =
            |currency, price_cents| Product { currency, price_cents, ..Product::nth(1) }.price();
        assert_eq!(of("EUR", 129_905), "1299.05");
        assert_eq!(of("JPY", 1_299_000), "12990");
    }
}
