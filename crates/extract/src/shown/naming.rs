//! What names, labels and words beside a price say about it.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use super::{
    context::{Context, Contexts},
    phrases::Phrases,
    words,
};
use crate::price::{self, Meaning, Side};

/// Bytes of a name that are read.
const MAX_NAME: usize = 300;

/// Bytes of the text after a price that are read.
const MAX_START: usize = 60;

/// Words before what an element has within.
const WITHIN: &[&str] = &["with", "has", "show"];

static NAMES: LazyLock<HashMap<&'static str, Context>> = LazyLock::new(|| {
    words::NAMES
        .iter()
        .flat_map(|(context, names)| names.split_whitespace().map(|name| (name, *context)))
        .collect()
});

/// What the class, the id or the key of something says about a price.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct NameFacts {
    pub(super) contexts: Contexts,
    /// Whether it names a price.
    pub(super) is_price: bool,
}

/// Reads a class, an id or a key: its words, and two words together. `old-price`, `oldPrice` and
/// `old_price` have the words `old` and `price`, which together are `oldprice`.
pub(super) fn of_name(name: &str) -> NameFacts {
    let mut facts = NameFacts::default();
    if name.is_empty() {
        return facts;
    }
    let name = &name[..name.floor_char_boundary(MAX_NAME)];
    let mut is_button = false;
    let mut is_cart = false;
    for class in name.split_ascii_whitespace() {
        let mut words = split(class);
        // `price with-list-price` contains a list price, and is not one itself.
        if let Some(at) = words.iter().position(|word| WITHIN.contains(&word.as_str())) {
            words.truncate(at);
        }
        let is_price = words.iter().any(|word| words::is_price(word));
        facts.is_price |= is_price;
        // `price-and-rating` is the box of a price, and `product-card-price` a price, not a card.
        let is_of_box = |name: &str, context| {
            matches!(context, Context::Review | Context::Number)
                || words::CARD_NAMES.contains(&name)
        };
        for (at, word) in words.iter().enumerate() {
            is_button |= words::BUTTON_NAMES.contains(&word.as_str());
            is_cart |= words::CART_NAMES.contains(&word.as_str());
            let pair = words.get(at + 1).map(|next| format!("{word}{next}"));
            let found = [Some(word.as_str()), pair.as_deref()].into_iter().flatten();
            let found = found.filter_map(|word| Some((word, *NAMES.get(word)?)));
            let found = found.filter(|(word, context)| !is_price || !is_of_box(word, *context));
            found.for_each(|(_, own)| facts.contexts.insert(own));
        }
    }
    if is_cart && !is_button && !facts.is_price {
        facts.contexts.insert(Context::Cart);
    }
    facts
}

/// Splits a name into its words, in lower case.
pub(super) fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let starts = !c.is_alphabetic() || was_lower && c.is_uppercase();
        if starts && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphabetic()) {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Removes the rate of a tax within its name: `zzgl. 19 % MwSt.` is `zzgl. MwSt.`.
fn without_rate(label: &str) -> Cow<'_, str> {
    let Some(at) = label.find('%') else { return Cow::Borrowed(label) };
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ' ' | '\u{a0}');
    let before = label[..at].trim_end_matches(is_of_number);
    let number = &label[before.len()..at];
    if before.is_empty() || !number.bytes().any(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(label);
    }
    // The point of an abbreviation is not of the number.
    let kept = number.find(|c: char| c.is_ascii_digit()).unwrap_or_default();
    let before = &label[..before.len() + kept];
    Cow::Owned(format!("{} {}", before.trim_end(), label[at + 1..].trim_start()))
}

/// The phrases of labels, each with its context.
struct Labels {
    phrases: Phrases,
    contexts: Vec<Context>,
}

static LABELS: LazyLock<Labels> = LazyLock::new(|| {
    let all = words::LABELS
        .iter()
        .flat_map(|(context, phrases)| phrases.split('|').map(|phrase| (phrase.trim(), *context)));
    let (phrases, contexts): (Vec<&str>, Vec<Context>) = all.unzip();
    Labels { phrases: Phrases::new(phrases), contexts }
});

/// Reads a label: what the text before a price, or around it, says.
pub(super) fn of_label(label: &str) -> Contexts {
    let label = label.to_lowercase();
    let label = &*without_rate(&label);
    let own: Contexts =
        LABELS.phrases.find(label).map(|found| LABELS.contexts[found.phrase]).collect();
    let shared = price::find_label_phrases(label).filter(|phrase| phrase.side != Side::After);
    let shared = shared.filter_map(|phrase| context_of(phrase.meaning));
    // Shipping is a charge, too.
    own.union(shared.filter(|c| *c != Context::Deposit || own.is_empty()).collect())
}

/// Returns the context of what a phrase says about a price, unless it is that of another part of
/// the text.
fn context_of(meaning: Meaning) -> Option<Context> {
    match meaning {
        Meaning::Former => Some(Context::Former),
        Meaning::Regular => Some(Context::Regular),
        Meaning::Saving => Some(Context::Saving),
        Meaning::Charge => Some(Context::Deposit),
        Meaning::Instalment => Some(Context::Instalment),
        Meaning::Partial | Meaning::Preferred => None,
    }
}

/// Whether a label ends with a word for a price: `Preis:`.
pub(super) fn is_price_label(label: &str) -> bool {
    let label = label.trim_end_matches(|c: char| !c.is_alphabetic());
    let word = label.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    words::is_price_word(&word.to_lowercase())
}

/// Whether the text before or after a price says that it is with tax.
pub(super) fn is_gross(before: &str, after: &str) -> bool {
    let before = before.to_lowercase();
    let after = after[..after.floor_char_boundary(MAX_START)].to_lowercase();
    let after = &*without_rate(&after);
    let says = |text: &str, phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    says(&before, words::GROSS_BEFORE) || words::GROSS_AFTER.iter().any(|w| after.starts_with(w))
}

/// Reads what the text after a price starts with.
pub(super) fn of_start(rest: &str) -> Contexts {
    let rest = rest[..rest.floor_char_boundary(MAX_START)].to_lowercase();
    let rest = &*without_rate(&rest);
    let found = LABELS.phrases.find(rest).filter(|found| found.start == 0);
    found.map(|found| LABELS.contexts[found.phrase]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_their_words() {
        for (name, is_price, contexts) in [
            ("price", true, &[][..]),
            ("product-price__current", true, &[]),
            ("ProductPrice_price__3xYz", true, &[]),
            ("productprice", true, &[]),
            ("preis_gross", true, &[]),
            ("old-price", true, &["former price"]),
            ("oldPrice", true, &["former price"]),
            ("oldprice", true, &["former price"]),
            ("gold-price", true, &[]),
            ("uphold bold", false, &[]),
            ("list-price", true, &["former price"]),
            ("price-list", true, &[]),
            ("unitPrice", true, &["unit price"]),
            ("price--regular", true, &["regular price"]),
            ("related-products", false, &["related product"]),
            ("add-to-cart", false, &[]),
            ("cart", false, &["cart"]),
            ("cart-form", false, &[]),
            ("price with-list-price", true, &[]),
            ("list-price has-badge", true, &["former price"]),
            ("mini-cart__total", false, &["cart"]),
            ("enterprise prisma", false, &[]),
            ("цена", true, &[]),
            ("product-price-and-rating", true, &[]),
            ("productCardPrice", true, &[]),
            ("product-card", false, &["related product"]),
            ("sku_price", true, &[]),
            ("product-sku", false, &["number of the product"]),
            ("", false, &[]),
        ] {
            let facts = of_name(name);
            assert_eq!((facts.is_price, facts.contexts.names().as_slice()), (is_price, contexts));
        }
    }

    #[test]
    fn labels_are_read_by_their_phrases() {
        for (label, contexts) in [
            ("Price:", &[][..]),
            ("Was", &["former price"]),
            ("Washing machine", &[]),
            ("UVP", &["former price"]),
            ("statt", &["former price"]),
            ("zzgl. Versand", &["shipping"]),
            ("Livraison", &["shipping"]),
            ("原价", &["former price"]),
            ("市场价：", &["former price"]),
            ("mtl. Rate", &["instalment"]),
            ("Sie sparen", &["saving"]),
            ("Grundpreis", &["unit price"]),
            ("zzgl. 19 % MwSt.", &["net price"]),
            ("Excl. 21% BTW", &["net price"]),
            ("Mindestbestellwert", &["order threshold"]),
        ] {
            assert_eq!(of_label(label).names(), contexts, "{label}");
        }
    }
}
