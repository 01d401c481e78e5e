//! Signs that the price for machines is not the one that customers pay, so that the text of the
//! page is worth reading.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use memchr::memmem;
use rust_decimal::Decimal;

use super::merger::Merger;
use crate::price::currency::{self, MinorUnit};

/// Before prices that are struck through.
const STRIKES: [&str; 5] = ["<del", "<s>", "<s ", "<strike", "line-through"];

/// After prices without tax.
const NET: [&str; 6] = ["etto", "x VAT", "x. VAT", "xcl. VAT", "xkl. MwSt", "xcl. btw"];

/// Bytes around these that are searched for the price.
const NEIGHBOURHOOD: usize = 160;

/// Occurrences of each that are searched.
const MAX_OCCURRENCES: usize = 50;

/// Finds strikes and net words in one pass; `None` on processors without the instructions for it.
static SIGNS: LazyLock<Option<Searcher>> = LazyLock::new(|| Searcher::new(signs()));

/// The strikes, and after them the net words.
fn signs() -> impl Iterator<Item = &'static str> {
    STRIKES.into_iter().chain(NET)
}

/// Whether the text of a page may contradict the price of its sources, or show a list.
pub(super) fn is_doubtful(merger: &Merger, html: &str) -> bool {
    let Some((price, code)) = merger.agreed_price() else { return merger.may_be_list() };
    let has_usual_cents = code.is_some() && currency::minor_unit(code) == MinorUnit::Usual;
    // `1.899` may be 1899, and `5995` may be 59.95.
    let is_cut = has_usual_cents && price.scale() == 3;
    let is_minor = has_usual_cents && price.fract().is_zero() && price >= Decimal::ONE_THOUSAND;
    code.is_none() || merger.may_be_list() || is_cut || is_minor || is_beside(html, price)
}

/// Whether a price stands where former and net prices stand.
fn is_beside(html: &str, price: Decimal) -> bool {
    let number = price.trunc().to_string();
    let is_near = |start: usize, end: usize| {
        let text = &html[html.floor_char_boundary(start)..html.floor_char_boundary(end)];
        let digits: String =
            text.chars().filter(|c| c.is_ascii_digit() || c.is_alphabetic()).collect();
        digits.contains(&number)
    };
    let mut occurrences = [0; STRIKES.len() + NET.len()];
    let mut is_beside = |sign: usize, at: usize| {
        occurrences[sign] += 1;
        occurrences[sign] <= MAX_OCCURRENCES
            && match sign < STRIKES.len() {
                true => is_near(at, at + NEIGHBOURHOOD),
                false => is_near(at.saturating_sub(NEIGHBOURHOOD), at),
            }
    };
    match &*SIGNS {
        Some(all) => {
            all.find_iter(html).any(|sign| is_beside(sign.pattern().as_usize(), sign.start()))
        }
        None => signs().enumerate().any(|(sign, word)| {
            memmem::find_iter(html.as_bytes(), word).any(|at| is_beside(sign, at))
        }),
    }
}
