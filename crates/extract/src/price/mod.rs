//! Prices from text, by decimal digits alone: no price is ever a float.
//!
//! `amount` finds the price and its currency in a text. `number` says what separators mean,
//! `currency` what a symbol stands for, and `exclusion` which numbers are not prices.

mod amount;
pub(crate) mod currency;
mod exclusion;
pub(crate) mod number;
mod words;

pub(crate) use amount::{Amount, normalize, parse_human, parse_machine};
pub(crate) use exclusion::is_on_request;
