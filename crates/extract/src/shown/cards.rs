//! Cards of products: boxes with a name, a picture or a link of their own, as lists have them.

use std::{cell::LazyCell, collections::HashMap};

use super::{
    naming,
    surroundings::Surroundings,
    title::Title,
    tree::{Element, Tree},
};

/// Elements around another one that are searched for a card.
const MAX_DISTANCE: usize = 8;

/// Texts of a card of another product.
const MAX_TEXTS: usize = 12;

/// Elements of such a card that may be its name.
const MAX_ELEMENTS: usize = 100;

/// What elements of a list have in common: tag and class, or tag and parent.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Kind<'a> {
    tag: &'a str,
    class: &'a str,
    parent: Option<usize>,
}

/// Returns for each element whether it is within one of several cards or rows of the same kind, of
/// which others of the elements are.
pub(super) fn are_repeated(
    tree: &Tree<'_>,
    surroundings: &Surroundings<'_, '_>,
    elements: &[usize],
) -> Vec<bool> {
    let mut kinds: HashMap<Kind<'_>, Vec<usize>> = HashMap::new();
    let mut kinds_of: Vec<Vec<Kind<'_>>> = Vec::new();
    for element in elements {
        let path = tree.path(*element).take(MAX_DISTANCE);
        let path = path.take_while(|index| !surroundings.is_around_title(*index));
        let mut own = Vec::new();
        for index in path.filter(|index| is_card(tree, surroundings, *index)) {
            let element = &tree.elements[index];
            let parent = element.parent.filter(|_| element.names.class.is_empty());
            let kind = Kind { tag: element.tag, class: element.names.class, parent };
            // Of boxes within each other, one is a card.
            if !own.contains(&kind) {
                kinds.entry(kind).or_default().push(index);
                own.push(kind);
            }
        }
        kinds_of.push(own);
    }
    let is_named = |index: &usize| {
        links_elsewhere(tree, surroundings, *index)
            || has_any(tree, *index, &["img", "h2", "h3", "h4", "h5"])
    };
    kinds.retain(|_, cards| {
        cards.sort_unstable();
        cards.dedup();
        cards.len() >= 3 || cards.iter().filter(|card| is_named(card)).count() >= 2
    });
    kinds_of.iter().map(|own| own.iter().any(|kind| kinds.contains_key(kind))).collect()
}

/// Whether an element may be one of a list: it has more than a price.
fn is_card(tree: &Tree<'_>, surroundings: &Surroundings<'_, '_>, index: usize) -> bool {
    let element = &tree.elements[index];
    let has_more = || {
        has_any(tree, index, &["img", "h2", "h3", "h4", "h5", "button", "input"])
            || links_elsewhere(tree, surroundings, index)
    };
    // `from 10 | $1.19` is one of several prices, `Price | $1.29` is a price with its label.
    let has_digit = |text: usize| tree.texts[text].text.bytes().any(|byte| byte.is_ascii_digit());
    let is_row = || {
        element.is_any(&["tr", "li"])
            && element.texts.clone().filter(|t| has_digit(*t)).count() >= 2
    };
    (2..=60).contains(&element.texts.len()) && (has_more() || is_row())
}

fn has_any(tree: &Tree<'_>, index: usize, tags: &[&str]) -> bool {
    let within = &tree.elements[index + 1..tree.elements[index].end];
    within.iter().take(200).any(|inner| inner.is_any(tags))
}

/// Returns for each element whether it is in a card of another product: a box with a name of its
/// own, other than the title, which links to another page or stands beside a picture that does.
pub(super) fn are_of_other_products(
    tree: &Tree<'_>,
    title: &Title,
    surroundings: &Surroundings<'_, '_>,
    elements: &[usize],
) -> Vec<bool> {
    let title = title.text.to_lowercase();
    let mut ends: HashMap<usize, Option<usize>> = HashMap::new();
    let is_other = |element: &usize| {
        let text = tree.elements[*element].texts.start;
        let path = tree.path(*element).skip(1).take(MAX_DISTANCE);
        let mut path = path.take_while(|index| !surroundings.is_around_title(*index));
        path.any(|card| {
            let end = ends.entry(card);
            let end = end.or_insert_with(|| end_of_other_name(tree, &title, surroundings, card));
            end.is_some_and(|end| end <= text)
        })
    };
    elements.iter().map(is_other).collect()
}

/// Returns the text behind the first name of another product in a card.
fn end_of_other_name(
    tree: &Tree<'_>,
    title: &str,
    surroundings: &Surroundings<'_, '_>,
    card: usize,
) -> Option<usize> {
    let own = &tree.elements[card];
    let is_linked = |index: usize| {
        tree.path(index).take(3).any(|link| surroundings.leaves_page(link))
            || links_elsewhere(tree, surroundings, index)
    };
    let has_picture = LazyCell::new(|| links_picture(tree, surroundings, card));
    let is_name = |index: &usize| {
        let inner = &tree.elements[*index];
        if inner.texts.is_empty() {
            false
        } else if inner.is_any(&["a"]) {
            let is_first = inner.texts.start == own.texts.start;
            is_first && is_named_as_card(own) && is_linked(*index)
        } else if inner.is_any(&["h2", "h3", "h4", "h5"]) {
            is_linked(*index)
        } else {
            is_named_as_name(inner) && (is_linked(*index) || *has_picture)
        }
    };
    let is_other_name = |index: &usize| {
        let name = tree.text_of(*index).to_lowercase();
        name.contains(char::is_alphabetic) && !title.contains(&name) && !name.contains(title)
    };
    let within = (card..own.end).take(MAX_ELEMENTS).filter(|_| own.texts.len() <= MAX_TEXTS);
    let names = within.filter(is_name).filter(is_other_name);
    names.map(|index| tree.elements[index].texts.end).min()
}

/// Whether an element is an entry of a list, or is named as a product or a card.
fn is_named_as_card(element: &Element<'_>) -> bool {
    let is_card = |class: &str| {
        let words = naming::split(class);
        let last = words.last().map(String::as_str).unwrap_or_default();
        ["product", "item", "card", "tile", "teaser"].contains(&last)
            || last == "box" && (words.len() == 1 || words.iter().any(|word| word == "product"))
    };
    element.is_any(&["li", "tr", "article", "figure"])
        || element.names.class.split_ascii_whitespace().any(is_card)
}

fn is_named_as_name(element: &Element<'_>) -> bool {
    element.names.class.split_ascii_whitespace().any(|class| {
        let last = class.rsplit(['-', '_']).next().unwrap_or_default();
        ["title", "name"].iter().any(|word| last.eq_ignore_ascii_case(word))
    })
}

/// Whether an element has a picture that links to another page.
fn links_picture(tree: &Tree<'_>, surroundings: &Surroundings<'_, '_>, index: usize) -> bool {
    let end = tree.elements[index].end.min(index + 200);
    (index..end).any(|link| {
        let mut within = link..tree.elements[link].end.min(end);
        let is_picture = |index: usize| tree.elements[index].is_any(&["img", "picture", "svg"]);
        let is_file = || {
            let href = tree.elements[link].href.unwrap_or_default().to_ascii_lowercase();
            [".jpg", ".jpeg", ".png", ".webp"].iter().any(|end| href.contains(end))
        };
        surroundings.leaves_page(link) && within.any(is_picture) && !is_file()
    })
}

fn links_elsewhere(tree: &Tree<'_>, surroundings: &Surroundings<'_, '_>, index: usize) -> bool {
    let end = tree.elements[index].end.min(index + 200);
    (index..end).any(|inner| surroundings.leaves_page(inner))
}
