//! The price in a text.
//!
//! If a text contains several numbers, the price is, in order of preference:
//!
//! 1. the first number next to a currency, first of all one that is said to be of a
//!    sale or with tax;
//! 2. the first number next to a currency that is a usual price or one without tax;
//! 3. the first number next to a currency that is for a unit of measure (`39,98 €/kg`);
//! 4. the first number that stands alone;
//! 5. any other number.
//!
//! The lower end of a range has the currency that follows its upper end (`12,99 – 15,99 €`).
//!
//! A percentage or a negative number is never a price, and neither is an amount that `labels` find
//! to be a former price, a saving, a charge or an instalment. The following are prices only next to
//! a currency: a date, a part of a telephone number or of another sequence (`030 1234567`, `2-3`,
//! `10:30`), and a number of units (`2 Tage`, `10 pcs`). After a phrase such as "on request" no
//! number is a price; before it, only one next to a currency is.

use std::ops::Range;

use rust_decimal::Decimal;

use super::{
    currency::{self, Symbol},
    exclusion::{
        is_date, is_in_sequence, is_negative, is_on_request, is_part_of_word, is_per_measure,
        is_quantity, is_whole,
    },
    label_phrases::Meaning,
    labels::{self, Labelled},
    number,
    words::{is_word_boundary, last_word, list_contains},
    writing,
};
use crate::text;

/// Characters of a text that are searched for a price.
const MAX_TEXT: usize = 500;

/// The digit zero of other scripts: Arabic, Persian, Devanagari, Bengali, Tamil, Thai, fullwidth.
const ZEROS: [char; 7] =
    ['\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{be6}', '\u{e50}', '\u{ff10}'];

/// Words that, alone in a text, mean a price of 0.
const FREE_WORDS: [&str; 10] = [
    "free",
    "gratis",
    "kostenlos",
    "kostenfrei",
    "gratuit",
    "gratuito",
    "grátis",
    "zdarma",
    "za darmo",
    "бесплатно",
];

/// Words before the lowest of several prices. A machine-readable value without a currency may
/// contain these and [`RANGE_WORDS`], and no other words.
const FROM_WORDS: &str =
    "from von starting at ab à a partir de dès desde da od vanaf fra från alk от az";

/// Words and signs between the ends of a range.
const RANGE_WORDS: &str = "- ~ 〜 ～ to bis à a au do tot til till hasta até";

/// A price, with its currency as known before or as found in its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Amount {
    pub(crate) value: Decimal,
    pub(crate) currency: Option<&'static str>,
}

/// Parses the price of a machine-readable value: JSON, or an attribute. A known `currency` takes
/// precedence over one in the text.
pub(crate) fn parse_machine(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    let text = normalize(text)?;
    let number = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let value = if number::is_scientific(number) {
        number::parse_scientific(number, currency::minor_unit(currency))
    } else if number::is_bare(number) {
        let is_excluded = is_in_sequence("", number, "", false) || is_date("", number, "");
        number::parse_machine(number, currency::minor_unit(currency)).filter(|_| !is_excluded)
    } else {
        // Without a currency, a number among other words is more likely a telephone number or date.
        let lowest = if has_only_range_words(&text) { Rank::Alone } else { Rank::PerMeasure };
        return parse_ranked(&text, currency, lowest);
    };
    let value = value.filter(|_| !text.starts_with('-'))?;
    Some(Amount { value, currency })
}

/// Parses the price of a text for people. A known `currency` takes precedence over one in the text.
pub(crate) fn parse_human(text: &str, currency: Option<&'static str>) -> Option<Amount> {
    parse_ranked(&normalize(text)?, currency, Rank::Unlikely)
}

/// Parses the amounts of a text for people that may be its price: those next to a currency that the
/// words beside them do not exclude. Of a range, only the lower end counts.
pub(crate) fn parse_all(text: &str, currency: Option<&'static str>) -> Vec<Amount> {
    let Some(text) = normalize(text) else { return Vec::new() };
    let text = &*writing::join_parts(&text);
    let mut candidates = find_candidates(text, &number::find_all(text));
    candidates.retain(|candidate| candidate.symbol.is_some());
    let words: Vec<bool> = (0..candidates.len())
        .map(|at| {
            let before = at.checked_sub(1).map(|left| candidates[left].range.end);
            let words = before.map(|end| labels::between(&text[end..candidates[at].range.start]));
            list_contains(RANGE_WORDS, words.filter(|words| !words.is_empty()))
        })
        .collect();
    let mut ends_range = words.into_iter();
    candidates.retain(|_| !ends_range.next().unwrap_or_default());
    label(text, &mut candidates);
    let amounts = candidates.into_iter().filter(|one| one.rank <= Rank::NextToCurrency);
    amounts
        .filter_map(|one| {
            let currency = currency.or_else(|| one.symbol?.code);
            let value = number::parse_human(&text[one.range], currency::minor_unit(currency))?;
            Some(Amount { value, currency })
        })
        .collect()
}

/// Parses the likeliest price of a text, unless it ranks below `lowest`.
fn parse_ranked(text: &str, known: Option<&'static str>, lowest: Rank) -> Option<Amount> {
    let text = &*writing::join_parts(text);
    let Some((number, symbol)) = find_likeliest(text, lowest) else {
        return is_free(text).then_some(Amount { value: Decimal::ZERO, currency: known });
    };
    let currency = known.or_else(|| symbol?.code);
    let value = number::parse_human(number, currency::minor_unit(currency))?;
    Some(Amount { value, currency })
}

/// Returns the first number of the best rank, with the currency symbol next to it.
fn find_likeliest(text: &str, mut lowest: Rank) -> Option<(&str, Option<Symbol>)> {
    let mut runs = number::find_all(text);
    if is_on_request(text) {
        runs.truncate(runs.partition_point(|run| !is_on_request(&text[..run.start])));
        lowest = lowest.min(Rank::PerMeasure);
    }
    let mut candidates = find_candidates(text, &runs);
    label(text, &mut candidates);
    let ranked = candidates.into_iter().filter(|candidate| candidate.rank <= lowest);
    let best = ranked.min_by_key(|candidate| candidate.rank)?;
    Some((&text[best.range], best.symbol))
}

/// A number that may be the price.
struct Candidate {
    range: Range<usize>,
    symbol: Option<Symbol>,
    rank: Rank,
}

/// Returns the numbers that may be prices.
fn find_candidates(text: &str, runs: &[Range<usize>]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    // The end of the last number of a sequence. A number after nothing but a space continues it.
    let mut sequence_end = None;
    for (at, run) in runs.iter().enumerate() {
        let (before, number, after) = (&text[..run.start], &text[run.clone()], &text[run.end..]);
        if after.trim_start().starts_with('%') || is_negative(before) {
            continue;
        }
        let upper = runs.get(at + 1).filter(|upper| {
            list_contains(RANGE_WORDS, Some(text[run.end..upper.start].trim()))
                && have_equal_decimals(number, &text[(*upper).clone()])
        });
        let is_range = upper.is_some() && (!is_whole(number) || can_start_range(before));
        let after_range = upper.map_or(after, |upper| &text[upper.end..]);
        let symbol = adjacent_symbol(before, after)
            .or_else(|| following_symbol(after_range).filter(|_| is_range));
        let continues_sequence = is_whole(number)
            && sequence_end.is_some_and(|end: usize| text[end..run.start].trim().is_empty());
        let rank = match symbol {
            Some(_) if is_per_measure(before, after) => Rank::PerMeasure,
            Some(_) => Rank::NextToCurrency,
            None if continues_sequence || is_in_sequence(before, number, after, is_range) => {
                sequence_end = Some(run.end);
                continue;
            }
            None if is_date(before, number, after) || is_quantity(after_range) => continue,
            None if is_part_of_word(before, after) || is_per_measure(before, after) => {
                Rank::Unlikely
            }
            None => Rank::Alone,
        };
        candidates.push(Candidate { range: run.clone(), symbol, rank });
    }
    candidates
}

/// Removes the candidates that are not what customers pay, and ranks down those that are it only if
/// there is no other. If any number is next to a currency, words are about such numbers, and if
/// none of them is left, no other number is the price: the 4 of "4 payments of $5" is not.
fn label(text: &str, candidates: &mut Vec<Candidate>) {
    let has_currency = candidates.iter().any(|candidate| candidate.symbol.is_some());
    let mut labelled: Vec<Labelled> = Vec::with_capacity(candidates.len());
    for candidate in candidates.iter().filter(|c| !has_currency || c.symbol.is_some()) {
        let code = candidate.symbol.and_then(|symbol| symbol.code);
        let range = candidate.range.clone();
        let words = labelled.last().map(|last| labels::between(&text[last.range.end..range.start]));
        labelled.push(Labelled {
            value: number::parse_human(&text[range.clone()], currency::minor_unit(code)),
            ends_range: list_contains(RANGE_WORDS, words),
            range,
            meaning: None,
        });
    }
    labels::assign(text, &mut labelled);
    candidates.retain_mut(|candidate| {
        let found = labelled.iter().find(|labelled| labelled.range == candidate.range);
        match found.and_then(|labelled| labelled.meaning) {
            None => true,
            Some(Meaning::Preferred) => {
                candidate.rank = match candidate.rank {
                    Rank::NextToCurrency => Rank::Preferred,
                    rank => rank,
                };
                true
            }
            Some(Meaning::Regular | Meaning::Partial) => {
                candidate.rank = match candidate.rank {
                    Rank::NextToCurrency => Rank::Conditional,
                    rank => rank.max(Rank::Unlikely),
                };
                true
            }
            Some(_) => false,
        }
    });
    if has_currency && candidates.iter().all(|candidate| candidate.symbol.is_none()) {
        candidates.clear();
    }
}

/// How likely a number is the price, the likeliest first.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    /// Next to a currency, and said to be with tax or of a sale.
    Preferred,
    NextToCurrency,
    /// Next to a currency, but paid only if there is no other price, or by some customers.
    Conditional,
    /// Next to a currency, for a unit of measure.
    PerMeasure,
    Alone,
    /// Part of a word, or for a unit of measure without a currency.
    Unlikely,
}

/// Returns the text as one line, with digits and separators of other scripts as ASCII.
pub(crate) fn normalize(text: &str) -> Option<String> {
    let ascii = |c: char| match c {
        '．' | '٫' => '.',
        '，' | '٬' => ',',
        '’' | '‘' | 'ʼ' | '′' | '´' | '`' => '\'',
        '−' | '–' | '—' | '‐' | '‑' => '-',
        _ => other_digit(c).unwrap_or(c),
    };
    Some(text::clean_line(text, MAX_TEXT)?.chars().map(ascii).collect())
}

/// Returns the ASCII digit for one of another script.
fn other_digit(c: char) -> Option<char> {
    let at = |zero: char| u32::from(c).checked_sub(u32::from(zero)).filter(|digit| *digit < 10);
    if c.is_ascii() {
        return None;
    }
    char::from_digit(ZEROS.into_iter().find_map(at)?, 10)
}

/// Returns the currency symbol before a number (`EUR 5`, `from $5`) or after it (`5 €`, `5,- €`).
/// An unambiguous one takes precedence over one that several currencies share (`$5 MXN`).
fn adjacent_symbol(before: &str, after: &str) -> Option<Symbol> {
    let before = before.strip_suffix('-').unwrap_or(before);
    let Some(symbol) = currency::at_end(before.trim_end_matches([' ', ':', '='])) else {
        return following_symbol(after);
    };
    let after = after.trim_start_matches([' ', '(']);
    following_symbol(after)
        .filter(|other| symbol.is_resolved_by(other) && !belongs_to_next_number(after, other))
        .or(Some(symbol))
}

fn following_symbol(after: &str) -> Option<Symbol> {
    let dashes = after.strip_prefix(['.', ',']).filter(|rest| rest.starts_with('-'));
    let rest = dashes.map_or(after, |rest| rest.trim_start_matches('-'));
    let symbol = currency::at_start(rest.trim_start())?;
    // In "2 $5" the symbol belongs to the 5.
    let next = rest.trim_start()[symbol.len..].bytes().next();
    let is_before_number = next.is_some_and(|byte| byte.is_ascii_digit());
    (!rest.starts_with(' ') || !is_before_number).then_some(symbol)
}

/// Whether the symbol after a number that already has one belongs to the next number, as in
/// `$5 CAD 7` and `$5 CAD $7`.
fn belongs_to_next_number(after: &str, symbol: &Symbol) -> bool {
    let rest = after.trim_start_matches([' ', '.', ',', '-']).get(symbol.len..).unwrap_or_default();
    let rest = rest.trim_start();
    let rest = currency::at_start(rest).map_or(rest, |symbol| rest[symbol.len..].trim_start());
    rest.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether two numbers have equally many decimals, as the ends of a range do.
fn have_equal_decimals(one: &str, other: &str) -> bool {
    let decimals = |number: &str| {
        number.rfind(['.', ',']).map(|at| number.len() - at - 1).filter(|digits| *digits != 3)
    };
    decimals(one) == decimals(other)
}

/// Whether a whole number may be the lower end of a price range, unlike the 2 of
/// "Pack of 2 - 15 €".
fn can_start_range(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty() || before.ends_with(':') || list_contains(FROM_WORDS, last_word(before))
}

/// Whether a text contains no words but [`FROM_WORDS`] and [`RANGE_WORDS`].
fn has_only_range_words(text: &str) -> bool {
    text.split(is_word_boundary).all(|word| {
        word.is_empty()
            || list_contains(FROM_WORDS, Some(word))
            || list_contains(RANGE_WORDS, Some(word))
    })
}

fn is_free(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    FREE_WORDS.contains(&word.as_str())
}
