//! One change of an item, and the changes of a period.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use time::OffsetDateTime;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// The price rose.
    PriceUp,
    /// The price fell.
    PriceDown,
    /// The price is in another currency, so it cannot be compared.
    Currency,
    /// The product was seen for the first time.
    New,
    /// The page no longer has the product, or does not exist any more.
    Vanished,
    /// The page still has the product, but no price.
    PriceLost,
    /// The product, or its price, is there again.
    Back,
    /// The product went out of stock.
    OutOfStock,
    /// The product is in stock again.
    InStock,
}

impl ChangeKind {
    /// Every kind, in the order in which changes are listed.
    pub const ALL: [Self; 9] = [
        Self::PriceUp,
        Self::PriceDown,
        Self::Currency,
        Self::New,
        Self::Vanished,
        Self::PriceLost,
        Self::Back,
        Self::OutOfStock,
        Self::InStock,
    ];

    /// The word for scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PriceUp => "price_up",
            Self::PriceDown => "price_down",
            Self::Currency => "currency",
            Self::New => "new",
            Self::Vanished => "vanished",
            Self::PriceLost => "price_lost",
            Self::Back => "back",
            Self::OutOfStock => "out_of_stock",
            Self::InStock => "in_stock",
        }
    }
}

/// A change of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What changed.
    pub kind: ChangeKind,
    /// The number of the item.
    pub item: u64,
    /// The name of the product.
    pub name: Option<String>,
    /// The category of the product.
    pub category: Option<String>,
    /// The page of the product.
    pub source_url: String,
    /// The price before, and its currency; only if the price changed.
    pub old_price: Option<(Decimal, Option<String>)>,
    /// The price after the change, and its currency; for other changes, the present one.
    pub price: Option<(Decimal, Option<String>)>,
    /// The availability before; only if that changed.
    pub old_availability: Option<String>,
    /// The present availability.
    pub availability: Option<String>,
    /// When it was seen.
    pub at: OffsetDateTime,
    /// `page`, or `manual` for a price that was set by hand.
    pub source: String,
}

impl Change {
    /// By how much the price changed, in percent; `None` if the price did not change, is in another
    /// currency, or was 0.
    pub fn percent(&self) -> Option<f64> {
        let ((old, old_currency), (new, currency)) =
            (self.old_price.as_ref()?, self.price.as_ref()?);
        if old_currency != currency || old.is_zero() {
            return None;
        }
        let ratio = new.to_f64()? / old.to_f64()?;
        Some((ratio - 1.0) * 100.0)
    }

    /// The order within a kind: the largest change of price first, then the newest change.
    fn rank(&self) -> (Reverse<u64>, Reverse<OffsetDateTime>, u64) {
        // From 0 to any other price is infinitely much.
        let size = match (self.kind, self.percent()) {
            (ChangeKind::PriceUp | ChangeKind::PriceDown, None) => f64::INFINITY,
            (_, percent) => percent.map_or(0.0, f64::abs),
        };
        // The bits of numbers that are not negative have the order of the numbers.
        (Reverse(size.to_bits()), Reverse(self.at), self.item)
    }
}

/// The number of changes by kind.
pub type ChangeCounts = BTreeMap<ChangeKind, u64>;

/// The changes of a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The number of changes by kind; kinds without a change are missing.
    pub counts: ChangeCounts,
    /// The first changes of each kind: the largest changes of prices, and the newest others.
    pub changes: Vec<Change>,
    /// Whether the period has more changes than are read. The oldest ones are missing.
    pub is_truncated: bool,
}

impl Changes {
    /// Counts changes, and keeps the first ones of each kind.
    pub(super) fn of(mut all: Vec<Change>, limit: usize, is_truncated: bool) -> Self {
        let mut counts = ChangeCounts::new();
        all.sort_by_cached_key(|change| (change.kind, change.rank()));
        all.retain(|change| {
            let count = counts.entry(change.kind).or_insert(0);
            *count += 1;
            *count <= limit as u64
        });
        Self { counts, changes: all, is_truncated }
    }

    /// The number of changes of a kind.
    pub fn count(&self, kind: ChangeKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(price: &str, currency: &str) -> (Decimal, Option<String>) {
        (price.parse().unwrap(), Some(currency.to_owned()))
    }

    fn change(kind: ChangeKind, item: u64, old: &str, new: &str) -> Change {
        Change {
            kind,
            item,
            name: None,
            category: None,
            source_url: String::new(),
            old_price: Some(price(old, "EUR")),
            price: Some(price(new, "EUR")),
            old_availability: None,
            availability: None,
            at: OffsetDateTime::UNIX_EPOCH,
            source: "page".to_owned(),
        }
    }

    #[test]
    fn the_largest_changes_of_each_kind_come_first_and_all_are_counted() {
        let (up, down) = (ChangeKind::PriceUp, ChangeKind::PriceDown);
        let all = vec![
            change(down, 1, "100", "99"),
            change(up, 2, "10", "11"),
            change(up, 3, "1", "3"),
            change(down, 4, "2", "1"),
            change(up, 5, "0", "1"),
            change(up, 6, "200", "201"),
            change(down, 7, "10", "7"),
        ];
        let changes = Changes::of(all, 3, false);
        let order: Vec<u64> = changes.changes.iter().map(|change| change.item).collect();
        assert_eq!(order, [5, 3, 2, 4, 7, 1]);
        assert_eq!((changes.count(up), changes.count(down)), (4, 3));
        assert_eq!(changes.count(ChangeKind::New), 0);
    }

    #[test]
    fn prices_of_two_currencies_have_no_percent() {
        let percent = |change: &Change| change.percent().map(|percent| percent.round());
        let rise = change(ChangeKind::PriceUp, 1, "80", "100");
        assert_eq!(percent(&rise), Some(25.0));
        assert_eq!(percent(&change(ChangeKind::PriceDown, 1, "80", "0")), Some(-100.0));
        let other = Change { price: Some(price("100", "USD")), ..rise.clone() };
        assert_eq!(percent(&other), None);
        assert_eq!(percent(&Change { old_price: None, ..rise }), None);
    }
}
