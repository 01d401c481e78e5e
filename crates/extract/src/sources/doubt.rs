//! Signs that the price for machines is not the one that customers pay, so that the text of the
//! page is worth reading.

use std::sync::LazyLock;

use aho_corasick::Span;
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

/// Occurrences of each around which the price is searched. Further ones are only passed over.
const MAX_OCCURRENCES: usize = 50;

/// Finds strikes and net words in one pass; `None` on processors without the instructions for it.
/// It finds one sign per position, so none may be the beginning of another.
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
        Some(all) => signs_in(all, html).any(|(sign, at)| is_beside(sign, at)),
        None => signs().enumerate().any(|(sign, word)| {
            memmem::find_iter(html.as_bytes(), word).any(|at| is_beside(sign, at))
        }),
    }
}

/// The signs in a page with their positions, also those that overlap.
fn signs_in(all: &Searcher, html: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut rest = Span::from(0..html.len());
    std::iter::from_fn(move || {
        let sign = all.find_in(html, rest)?;
        rest.start = sign.start() + 1;
        Some((sign.pattern().as_usize(), sign.start()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_is_found_beside_any_other() {
        let Some(all) = &*SIGNS else { return };
        let words: Vec<_> = signs().collect();
        for (first, one) in words.iter().enumerate() {
            for (second, other) in words.iter().enumerate() {
                assert!(first == second || !one.starts_with(other), "{one} begins with {other}");
                // Apart, and with as many bytes in common as they may have.
                let common = (0..one.len()).find(|at| other.starts_with(&one[*at..]));
                for end in [one.len(), common.unwrap_or(one.len())] {
                    let page = format!("{}{other}", &one[..end]);
                    let found: Vec<_> = signs_in(all, &page).collect();
                    let mut expected: Vec<_> = words
                        .iter()
                        .enumerate()
                        .flat_map(|(sign, word)| {
                            memmem::find_iter(page.as_bytes(), word).map(move |at| (sign, at))
                        })
                        .collect();
                    expected.sort_unstable_by_key(|(_, at)| *at);
                    assert_eq!(found, expected, "{page}");
                }
            }
        }
    }
}
