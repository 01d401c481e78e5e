//! Prices that are written in parts: rewritten as one number next to its currency.
//!
//! - a number with a minor unit: `99¢`, `50 ct`, `99 коп.`, `12 € 50 ct`;
//! - minor units after the currency or after a space: `12€95`, `12 € 95`, `1 327 49 €`;
//! - a number with a word for its magnitude: `1.5万円`, `₹2 lakh`, `$25k`.
//!
//! A text that may mean something else stays as it is: `Pack of 2 €15`, `12 ct, $3.99`.

use std::{borrow::Cow, ops::Range};

use rust_decimal::Decimal;

use super::{
    currency::{self, MinorUnit},
    number,
    words::{last_word, list_contains},
};

/// Words for a hundredth of a currency, each with a symbol of the currency and whether the word
/// has other meanings (`12 ct` are also carats or pieces). `¤` is any currency.
const MINOR_UNITS: &[(&str, &str, bool)] = &[
    ("¢", "$", false),
    ("￠", "$", false),
    ("cents", "¤", false),
    ("cent", "¤", false),
    ("cts", "¤", true),
    ("ct", "€", true),
    ("c", "¤", true),
    ("pence", "£", false),
    ("p", "£", true),
    ("коп", "руб", false),
    ("копеек", "руб", false),
    ("копейки", "руб", false),
    ("копійок", "грн", false),
    ("centimes", "¤", false),
    ("céntimos", "¤", false),
    ("cêntimos", "€", false),
    ("centavos", "¤", false),
    ("centesimi", "€", false),
    ("groszy", "zł", false),
    ("gr", "zł", true),
    ("haléřů", "Kč", false),
    ("öre", "kr", false),
    ("øre", "kr", false),
    ("kuruş", "TL", false),
    ("paise", "₹", false),
    ("rappen", "CHF", false),
    ("bani", "lei", false),
    ("стотинки", "лв", false),
];

/// Minor units that are only read where they follow the number directly (`85p`).
const GLUED: [&str; 2] = ["c", "p"];

/// Words for a power of ten.
const MAGNITUDES: &[(&str, u32)] = &[
    ("万", 4),
    ("萬", 4),
    ("만", 4),
    ("億", 8),
    ("亿", 8),
    ("억", 8),
    ("k", 3),
    ("m", 6),
    ("тыс", 3),
    ("rb", 3),
    ("ribu", 3),
    ("lakh", 5),
    ("lakhs", 5),
    ("lac", 5),
    ("crore", 7),
    ("crores", 7),
    ("mio", 6),
    ("mln", 6),
    ("million", 6),
    ("millionen", 6),
    ("jt", 6),
    ("juta", 6),
    ("triệu", 6),
];

/// Words before a price. After any other word, `13 99 €` is not a price in two parts.
const PRICE_WORDS: &str = "\
    price preis prix precio preço prezzo prijs cena pris hinta цена ціна fiyat now nur jetzt only \
    nu seulement sólo solo ahora from von ab à a partir de dès desde da od vanaf fra från alk \
    от az";

/// Words between the parts of a price.
const AND: &str = "and und et y e i en og och и";

/// A part of a text, and what it is replaced by.
struct Rewrite {
    range: Range<usize>,
    text: String,
    /// The numbers that it covers.
    numbers: usize,
}

/// Returns the text with every price in parts as one number next to its currency.
pub(super) fn join_parts(text: &str) -> Cow<'_, str> {
    let runs = number::find_all(text);
    let has_currency = runs.iter().any(|run| is_next_to_currency(text, run));
    let (mut joined, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(run) = runs.get(at) {
        let next = runs.get(at + 1);
        let rewrite = join_magnitude(text, run, next)
            .or_else(|| join_after_currency(text, run, next?))
            .or_else(|| join_after_space(text, run, next?))
            .or_else(|| rewrite_minor_unit(text, run, has_currency));
        let Some(rewrite) = rewrite else {
            at += 1;
            continue;
        };
        joined.push_str(&text[copied..rewrite.range.start]);
        joined.push_str(&rewrite.text);
        copied = rewrite.range.end;
        at += rewrite.numbers;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    joined.push_str(&text[copied..]);
    Cow::Owned(joined)
}

fn is_next_to_currency(text: &str, run: &Range<usize>) -> bool {
    currency::at_end(text[..run.start].trim_end()).is_some()
        || currency::at_start(text[run.end..].trim_start()).is_some()
}

/// `1.5万円`, `1万2000円`, `₹2 lakh`, `$25k`.
fn join_magnitude(text: &str, run: &Range<usize>, next: Option<&Range<usize>>) -> Option<Rewrite> {
    let after = &text[run.end..];
    let (length, power) =
        MAGNITUDES.iter().find_map(|(word, power)| Some((word_length(after, word)?, *power)))?;
    // "£1.25m" is a price, and "5 m" a length.
    let has_currency_before = currency::at_end(text[..run.start].trim_end()).is_some();
    let word = after[..length].trim_end_matches('.');
    if word.trim().eq_ignore_ascii_case("m") && !(has_currency_before && word.len() == 1) {
        return None;
    }
    let scale = Decimal::from(10_u64.pow(power));
    let mut value =
        number::parse_human(&text[run.clone()], MinorUnit::Usual)?.checked_mul(scale)?;
    let mut end = run.end + length;
    let mut numbers = 1;
    let continues =
        |next: &&Range<usize>| text.get(end..next.start).is_some_and(|gap| gap.trim().is_empty());
    if let Some(next) =
        next.filter(continues).filter(|_| after.starts_with(|c: char| c >= '\u{2e80}'))
    {
        let rest = number::parse_human(&text[next.clone()], MinorUnit::Usual)?;
        value = value.checked_add(rest).filter(|_| rest < scale)?;
        end = next.end;
        numbers = 2;
    }
    let is_price = has_currency_before
        || currency::at_start(text[end..].trim_start_matches([' ', '.'])).is_some();
    is_price.then(|| Rewrite {
        range: run.start..end,
        text: format!("{} ", value.normalize()),
        numbers,
    })
}

/// `12€95`, `12 € 95`, `12 € 50 ct`.
fn join_after_currency(text: &str, run: &Range<usize>, next: &Range<usize>) -> Option<Rewrite> {
    let after = &text[run.end..];
    let symbol = currency::at_start(after.trim_start())?;
    let symbol_start = text.len() - after.trim_start().len();
    let symbol_end = symbol_start + symbol.len;
    let between = text.get(symbol_end..next.start)?;
    let tail = &text[next.end..];
    let (whole, minor) = (&text[run.clone()], &text[next.clone()]);
    let gap = between.trim_matches([' ', ',', '.']);
    let unit = minor_unit(tail).filter(|_| gap.is_empty() || list_contains(AND, Some(gap)));
    // In "2 €15" the currency belongs to the 15.
    let belongs_to_next = symbol_start > run.end && between.is_empty();
    let ends_price = match between {
        "" => ends_number(tail),
        " " => ends_number(tail) && ends_phrase(tail),
        _ => false,
    };
    if minor.len() > 2 || belongs_to_next || !(unit.is_some() || minor.len() == 2 && ends_price) {
        return None;
    }
    let number = join(whole, minor)?;
    let symbol = &text[symbol_start..symbol_end];
    let end = next.end + unit.map_or(0, |(length, _)| length);
    Some(Rewrite { range: run.start..end, text: format!("{number} {symbol}"), numbers: 2 })
}

/// `1 327 49 €` and `$1327 49`.
fn join_after_space(text: &str, run: &Range<usize>, next: &Range<usize>) -> Option<Rewrite> {
    let (before, tail) = (text[..run.start].trim_end(), &text[next.end..]);
    let is_joined = text.get(run.end..next.start) == Some(" ") && next.len() == 2;
    let is_price = if currency::at_start(tail.trim_start()).is_some() {
        before.is_empty() || before.ends_with(':') || list_contains(PRICE_WORDS, last_word(before))
    } else {
        currency::at_end(before).is_some() && ends_number(tail) && ends_phrase(tail)
    };
    let text = join(&text[run.clone()], &text[next.clone()]).filter(|_| is_joined && is_price)?;
    Some(Rewrite { range: run.start..next.end, text, numbers: 2 })
}

/// `99¢`, `50 ct`, `85p`.
fn rewrite_minor_unit(text: &str, run: &Range<usize>, has_currency: bool) -> Option<Rewrite> {
    let (number, tail) = (&text[run.clone()], &text[run.end..]);
    let (length, (word, symbol, is_ambiguous)) = minor_unit(tail)?;
    let is_whole = number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_sure = !is_ambiguous
        || !has_currency && (!GLUED.contains(&word) || number.len() < 3 && tail.starts_with(word));
    let follows_word = text[..run.start].ends_with(|c: char| c.is_alphanumeric() || c == '-');
    let value: u32 = number.parse().ok().filter(|_| is_whole && is_sure && !follows_word)?;
    Some(Rewrite {
        range: run.start..run.end + length,
        text: format!("{}.{:02} {symbol}", value / 100, value % 100),
        numbers: 1,
    })
}

/// Returns the minor unit at the start of a text, and the bytes up to its end.
fn minor_unit(tail: &str) -> Option<(usize, (&'static str, &'static str, bool))> {
    MINOR_UNITS.iter().find_map(|unit| Some((word_length(tail, unit.0)?, *unit)))
}

/// Returns the bytes up to the end of a word at the start of a text, in upper or lower case, if the
/// text starts with it.
fn word_length(text: &str, word: &str) -> Option<usize> {
    let rest = text.trim_start();
    let own = rest.get(..word.len()).or_else(|| rest.get(..rest.len().min(word.len())))?;
    if own != word && own.to_lowercase() != word {
        return None;
    }
    let after = &rest[own.len()..];
    let is_ideograph = word.starts_with(|c: char| c >= '\u{2e80}');
    let ends_here = is_ideograph || !after.starts_with(char::is_alphanumeric);
    ends_here
        .then(|| text.len() - after.len() + usize::from(!is_ideograph && after.starts_with('.')))
}

/// Joins a whole number and minor units of one or two digits.
fn join(whole: &str, minor: &str) -> Option<String> {
    // The groups of a whole number have three digits.
    let last_group = whole.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let is_whole = last_group.len() == whole.len() || last_group.len() == 3;
    let is_minor = minor.bytes().all(|byte| byte.is_ascii_digit());
    let separator = if whole.contains('.') { ',' } else { '.' };
    (is_whole && is_minor).then(|| format!("{whole}{separator}{minor:0>2}"))
}

/// Whether nothing continues a number at the start of a text.
fn ends_number(tail: &str) -> bool {
    let rest = tail.trim_start();
    let continues = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    !tail.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | ':' | '\''))
        && !rest.starts_with(['%', '‰'])
        && !rest.strip_prefix(['.', ',']).is_some_and(continues)
        && currency::at_start(rest).is_none()
}

/// Whether no word follows that could make a number a quantity.
fn ends_phrase(tail: &str) -> bool {
    !tail.trim_start().starts_with(char::is_alphanumeric)
}
