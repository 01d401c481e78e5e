//! Amounts that may be the price, in order of their likelihood.

use std::sync::LazyLock;

use rust_decimal::Decimal;

use super::{
    cards,
    context::{Context, Contexts},
    evidence::Evidence,
    money::{self, Money},
    naming,
    phrases::Phrases,
    segment::{self, Segment},
    surroundings::Surroundings,
    title::Title,
    tree::{Text, Tree, line},
    words,
};

/// Candidates that are read of a page.
const MAX_CANDIDATES: usize = 400;

/// The longest text that is a label of the amount after it.
const MAX_LABEL: usize = 50;

/// Words beside an amount that are no sentence: `inkl. MwSt. zzgl. Versand`.
const MAX_WORDS: usize = 5;

/// How much nearer to the title an amount has to be than those that do not oppose it.
const MIN_LEAD: usize = 2;

/// Texts between two prices of a product that are compared.
const MAX_PAIR: usize = 8;

/// Texts around the title that say by how much a price is reduced.
const PERCENT_TEXTS: usize = 60;

/// What the first row of a table of quantities starts with, before a number.
const UP_TO: &[&str] = &["bis ", "up to ", "jusqu'à ", "fino a ", "hasta ", "tot ", "do ", "até "];

/// What the row for one piece starts with.
const SINGLE: &[&str] = &["1", "ab 1", "from 1", "à partir de 1", "da 1", "desde 1", "vanaf 1"];

static OTHER_PRODUCTS: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(words::OTHER_PRODUCTS.split('|').map(str::trim)));

/// An amount in the text of a page.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) money: Money,
    /// The element that has it.
    pub(super) element: usize,
    /// Whether the element is named as a price.
    pub(super) is_price: bool,
    pub(super) contexts: Contexts,
    /// How far it is from the title, and what makes it less likely: the least is the likeliest.
    pub(super) distance: usize,
    /// Whether its line has more words than a label and a note: it is a sentence.
    pub(super) is_in_sentence: bool,
    /// Whether its line has no words but those of the amount, and that it is with tax.
    pub(super) is_alone: bool,
    /// Whether a heading stands between the title and the amount.
    pub(super) is_below_heading: bool,
    /// The key under which the page has the same number for machines.
    pub(super) key: Option<String>,
}

impl Candidate {
    /// Whether another candidate, which is further from the title, may as well be the price: an
    /// amount that is named as a price in the part of the page that shows the product.
    pub(super) fn is_opposed_by(&self, other: &Self) -> bool {
        let is_elsewhere = other.is_below_heading && !self.is_below_heading;
        let is_lesser = !other.is_price || !other.money.has_currency || is_elsewhere;
        other.money.value != self.money.value
            && !self.is_converted_by(other)
            && !(self.is_price && is_lesser && other.distance >= self.distance + MIN_LEAD)
    }

    /// Whether another candidate beside this one is its amount in another currency.
    pub(super) fn is_converted_by(&self, other: &Self) -> bool {
        let is_beside = other.distance >= self.distance && other.distance - self.distance <= 3;
        let currencies = self.money.currency.zip(other.money.currency);
        self.is_price && is_beside && currencies.is_some_and(|(own, other)| own != other)
    }
}

/// Finds the candidates, the likeliest first.
pub(super) fn find(
    tree: &Tree<'_>,
    title: &Title,
    evidence: &Evidence,
    surroundings: &mut Surroundings<'_, '_>,
    page_is_product: bool,
) -> Vec<Candidate> {
    let segments = segment::find(tree, surroundings);
    let others = start_of_other_products(tree, title);
    let headings = tree.elements.iter().filter(|element| element.is_any(&["h2", "h3", "h4"]));
    let mut ends = headings.filter(|heading| heading.texts.start > title.end);
    let heading = ends.find(|heading| !heading.texts.is_empty()).map(|heading| heading.texts.end);
    let mut candidates = Vec::new();
    for segment in &segments {
        let is_price = surroundings.is_price(segment.element);
        let mut contexts = surroundings.contexts(segment.element);
        contexts = contexts.union(context_of_label(tree, segment, surroundings));
        if others.is_some_and(|others| segment.texts.start > others) {
            contexts.insert(Context::Related);
        }
        // A sentence is about prices; a price is a line.
        let is_sentence = !is_price && segment.text.chars().count() > 120;
        let words = segment.text.split(|c: char| !c.is_alphabetic());
        let is_in_sentence = words.filter(|word| word.chars().count() > 1).count() > MAX_WORDS;
        for money in money::read(&segment.text, is_price) {
            let element = element_of(tree, segment, &money);
            let is_price = is_price || money.is_labelled || surroundings.is_price(element);
            let distance = distance(segment, title, is_price, is_sentence, money.has_currency);
            let mut contexts = contexts.union(money.contexts);
            if money.is_gross {
                contexts.remove(Context::Net);
            }
            let key = evidence.key_of(money.value).map(str::to_owned);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
            let is_taxed = || money.is_gross && segment.text.starts_with(&money.text);
            let is_alone = letters(&segment.text) == letters(&money.text) || is_taxed();
            candidates.push(Candidate {
                money,
                element: segment.element,
                is_price,
                is_in_sentence,
                is_alone,
                contexts,
                distance,
                is_below_heading: heading.is_some_and(|heading| heading <= segment.texts.start),
                key,
            });
        }
        if candidates.len() >= MAX_CANDIDATES {
            break;
        }
    }
    share_contexts(surroundings, &mut candidates);
    let elements: Vec<usize> = candidates.iter().map(|candidate| candidate.element).collect();
    mark(&mut candidates, Context::Repeated, &cards::are_repeated(tree, surroundings, &elements));
    unmark_first_tier(tree, &mut candidates);
    if !page_is_product {
        let others = cards::are_of_other_products(tree, title, surroundings, &elements);
        mark(&mut candidates, Context::Related, &others);
    }
    mark_reduced(tree, title, &mut candidates);
    mark_above_regular(&mut candidates);
    mark_net(&mut candidates);
    candidates.sort_by_key(|candidate| candidate.distance);
    candidates
}

/// Adds a context to those of the candidates that have it.
fn mark(candidates: &mut [Candidate], context: Context, have_it: &[bool]) {
    let marked = candidates.iter_mut().zip(have_it).filter(|(_, has_it)| **has_it);
    marked.for_each(|(candidate, _)| candidate.contexts.insert(context));
}

/// Returns the element that has an amount of a line, if it has all of it.
fn element_of(tree: &Tree<'_>, segment: &Segment, money: &Money) -> usize {
    let mut texts = tree.texts[segment.texts.clone()].iter();
    let has_it = |text: &&Text<'_>| line(text.text).contains(&money.text);
    texts.find(has_it).map_or(segment.element, |text| text.element)
}

fn distance(
    segment: &Segment,
    title: &Title,
    is_price: bool,
    is_sentence: bool,
    has_currency: bool,
) -> usize {
    let texts = match segment.texts.start.checked_sub(title.end) {
        Some(after) => after,
        None => 20 + 2 * (title.end - segment.texts.start),
    };
    let mut distance = texts;
    distance += if is_price { 0 } else { 15 };
    distance += if has_currency { 0 } else { 10 };
    distance + if is_sentence { 40 } else { 0 }
}

/// Reads the short text before a line, if it has no number of its own: `List price:`.
fn context_of_label(
    tree: &Tree<'_>,
    segment: &Segment,
    surroundings: &mut Surroundings<'_, '_>,
) -> Contexts {
    let before = segment.texts.start.checked_sub(1).map(|at| tree.texts[at]);
    let Some(before) = before.filter(|before| {
        before.text.len() <= 2 * MAX_LABEL
            && !surroundings.contexts(before.element).contains(Context::Hidden)
    }) else {
        return Contexts::default();
    };
    let label = line(before.text);
    let digits = label.chars().any(|c| c.is_numeric());
    // The label is in the same row, or in the same small box.
    let parent = |element: usize, levels: usize| tree.path(element).nth(levels);
    let own = tree.texts[segment.texts.start].element;
    let row = (3..=5)
        .find(|levels| parent(own, *levels).is_some_and(|at| tree.elements[at].is_any(&["tr"])));
    let is_near = (1..=2).chain(row).any(|levels| {
        parent(own, levels).is_some_and(|around| {
            let around = &tree.elements[around];
            around.texts.contains(&(segment.texts.start - 1)) && around.texts.len() <= 12
        })
    });
    if digits || !is_near || label.chars().count() > MAX_LABEL || is_heading(tree, before.element) {
        return Contexts::default();
    }
    naming::of_label(&label)
}

fn is_heading(tree: &Tree<'_>, element: usize) -> bool {
    tree.path(element).take(3).any(|index| tree.elements[index].is_any(&["h1"]))
}

/// Returns the text after the title that starts a list of other products.
fn start_of_other_products(tree: &Tree<'_>, title: &Title) -> Option<usize> {
    let texts = tree.texts.iter().enumerate().skip(title.end + 1);
    let mut headings = texts.filter(|(_, text)| {
        tree.path(text.element).take(3).any(|index| {
            let element = &tree.elements[index];
            let class = element.names.class.to_ascii_lowercase();
            element.is_any(&["h2", "h3", "h4", "h5"])
                || class.contains("heading")
                || class.contains("title")
        })
    });
    headings.find_map(|(at, text)| {
        let heading = Some(text.text).filter(|text| text.len() < 200).map(line)?.to_lowercase();
        let is_other = OTHER_PRODUCTS.are_in(&heading);
        is_other.then_some(at)
    })
}

/// Marks the higher of two neighbouring prices as the former one, if the page says by how many
/// percent the lower one is lower.
fn mark_reduced(tree: &Tree<'_>, title: &Title, candidates: &mut [Candidate]) {
    let near = tree.texts.iter().skip(title.end).take(PERCENT_TEXTS);
    let percents: Vec<Decimal> =
        near.filter(|text| text.text.len() <= MAX_LABEL).filter_map(|t| percent(t.text)).collect();
    // A discount for those who pay in a certain way leaves the price as it is, and so does one that
    // machines do not know of: they have the other number.
    let is_reduced = |high: &Candidate, low: &Candidate| {
        if low.contexts.contains(Context::Payment) || high.key.is_some() && low.key.is_none() {
            return false;
        }
        let saved = (Decimal::ONE - low.money.value / high.money.value) * Decimal::ONE_HUNDRED;
        percents.iter().any(|percent| (saved - percent).abs() <= Decimal::ONE)
    };
    for (high, _) in pairs(candidates, is_reduced) {
        candidates[high].contexts.insert(Context::Former);
    }
}

/// Marks the price above a regular one as the former price: beside it, the regular one is not.
fn mark_above_regular(candidates: &mut [Candidate]) {
    let is_regular = |high: &Candidate, low: &Candidate| {
        low.contexts.is_only(Context::Regular) && high.contexts.is_empty() && high.is_price
    };
    for (high, low) in pairs(candidates, is_regular) {
        candidates[high].contexts.insert(Context::Former);
        candidates[low].contexts.remove(Context::Regular);
    }
}

/// Returns the number before or after the first percent sign of a text.
fn percent(text: &str) -> Option<Decimal> {
    let (before, after) = text.split_once(['%', '٪'])?;
    let is_other = |c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',');
    let before = before.trim_end().rsplit(is_other).next()?;
    let after = after.trim_start().split(is_other).next()?;
    let number = |text: &str| text.replace(',', ".").parse::<Decimal>().ok();
    let number = number(before).or_else(|| number(after))?;
    (Decimal::from(3)..=Decimal::from(95)).contains(&number).then_some(number)
}

/// Marks the lower of two neighbouring prices as that without tax, if the other one is with tax.
fn mark_net(candidates: &mut [Candidate]) {
    let is_net = |high: &Candidate, low: &Candidate| {
        let ratio = high.money.value / low.money.value;
        high.money.is_gross
            && !low.money.is_gross
            && (Decimal::new(102, 2)..=Decimal::new(128, 2)).contains(&ratio)
    };
    for (_, low) in pairs(candidates, is_net) {
        candidates[low].contexts.insert(Context::Net);
    }
}

/// Returns the neighbouring prices of the same currency, the higher one of each pair first.
fn pairs(
    candidates: &[Candidate],
    is_pair: impl Fn(&Candidate, &Candidate) -> bool,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (at, one) in candidates.iter().enumerate() {
        for (next, other) in candidates.iter().enumerate().skip(at + 1).take(4) {
            let is_high = one.money.value > other.money.value;
            let (high, low) = if is_high { (at, next) } else { (next, at) };
            let is_near = one.distance.abs_diff(other.distance) <= MAX_PAIR
                && one.money.currency == other.money.currency
                && one.contexts.is_weak()
                && other.contexts.is_weak()
                && candidates[low].money.value > Decimal::ZERO;
            if is_near && is_pair(&candidates[high], &candidates[low]) {
                pairs.push((high, low));
            }
        }
    }
    pairs
}

/// Gives both copies of an amount, that for screen readers and the visible one, what is said of
/// either.
fn share_contexts(surroundings: &Surroundings<'_, '_>, candidates: &mut [Candidate]) {
    for at in 1..candidates.len() {
        let (one, other) = (&candidates[at - 1], &candidates[at]);
        let is_copy = one.money.value == other.money.value
            && [one, other].iter().any(|one| surroundings.is_for_screen_readers(one.element))
            && one.distance.abs_diff(other.distance) <= 2;
        if is_copy {
            let both = one.contexts.union(other.contexts);
            candidates[at - 1].contexts = both;
            candidates[at].contexts = both;
        }
    }
}

/// Accepts the price for one piece, in the first row of a table of prices for several: `bis 9`.
fn unmark_first_tier(tree: &Tree<'_>, candidates: &mut [Candidate]) {
    let is_of_tiers =
        |one: &&mut Candidate| one.money.has_currency && one.contexts.contains(Context::Quantity);
    let first = candidates.iter_mut().find(is_of_tiers);
    let Some(first) = first else { return };
    let row = tree.path(first.element).take(4).find(|index| {
        let element = &tree.elements[*index];
        element.is_any(&["tr", "li"]) && element.texts.len() >= 2
    });
    let Some(row) = row.map(|index| tree.elements[index].texts.clone()) else { return };
    let label: Vec<String> = row.map(|text| line(tree.texts[text].text)).collect();
    let label = label.join(" ").to_lowercase();
    let count = UP_TO.iter().find_map(|words| label.strip_prefix(words)).unwrap_or_default();
    let is_single = SINGLE.iter().any(|words| {
        let rest = label.strip_prefix(words).unwrap_or("0");
        !rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','))
    });
    if is_single || count.starts_with(|c: char| c.is_ascii_digit()) {
        first.contexts.remove(Context::Quantity);
        first.contexts.remove(Context::Repeated);
    }
}
