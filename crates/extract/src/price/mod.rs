//! Prices from text, by decimal digits alone: no price is ever a float.
//!
//! `amount` finds the price and its currency in a text. `writing` joins prices that are written in
//! parts, `number` says what separators mean, and `currency` what a symbol stands for,
//! which on the pages of some countries is another currency (`locality`). `exclusion`
//! and `labels` say which numbers are not prices, or not what customers pay.

mod amount;
pub(crate) mod currency;
mod exclusion;
mod label_phrases;
mod labels;
mod locality;
pub(crate) mod number;
mod words;
mod writing;

#[cfg(test)]
mod tests;

pub(crate) use amount::{Amount, normalize, parse_all, parse_human, parse_machine};
pub(crate) use exclusion::{is_on_request, is_per_measure};
pub(crate) use label_phrases::{Meaning, Side, find_all as find_label_phrases};
pub(crate) use locality::localize;
