//! The amounts of money in a line of text, each with the words around it.

use rust_decimal::Decimal;

use super::{
    context::{Context, Contexts},
    naming,
};
use crate::price::{self, currency, number};

/// Amounts that are read of a line.
const MAX_AMOUNTS: usize = 8;

/// Signs between the ends of a range.
const RANGE_SIGNS: &[&str] = &["-", "~", "〜", "to", "bis", "à", "a", "do", "до"];

/// Words before what is added to a price.
const ADDED: &[&str] = &["zzgl.", "zzgl", "zuzüglich", "plus", "+"];

/// Contexts that the words after an amount can name.
const AFTER: &[Context] = &[
    Context::Unit,
    Context::Instalment,
    Context::Net,
    Context::Threshold,
    Context::Former,
    Context::Shipping,
    Context::Saving,
    Context::Deposit,
    Context::Used,
    Context::Payment,
];

/// How many of these count before a further amount, whose label the words may be.
const AFTER_BEFORE_AMOUNT: usize = 4;

/// Bytes before an amount that are searched for a unit of measure.
const MAX_UNIT_LABEL: usize = 40;

/// An amount of money.
#[derive(Clone, Debug)]
pub(super) struct Money {
    pub(super) value: Decimal,
    /// The text of the amount and its currency.
    pub(super) text: String,
    /// The currency that the text means, if it says so.
    pub(super) currency: Option<&'static str>,
    /// Whether there is a currency, known or not.
    pub(super) has_currency: bool,
    /// What the words beside the amount say about it.
    pub(super) contexts: Contexts,
    /// Whether the words beside it say that it is with tax.
    pub(super) is_gross: bool,
    /// Whether the word before it is a word for a price.
    pub(super) is_labelled: bool,
}

/// Reads the amounts of a line. A number without a currency is one only if the line has nothing
/// else and is named as a price.
pub(super) fn read(text: &str, is_price: bool) -> Vec<Money> {
    let Some(mut text) = price::normalize(text) else { return Vec::new() };
    move_sign(&mut text);
    let runs = number::find_all(&text);
    let mut found = Vec::new();
    let mut at = 0;
    let mut start = 0;
    while at < runs.len() && found.len() < MAX_AMOUNTS {
        let mut last = at;
        if let Some(upper) = runs.get(at + 1)
            && is_range(&text[runs[at].end..upper.start])
        {
            last += 1;
        }
        let end = runs.get(last + 1).map_or(text.len(), |next| next.start);
        let before = &text[start..runs[at].start];
        let number = &text[runs[at].start..runs[last].end];
        let after = &text[runs[last].end..end];
        let mut further = runs[last + 1..].iter();
        let is_alone = is_price && at == 0 && further.as_slice().is_empty();
        let is_last = further.all(|run| text[run.end..].trim_start().starts_with('%'));
        let place = Place { is_alone, is_last, rest: &text[runs[last].end..] };
        // The label of an amount may have a number of its own: `lowest price in 30 days: $5`.
        if let Some((money, taken)) = money(before, number, after, place) {
            found.push(money);
            start = runs[last].end + taken;
        }
        at = last + 1;
    }
    found
}

/// Moves a currency between whole and decimals behind them: `12€95`.
fn move_sign(text: &mut String) {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let is_between = |(at, _): &(usize, &str)| {
        let before = text[..*at].trim_end();
        let whole = before.bytes().rev().take_while(u8::is_ascii_digit).count();
        let has_decimals = whole <= 2 && before[..before.len() - whole].ends_with(['.', ',']);
        let after = text[at + '€'.len_utf8()..].trim_start();
        let goes_on =
            after.get(2..).is_some_and(|rest| rest.trim_start().starts_with(['.', ',', '€']));
        whole > 0 && !has_decimals && digits(after) == 2 && !goes_on
    };
    if let Some((at, _)) = text.match_indices('€').find(is_between) {
        let after = text[at + '€'.len_utf8()..].trim_start();
        *text = format!("{}.{} €{}", text[..at].trim_end(), &after[..2], &after[2..]);
    }
}

fn is_range(between: &str) -> bool {
    let sign = between.trim().trim_matches(|c: char| currency::parse(&c.to_string()).is_some());
    RANGE_SIGNS.contains(&sign.trim())
}

/// Where an amount is in its line.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// All of the line that follows the amount.
    rest: &'a str,
    /// Whether it is the only one of a line that is named as a price.
    is_alone: bool,
    /// Whether no other amount follows it: what a percent sign follows is none.
    is_last: bool,
}

/// Reads one amount, or the lower end of a range. Returns also how many bytes after it have its
/// currency, which is not that of the next amount.
fn money(before: &str, number: &str, after: &str, place: Place<'_>) -> Option<(Money, usize)> {
    let ahead = before.trim_end_matches([' ', ':', '=', '-']);
    let symbol_before = currency::at_end(ahead).map(|symbol| symbol.len);
    let behind = after.trim_start_matches([' ', ',', '.', '-', '*']);
    let symbol_after = currency::at_start(behind).map(|symbol| symbol.len);
    // In `Kayak 12 $629` the currency is that of the next number.
    let is_of_next = |len: &usize| {
        !place.is_last && symbol_before.is_none() && after.starts_with(' ') && *len == behind.len()
    };
    let symbol_after = symbol_after.filter(|len| !is_of_next(len));
    // `249,-` and `499:-` are money, in a currency that goes without saying.
    let mut marks = [",-", ".-", ":-", ",–", ".–"].iter();
    let is_even = marks
        .find_map(|mark| place.rest.strip_prefix(mark))
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
    let has_currency =
        symbol_before.is_some() || symbol_after.is_some() || after.starts_with('¢') || is_even;
    let left = symbol_before.map_or(before.len(), |len| ahead.len() - len);
    // One more character distinguishes a price from a part of a word, and a minus from a dash.
    let left = before.floor_char_boundary(left.saturating_sub(1));
    let skipped = after.len() - behind.len();
    let next = after.chars().next().map_or(0, char::len_utf8);
    let right = symbol_after.map_or(next, |len| skipped + len);
    let right = if after.trim_start().starts_with('%') { after.len() } else { right };
    let text = format!("{}{number}{}", &before[left..], &after[..right]);
    // Up to three letters may be a currency that has no name here.
    let letters = || before.chars().chain(after.chars()).filter(|c| c.is_alphabetic()).count();
    if !has_currency && (!place.is_alone || letters() > 3) {
        return None;
    }
    let amount = price::parse_human(&text, None)?;
    // Cents that were read as whole units.
    let is_whole = || price::parse_human(number, None).is_some_and(|own| own.value == amount.value);
    if after.starts_with('¢') && is_whole() {
        return None;
    }
    let label = &before[..left];
    let rest = symbol_after.map_or(after, |_| &after[right..]);
    let rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '/');
    let mut contexts = naming::of_label(label);
    let count = if place.is_last { AFTER.len() } else { AFTER_BEFORE_AMOUNT };
    let behind = naming::of_start(rest);
    let named = AFTER[..count].iter().filter(|context| behind.contains(**context));
    contexts = contexts.union(named.copied().collect());
    if ADDED.iter().any(|word| label.trim_end().to_lowercase().ends_with(word)) {
        contexts.insert(Context::Deposit);
    }
    if price::is_per_measure(before, place.rest) || is_unit_label(label) {
        contexts.insert(Context::Unit);
    }
    let is_gross = is_gross(before, after, symbol_after.map_or(0, |_| right), place);
    if is_gross {
        contexts.remove(Context::Net);
    }
    if is_times(label) {
        contexts.insert(Context::Instalment);
    }
    let text = text.trim().to_owned();
    let taken = match symbol_before.is_none() && symbol_after.is_some() {
        // What is added to the price is named behind it: `zzgl. 0,25 € Pfand`.
        _ if contexts.contains(Context::Deposit) => after.len(),
        true => right,
        false => 0,
    };
    let money = Money {
        value: amount.value,
        text,
        currency: amount.currency,
        has_currency,
        contexts,
        is_gross,
        is_labelled: naming::is_price_label(label),
    };
    Some((money, taken))
}

/// Whether the words beside an amount say that it is with tax. Its currency takes some bytes after
/// it.
fn is_gross(before: &str, after: &str, taken: usize, place: Place<'_>) -> bool {
    // In `1,200円 (税込 1,320円)` the words are about the second amount.
    let opens = after.rfind(['(', '（']).is_some_and(|open| !after[open..].contains([')', '）']));
    let behind = if opens && !place.is_last { "" } else { &place.rest[taken..] };
    naming::is_gross(before, behind.trim_start_matches(|c: char| !c.is_alphanumeric()))
}

/// Whether a label says that the amount after it is for a unit of measure: `per 100 ml:`.
fn is_unit_label(label: &str) -> bool {
    let label = &label[label.ceil_char_boundary(label.len().saturating_sub(MAX_UNIT_LABEL))..];
    let label = label.to_lowercase();
    let starts = label.match_indices([' ', '/']).map(|(at, _)| at).chain([0]);
    starts.into_iter().any(|at| price::is_per_measure("", &label[at..]))
}

/// Whether a label ends as that of an instalment: `12x de`, `3 x`.
fn is_times(label: &str) -> bool {
    let label = label.trim().trim_end_matches(" de").trim_end_matches(" of").trim_end();
    let count = label.strip_suffix(['x', 'X', '×']).map(str::trim_end);
    count.is_some_and(|count| count.is_empty() || count.ends_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str, is_price: bool) -> String {
        let amounts = read(text, is_price).into_iter().map(|money| {
            let contexts = money.contexts.names().join("+");
            format!("{}{}{contexts}", money.value, if contexts.is_empty() { "" } else { " " })
        });
        amounts.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_amount_has_the_words_beside_it() {
        for (text, expected) in [
            ("€ 1.299,00", "1299.00"),
            ("Price: $20", "20"),
            ("$20 was $30", "20, 30 former price"),
            ("Was $30 Now $20", "30 former price, 20"),
            ("UVP 29,99 € jetzt 19,99 €", "29.99 former price, 19.99"),
            ("statt 29,99 € nur 19,99 €", "29.99 former price, 19.99"),
            ("12,99 – 15,99 €", "12.99"),
            ("$12 - $15", "12"),
            ("12x R$ 129,90", "129.90 instalment"),
            ("10x de R$ 129,90 sem juros", "129.90 instalment"),
            ("$25/month", "25 instalment"),
            ("$5 off", "5 saving"),
            ("Sie sparen 5,00 €", "5.00 saving"),
            ("19,99 € inkl. MwSt. zzgl. Versand", "19.99"),
            ("4,90 € Versand", "4.90 shipping"),
            ("2,50 €/kg", "2.50 unit price"),
            ("100 € zzgl. MwSt", "100 net price"),
            ("-20% 12,99 €", "12.99"),
            ("zzgl. 0,25 € Pfand 1,19 €", "0.25 deposit, 1.19"),
            ("lowest price in the last 30 days: $5", "5 former price"),
            ("1 299 kr", "1299"),
            ("12€95", "12.95"),
            ("12 € 95", "12.95"),
            ("12 € 500 g", "12"),
            ("99,00 € 79,00 €", "99.00, 79.00"),
            ("99 € 79 €", "99, 79"),
            ("36,000円", "36000"),
            ("Ord. pris 499:- Ditt pris 399:-", "499 former price, 399"),
            ("249,- (Før 349,-)", "249, 349 former price"),
            ("Model 12,-15", ""),
            ("In stock: 25", ""),
            ("4.8 (25)", ""),
        ] {
            assert_eq!(format(text, false), expected, "{text}");
        }
    }

    #[test]
    fn a_number_alone_needs_the_name_of_a_price() {
        assert_eq!(format("1.299,00", true), "1299.00");
        assert_eq!(format("1.299,00", false), "");
        assert_eq!(format("R 1299", true), "1299");
        assert_eq!(format("Item 1299", true), "");
    }
}
