//! Pages by what they contain.

use crate::product::ProductStatus;

/// The number of pages by what they contain. Rows without a page are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductCounts {
    /// A product with a price.
    pub found: u64,
    /// A product with a price that other evidence of the page contradicts.
    pub suspect: u64,
    /// A product without a price.
    pub no_price: u64,
    /// No product.
    pub none: u64,
}

impl ProductCounts {
    /// Counts from the words of the database.
    pub fn of<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut sum = Self::default();
        for (word, pages) in counts {
            if let Some(count) = sum.count(word) {
                *count += pages;
            }
        }
        sum
    }

    pub(super) fn add(&mut self, word: &str) {
        if let Some(count) = self.count(word) {
            *count += 1;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.found += other.found;
        self.suspect += other.suspect;
        self.no_price += other.no_price;
        self.none += other.none;
    }

    /// The number of pages.
    pub fn pages(&self) -> u64 {
        self.found + self.suspect + self.no_price + self.none
    }

    /// The number of pages without a sure price.
    pub fn without_price(&self) -> u64 {
        self.pages() - self.found
    }

    fn count(&mut self, word: &str) -> Option<&mut u64> {
        let counts = [
            (ProductStatus::Found, &mut self.found),
            (ProductStatus::Suspect, &mut self.suspect),
            (ProductStatus::NoPrice, &mut self.no_price),
            (ProductStatus::None, &mut self.none),
        ];
        counts.into_iter().find(|(status, _)| status.as_str() == word).map(|(_, count)| count)
    }
}
