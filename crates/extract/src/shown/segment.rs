//! Lines of text that may show a price: the texts of a line as people see them, joined.
//!
//! A price may be split over elements: `<b>173</b><sup>34</sup>`, the currency in an element of its
//! own, or whole and decimals in two blocks. Texts with different contexts are never joined: a
//! struck price is not part of the price beside it.

use std::ops::Range;

use super::{
    surroundings::Surroundings,
    tree::{Tree, line},
};
use crate::price::currency;

/// Lines with digits that are read of a page.
const MAX_SEGMENTS: usize = 3_000;

/// Texts of a line. What is beyond is another line.
const MAX_LINE: usize = 60;

/// Bytes before a text that may be the number that it continues.
const MAX_NUMBER: usize = 40;

/// Texts that a price may be split over.
const MAX_PIECES: usize = 8;

/// A line of text.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) texts: Range<usize>,
    /// The element of its first text that has a digit.
    pub(super) element: usize,
    pub(super) text: String,
}

/// Returns the lines with digits.
pub(super) fn find(tree: &Tree<'_>, surroundings: &mut Surroundings<'_, '_>) -> Vec<Segment> {
    let mut segments = Vec::new();
    let digits = |index: &usize| has_digit(tree.texts[*index].text);
    // Where the block ends, and its last text with a digit: both are searched once per block.
    let (mut block_end, mut last_digit) = (0, None);
    let mut at = 0;
    while at < tree.texts.len() && segments.len() < MAX_SEGMENTS {
        if at >= block_end {
            block_end = end_of_block(tree, at);
            last_digit = (at..block_end).rfind(digits);
        }
        let pieces = end_of_pieces(tree, surroundings, at);
        if pieces.is_none() && last_digit.is_none_or(|last| last < at) {
            // A price in pieces may begin here and go on in other blocks.
            at += 1;
            continue;
        }
        let end = pieces.unwrap_or_else(|| end_of_line(tree, surroundings, at));
        if let Some(first) = (at..end).find(digits) {
            let element = tree.texts[first].element;
            let is_price = surroundings.is_price(element);
            let text = join(tree, at..end, is_price);
            segments.push(Segment { texts: at..end, element, text });
        }
        at = end;
    }
    segments
}

/// Whether a text has a digit, also one that is written as an entity or in another script.
fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) || text.chars().any(|c| c.is_numeric())
}

/// Returns the end of the texts in the same block.
fn end_of_block(tree: &Tree<'_>, start: usize) -> usize {
    let block = |text: usize| tree.elements[tree.texts[text].element].block;
    let own = block(start);
    (start + 1..tree.texts.len()).find(|text| block(*text) != own).unwrap_or(tree.texts.len())
}

/// Returns the end of the line that starts at a text: the texts in the same block and context.
fn end_of_line(tree: &Tree<'_>, surroundings: &mut Surroundings<'_, '_>, start: usize) -> usize {
    let element = tree.texts[start].element;
    let block = tree.elements[element].block;
    let contexts = surroundings.contexts(element);
    let is_repeated = surroundings.is_repetition(start);
    let rest = tree.texts.iter().enumerate().skip(start + 1).take(MAX_LINE);
    let same = rest.take_while(|(index, text)| {
        tree.elements[text.element].block == block
            && surroundings.contexts(text.element) == contexts
            && surroundings.is_repetition(*index) == is_repeated
    });
    start + 1 + same.count()
}

/// Returns the end of a price whose pieces are in several blocks. All texts of an element that is
/// named as a price are pieces of one number.
fn end_of_pieces(
    tree: &Tree<'_>,
    surroundings: &mut Surroundings<'_, '_>,
    start: usize,
) -> Option<usize> {
    let element = tree.texts[start].element;
    let is_first = |index: &usize| tree.elements[*index].texts.start == start;
    let path = tree.path(element).take(4).take_while(is_first);
    let containers = path.filter(|index| {
        let count = tree.elements[*index].texts.len();
        (2..=MAX_PIECES).contains(&count) && surroundings.names_price(*index)
    });
    // The whole part alone may be named as a price, too: the pieces go on to their currency.
    let containers: Vec<usize> = containers.collect();
    let mut pieces = containers.into_iter().map_while(|index| pieces_of(tree, surroundings, index));
    let first = pieces.next()?;
    let with_symbol = [first].into_iter().chain(pieces).find(|pieces| pieces.has_symbol);
    Some(with_symbol.unwrap_or(first).end)
}

/// The pieces of a number.
#[derive(Clone, Copy)]
struct Pieces {
    has_symbol: bool,
    /// The text after them.
    end: usize,
}

/// Reads all texts of an element as pieces of one number.
fn pieces_of(
    tree: &Tree<'_>,
    surroundings: &mut Surroundings<'_, '_>,
    container: usize,
) -> Option<Pieces> {
    let texts = tree.elements[container].texts.clone();
    let element = tree.texts[texts.start].element;
    let contexts = surroundings.contexts(element);
    let (mut symbols, mut decimals, mut has_number) = (0, 0, false);
    for index in texts.clone() {
        let text = line(tree.texts[index].text);
        let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | ',' | '.'));
        let is_number = text.chars().all(|c| c.is_ascii_digit() || ".,' \u{a0}-–".contains(c));
        let is_separator = text.is_empty();
        let is_symbol =
            || currency::parse(text).is_some() || currency::parse(&format!("{text}.")).is_some();
        if !is_number && !is_symbol()
            || !is_separator && surroundings.contexts(tree.texts[index].element) != contexts
            || surroundings.is_repetition(index)
        {
            return None;
        }
        symbols += usize::from(!is_number);
        decimals += usize::from(has_decimals(text) || text.len() == 2 && has_number);
        has_number |= is_number && !is_separator;
    }
    (symbols <= 1 && decimals <= 1).then_some(Pieces { has_symbol: symbols > 0, end: texts.end })
}

/// Whether a number ends with a separator and two digits.
fn has_decimals(number: &str) -> bool {
    let digits = number.bytes().rev().take_while(u8::is_ascii_digit).count();
    digits == 2 && number[..number.len() - 2].ends_with(['.', ','])
}

/// Joins texts as a line. In a price, two digits in an element of their own are decimals.
fn join(tree: &Tree<'_>, texts: Range<usize>, is_price: bool) -> String {
    let mut joined = String::new();
    for text in &tree.texts[texts] {
        let piece = line(text.text);
        let element = &tree.elements[text.element];
        let starts_with_space = text.text.starts_with(char::is_whitespace);
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let after_digit = joined.ends_with(|c: char| c.is_ascii_digit());
        let tail = &joined[joined.floor_char_boundary(joined.len().saturating_sub(MAX_NUMBER))..];
        let number = tail.rsplit(|c: char| !(c.is_ascii_digit() || ".,' ".contains(c))).next();
        let number = number.unwrap_or_default().trim();
        let is_small = element.is_any(&["sup", "small"]) || is_named_decimals(element.names.class);
        if after_digit && digits == 2 && (is_price || is_small) && !has_decimals(number) {
            joined.push(if number.contains('.') { ',' } else { '.' });
        } else if joined.ends_with(['.', ',']) && digits > 0
            || after_digit && piece.starts_with(['.', ','])
            || after_digit && digits == 3 && is_price && !starts_with_space && number.len() <= 3
        {
            // The number goes on.
        } else {
            joined.push(' ');
        }
        joined.push_str(&piece);
    }
    joined.trim().to_owned()
}

fn is_named_decimals(class: &str) -> bool {
    ["cent", "decimal", "fraction", "kopeck", "sup", "minor"]
        .iter()
        .any(|part| class.contains(part))
}
