//! Changes of items within a period: prices, availability, and products that appear or vanish.
//!
//! The statements read entries of three indexes that are ordered by time, and at most a fixed
//! number of each. Only changes have entries there, so a night without changes costs nothing.

mod change;
mod read;

pub use self::change::{Change, ChangeCounts, ChangeKind, Changes};
pub use self::read::{ChangeFilter, PRICE_CHANGES, STATUS_CHANGES, STOCK_CHANGES};
