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
const NET: [&str; 6] = ["etto", "HT<", "HT ", "H.T", "税抜", "税別"];

/// Taxes, after prices without them if a word of [`WITHOUT`] is near.
const TAXES: [&str; 13] =
    ["wSt", "USt", "VAT", "btw", "BTW", "moms", "DPH", "IVA", "GST", "TVA", "mva", "НДС", "tax"];

/// What says that a price is without tax, in lower case.
const WITHOUT: [&str; 13] = [
    "zzgl", "zuzüg", "exkl", "excl", "exc ", "exc.", "ex ", "ex.", "eks", "esclus", "bez ", "без ",
    "plus ",
];

/// Such words that are other words elsewhere, if they are next to the tax.
const NEXT_TO: [&str; 5] = ["sin ", "sem ", "ohne ", "+ ", "hors "];

/// Bytes before and after a tax that are searched for these.
const WORDS_BEFORE: usize = 30;
const WORDS_AFTER: usize = 12;

/// Bytes around these that are searched for the price.
const NEIGHBOURHOOD: usize = 160;

/// Occurrences of each around which the price is searched. Further ones are only passed over.
const MAX_OCCURRENCES: usize = 50;

/// Taxes of a page around which such words are searched.
const MAX_TAXES: usize = 300;

/// Finds strikes and net words in one pass; `None` on processors without the instructions for it.
/// It finds one sign per position, so none may be the beginning of another.
static SIGNS: LazyLock<Option<Searcher>> = LazyLock::new(|| Searcher::new(signs()));

/// The strikes, and after them the net words and the taxes.
fn signs() -> impl Iterator<Item = &'static str> {
    STRIKES.into_iter().chain(NET).chain(TAXES)
}

/// Names of tables of prices for several pieces.
const TIERS: [&str; 5] = ["block-prices", "tier-price", "tierprice", "tier_price", "staffel"];

/// Whether the text of a page may contradict the price of its sources, or show a list.
pub(super) fn is_doubtful(merger: &Merger, html: &str) -> bool {
    let is_unclear = merger.may_be_list()
        || merger.is_unlike_titles()
        || merger.is_one_of_many()
        || merger.offered().is_some() && has_tiers(html);
    let Some((price, code)) = merger.agreed_price() else { return is_unclear };
    let has_usual_cents = code.is_some() && currency::minor_unit(code) == MinorUnit::Usual;
    // `1.899` may be 1899, and `5995` may be 59.95.
    let is_cut = has_usual_cents && price.scale() == 3;
    let is_minor = has_usual_cents && price.fract().is_zero() && price >= Decimal::ONE_THOUSAND;
    code.is_none() || is_unclear || is_cut || is_minor || is_beside(html, price)
}

/// Whether a page has a table of prices for several pieces, the lowest of which is not for one.
fn has_tiers(html: &str) -> bool {
    TIERS.iter().any(|name| memmem::find(html.as_bytes(), name.as_bytes()).is_some())
}

/// Whether the words around a tax say that a price is without it.
fn is_without(html: &str, at: usize, tax: &str) -> bool {
    let start = html.floor_char_boundary(at.saturating_sub(WORDS_BEFORE));
    let end = at + tax.len();
    let before = html[start..at].replace("&nbsp;", " ").to_lowercase();
    let after = html[end..html.floor_char_boundary(end + WORDS_AFTER)].to_lowercase();
    let before = before.rsplit('>').next().unwrap_or_default();
    WITHOUT.iter().any(|word| before.contains(word))
        || ["escl", "excl", "exkl"].iter().any(|word| after.contains(word))
        || NEXT_TO.iter().any(|word| before.trim_end_matches('m').ends_with(word))
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
    let mut taxes = 0;
    let mut occurrences = [0; STRIKES.len() + NET.len() + TAXES.len()];
    let mut is_beside = |sign: usize, at: usize| {
        if let Some(tax) = sign.checked_sub(STRIKES.len() + NET.len()) {
            taxes += 1;
            if taxes > MAX_TAXES || !is_without(html, at, TAXES[tax]) {
                return false;
            }
        } else if sign >= STRIKES.len() && NET[sign - STRIKES.len()].starts_with('H') {
            // `WEIGHT ` is no word of its own.
            if html[..at].ends_with(char::is_alphabetic) {
                return false;
            }
        }
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
    fn a_tax_needs_a_word_that_a_price_is_without_it() {
        for (html, expected) in [
            ("<p>19,90 € <i>zzgl. 19 % MwSt.</i>", true),
            ("<p>19,90 € zzgl. USt.", true),
            ("<p>19,90 € <i>inkl. 19 % MwSt.</i>", false),
            ("<p>19,90 € inkl. MwSt. zzgl. Versand", false),
            ("<p>€ 19,90 <i>excl. 21% btw</i>", true),
            ("<p>€ 19,90 <i>incl. 21% btw</i>", false),
            ("<p>19,90 € HT</p>", true),
            ("<p>19,90 € HEIGHT </p>", false),
            ("<p>£19.90 + VAT", true),
            ("<p>£19.90 plus VAT", true),
            ("<p>£19.90 inc. VAT", false),
            ("<p>19,90 € IVA esclusa", true),
            ("<p>19,90&nbsp;Kč <b>bez&nbsp;DPH</b>", true),
            ("<p>19,90 € netto", true),
            ("<p>Netto 5 kg</p><p>no price", false),
        ] {
            let price = "19.90".parse().unwrap();
            assert_eq!(is_beside(html, price), expected, "{html}");
        }
    }

    #[test]
    fn each_sign_is_found_beside_any_other() {
        let Some(all) = &*SIGNS else { return };
        let words: Vec<_> = signs().collect();
        for (first, one) in words.iter().enumerate() {
            for (second, other) in words.iter().enumerate() {
                assert!(first == second || !one.starts_with(other), "{one} begins with {other}");
                // Apart, and with as many bytes in common as they may have.
                let common = (0..one.len())
                    .find(|at| one.get(*at..).is_some_and(|end| other.starts_with(end)));
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
