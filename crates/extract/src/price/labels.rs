//! Words next to an amount that it is not what customers pay now: a former price, a saved amount,
//! a charge, an instalment.
//!
//! A word says something about the amount after it (`UVP 29,99 €`, `save $10`) or before it
//! (`12,50 €/Monat`, `$10 off`). Where both are possible, the amounts decide: a former price is
//! the higher one of two, everything else the lower one. `19,99 € UVP 29,99 €` and
//! `29,99 € UVP, 19,99 €` are both 19.99.

use std::ops::Range;

use rust_decimal::Decimal;

use super::{
    currency,
    label_phrases::{self as phrases, Meaning, Phrase, Side},
    words::{first_word, last_word, list_contains},
};

/// Bytes between a word and the amount after it.
const MAX_DISTANCE: usize = 40;

/// A number in a text that may be a price.
pub(super) struct Labelled {
    pub(super) range: Range<usize>,
    pub(super) value: Option<Decimal>,
    /// Whether it is the upper end of a range, whose lower end is before it.
    pub(super) ends_range: bool,
    pub(super) meaning: Option<Meaning>,
}

/// Sets what the words of a text say about its amounts.
pub(super) fn assign(text: &str, amounts: &mut [Labelled]) {
    for at in 0..=amounts.len() {
        let start = at.checked_sub(1).map_or(0, |left| amounts[left].range.end);
        let end = amounts.get(at).map_or(text.len(), |right| right.range.start);
        let gap = text.get(start..end).unwrap_or_default();
        if amounts.get(at).is_some_and(|right| right.ends_range) {
            // "Reduced from $45 to $30" has a word between a former price and the price.
            let inherited = amounts[at - 1].meaning;
            let is_reduced =
                inherited == Some(Meaning::Former) && between(gap).contains(char::is_alphabetic);
            amounts[at].meaning = inherited.filter(|_| !is_reduced);
        } else if gap.contains(|c: char| c.is_alphabetic() || c == '+') {
            let opening = at.checked_sub(1).map(|left| {
                let start = left.checked_sub(1).map_or(0, |before| amounts[before].range.end);
                is_opened(text.get(start..amounts[left].range.start).unwrap_or_default())
            });
            assign_gap(gap, amounts, at, opening);
        }
    }
    // What is said after a range is about both of its ends.
    for at in 1..amounts.len() {
        if amounts[at].ends_range && amounts[at - 1].meaning.is_none() {
            amounts[at - 1].meaning = amounts[at].meaning;
        }
    }
    assign_pairs(text, amounts);
}

/// Reads the words before the amount `at`, which are also those after the one before it.
fn assign_gap(gap: &str, amounts: &mut [Labelled], at: usize, left_is_opened: Option<bool>) {
    let has_right = at < amounts.len();
    let right = if has_right { before_amount(gap) } else { None };
    let left = left_is_opened.and_then(|is_opened| after_amount(gap, is_opened));
    let (Some(left_meaning), Some(right_meaning)) = (left, right) else {
        if let (Some(meaning), Some(last)) = (left, at.checked_sub(1)) {
            amounts[last].meaning.get_or_insert(meaning);
        }
        if let Some(meaning) = right {
            amounts[at].meaning = Some(meaning);
        }
        return;
    };
    let is_shared = left_meaning == right_meaning && !has_delimiter(gap);
    let is_left_higher = amounts[at - 1].value > amounts[at].value;
    let is_higher = matches!(left_meaning, Meaning::Former | Meaning::Regular | Meaning::Preferred);
    if !is_shared || left_is_opened == Some(true) || is_left_higher == is_higher {
        amounts[at - 1].meaning.get_or_insert(left_meaning);
    }
    if !is_shared || left_is_opened != Some(true) && is_left_higher != is_higher {
        amounts[at].meaning = Some(right_meaning);
    }
}

/// Returns what the words before an amount say about it.
fn before_amount(gap: &str) -> Option<Meaning> {
    let gap = before_symbol(gap);
    let start = gap.rfind(phrases::DELIMITERS).map_or(0, |at| at + 1);
    let lower = gap.get(start..).unwrap_or_default().to_lowercase();
    let mut words = lower.as_str();
    let is_sale = |phrase: Phrase| {
        let after = &lower[phrase.end..];
        phrase.meaning == Meaning::Preferred
            && phrase.side == Side::Before
            && !after.contains(|c: char| c.is_alphanumeric())
    };
    if phrases::find_all(&lower).any(is_sale) {
        return Some(Meaning::Preferred);
    }
    // "UVP 29,99, now" says nothing about the next amount.
    words = phrases::end_of_sale(words).map_or(words, |end| &words[end..]);
    if is_multiplied(words) {
        return Some(Meaning::Instalment);
    }
    if is_of_many(words) {
        return Some(Meaning::Partial);
    }
    let is_free = list_contains_any(phrases::FREE, words)
        && !list_contains(phrases::THRESHOLDS, last_word(words));
    let is_about_amount = |phrase: &Phrase| {
        let after = &words[phrase.end..];
        phrase.side != Side::After
            && after.len() <= MAX_DISTANCE
            && !after.contains(|c: char| c.is_ascii_digit())
            && !words[..phrase.start].ends_with("non-")
            && !(phrase.meaning == Meaning::Charge
                && (is_free || is_included(&words[..phrase.start])))
    };
    let said = phrases::find_all(words).filter(is_about_amount);
    said.min_by_key(|phrase| phrase.precedence).map(|phrase| phrase.meaning)
}

/// Returns what the words directly after an amount say about it. "incl. 3,19 €" is followed by what
/// is included, which may be a tax.
fn after_amount(gap: &str, is_opened: bool) -> Option<Meaning> {
    let dashes = gap.strip_prefix(['.', ',']).filter(|rest| rest.starts_with('-'));
    let gap = dashes.unwrap_or(gap).trim_start_matches([' ', '-', '*']);
    let gap = currency::at_start(gap).map_or(gap, |symbol| &gap[symbol.len..]);
    if let Some(rest) = gap.trim_start().strip_prefix(['x', '×']) {
        let count = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next();
        if count.is_some_and(|count| matches!(count.len(), 1 | 2) && count != "1") {
            return Some(Meaning::Instalment);
        }
    }
    let is_enclosed = gap.contains(')');
    let gap = gap.trim_start_matches(|c: char| {
        matches!(c, ' ' | '*' | '-' | '/' | ')' | '.') || c == '(' && is_enclosed
    });
    let lower = gap.to_lowercase();
    let mut words = lower.as_str();
    while let Some((word, rest)) = words.split_once(' ')
        && (list_contains(phrases::LINKS, Some(word.trim_end_matches('.')))
            || words.len() < lower.len() && word.bytes().all(|byte| byte.is_ascii_digit()))
    {
        words = rest.trim_start();
    }
    if is_opened && list_contains(phrases::TAXES, first_word(words)) {
        return Some(Meaning::Charge);
    }
    let said = [lower.as_str(), words].into_iter().flat_map(phrases::find_all);
    said.filter(|phrase| phrase.start == 0 && phrase.side != Side::Before)
        .min_by_key(|phrase| phrase.precedence)
        .map(|phrase| phrase.meaning)
}

/// Marks the first amount of "van 29,99 voor 19,99" and "de R$ 199 por R$ 149".
fn assign_pairs(text: &str, amounts: &mut [Labelled]) {
    let word = |range: Range<usize>| {
        let words = before_symbol(text.get(range).unwrap_or_default());
        last_word(words.trim_end_matches([' ', ':'])).map(str::to_lowercase)
    };
    for at in 1..amounts.len() {
        let start = at.checked_sub(2).map_or(0, |before| amounts[before].range.end);
        let second = word(amounts[at - 1].range.end..amounts[at].range.start);
        let first = word(start..amounts[at - 1].range.start);
        let is_pair = phrases::PAIRS
            .iter()
            .any(|&(from, to)| first.as_deref() == Some(from) && second.as_deref() == Some(to));
        if is_pair {
            amounts[at - 1].meaning = Some(Meaning::Former);
        }
    }
}

/// Whether a word such as "plus" is next to an amount, so that what it is for is said after it.
fn is_opened(gap: &str) -> bool {
    let gap = before_symbol(gap).trim_end();
    gap.ends_with('+') || list_contains(phrases::OPENERS, last_word(gap.trim_end_matches('.')))
}

/// Whether an amount is paid several times: "10x", "12x de".
fn is_multiplied(words: &str) -> bool {
    let words = words.trim_end();
    let words = [" de", " of", " à", " a", " di", " da"]
        .iter()
        .find_map(|link| words.strip_suffix(link))
        .unwrap_or(words);
    let count = words.trim_end().strip_suffix(['x', '×']).map(str::trim_end).unwrap_or_default();
    let digits = count.len() - count.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    matches!(digits, 1 | 2) && !(digits == 1 && count.ends_with('1'))
}

/// Whether an amount is for several pieces: "ab 10 Stück", "from 10 pcs", and "2 for".
fn is_of_many(words: &str) -> bool {
    let mut tokens = words.split_whitespace().rev();
    let last = tokens.next().map(|word| word.trim_matches(['.', ':']));
    let count = tokens.next().unwrap_or_default();
    let is_count = matches!(count.len(), 1..=3)
        && count != "1"
        && count.bytes().all(|byte| byte.is_ascii_digit());
    is_count && list_contains(phrases::PIECES, last)
}

/// Whether a charge is part of the amount after it: "incl. shipping".
fn is_included(before: &str) -> bool {
    let word = before.split_whitespace().next_back();
    word.is_some_and(|word| list_contains(phrases::INCLUDED, Some(word.trim_end_matches('.'))))
}

fn has_delimiter(gap: &str) -> bool {
    gap.contains(phrases::DELIMITERS)
}

/// Returns the words between two amounts, without their currencies.
pub(super) fn between(text: &str) -> &str {
    let text = text.trim_start();
    let text = currency::at_start(text).map_or(text, |symbol| &text[symbol.len..]);
    before_symbol(text).trim()
}

fn before_symbol(text: &str) -> &str {
    let text = text.trim_end();
    currency::at_end(text).map_or(text, |symbol| &text[..text.len() - symbol.len])
}

fn list_contains_any(list: &str, words: &str) -> bool {
    words.split(|c: char| !c.is_alphabetic()).any(|word| list_contains(list, Some(word)))
}
