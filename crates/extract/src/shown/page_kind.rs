//! Whether a page shows one product: the signs for it, and those against.

use std::sync::LazyLock;

use super::{
    cards,
    context::Context,
    page::Page,
    phrases::Phrases,
    surroundings::Surroundings,
    title::Title,
    tree::{Element, Tree, line},
    words,
};
use crate::availability;

/// The longest text of a button or of a label, in bytes.
const MAX_LABEL: usize = 60;

/// Buttons and labels that are read of a page.
const MAX_LABELS: usize = 500;

/// Points from which on a page is that of a product.
pub(super) const ENOUGH: i32 = 3;

/// Contexts in which a button is about something else than the product of the page.
const ELSEWHERE: &[Context] = &[Context::Related, Context::Link, Context::Navigation];

/// The sign of a button that buys.
pub(super) const BUYS: Sign = ("a buy button", 3);

/// The sign of a page that is named as a list, an article, a form or an error.
pub(super) const NAMED_OTHERWISE: Sign = ("a page named as another kind", -3);

/// Types of JSON-LD that describe other pages than those of a product.
const OTHER_TYPES: &[&str] = &[
    "\"Article\"",
    "\"NewsArticle\"",
    "\"BlogPosting\"",
    "\"SearchResultsPage\"",
    "\"CollectionPage\"",
    "\"Recipe\"",
    "\"FAQPage\"",
    "\"JobPosting\"",
    "\"ContactPage\"",
    "\"QAPage\"",
];

static BUY: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(words::BUY.split('|').map(str::trim)));

static OTHER_PAGES: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(words::OTHER_PAGES.split('|').map(str::trim)));

/// A sign, and its points.
pub(super) type Sign = (&'static str, i32);

/// Reads the signs of a page.
pub(super) fn signs(
    tree: &Tree<'_>,
    page: &Page<'_>,
    title: &Title,
    surroundings: &mut Surroundings<'_, '_>,
) -> Vec<Sign> {
    let mut signs = Vec::new();
    if page.is_product {
        signs.push(("the page says that it is a product", 4));
    }
    if has_buy_button(tree, title, surroundings) {
        signs.push(BUYS);
    }
    if has_sold_out_button(tree, surroundings) {
        signs.push(("a button is sold out", 2));
    }
    if has_sku(tree, title, surroundings) {
        signs.push(("a number of the product", 2));
    }
    let is_named = has_page_name(tree, words::PRODUCT_PAGE_NAMES);
    if is_named {
        signs.push(("a page named as that of a product", 2));
    }
    if has_quantity(tree) {
        signs.push(("a field for the quantity", 1));
    }
    let path = page.address.path().to_lowercase();
    let is_root = path.trim_matches('/').is_empty() || path.ends_with("/index.html");
    if path.split(['/', '-', '_', '.']).any(|word| words::PRODUCT_PATHS.contains(&word)) {
        signs.push(("the path of a product", 1));
    }
    if path.split('/').any(|part| words::OTHER_PATHS.contains(&part)) {
        signs.push(("the path of another page", -2));
    }
    if is_root && page.address.host_str() != Some("page.invalid") {
        signs.push(("the home page", -2));
    }
    add_other_kinds(tree, page, title, is_named, &mut signs);
    signs
}

/// Adds the signs of lists, articles, forms and errors.
fn add_other_kinds(
    tree: &Tree<'_>,
    page: &Page<'_>,
    title: &Title,
    is_named: bool,
    signs: &mut Vec<Sign>,
) {
    if page.og_type.starts_with("article") && is_named {
        // Some extensions of shops call every page an article.
        signs.push(("the page says that it is an article", -2));
    } else if page.og_type.starts_with("article") || page.og_type == "product.group" {
        signs.push(("the page says that it is something else", -4));
    }
    if page.json_ld.iter().any(|block| OTHER_TYPES.iter().any(|kind| block.contains(kind))) {
        signs.push(("the page describes something else", -3));
    }
    if title.is_one_of_several && !page.is_product {
        signs.push(("the title is one of several", -3));
    }
    if has_page_name(tree, words::OTHER_PAGE_NAMES) {
        signs.push(NAMED_OTHERWISE);
    }
    let texts = page.titles.iter().map(String::as_str).chain([title.text.as_str()]);
    let points = texts.map(points_of_title).min().unwrap_or_default();
    if points < 0 && !page.is_product {
        signs.push(("the title of another kind of page", points));
    }
}

/// Returns what a title says against a product. A part of it may be all that such pages have as a
/// title, or it may have one of their phrases: `Toy Shopping Cart` is a product.
fn points_of_title(title: &str) -> i32 {
    let title = title.to_lowercase();
    let parts = title.split(['|', '–', '—', '·', ':']).flat_map(|part| part.split(" - "));
    let parts = parts.chain([&*title]).map(str::trim);
    let points_of_part = |part: &str| {
        let is_whole = part.starts_with("404")
            || OTHER_PAGES.find(part).any(|found| {
                let phrase = &part[found.start..found.end];
                phrase == part || found.start == 0 && phrase.len() > 6 && phrase.contains(' ')
            });
        let has_long = || OTHER_PAGES.find(part).any(|found| found.end - found.start > 10);
        if is_whole {
            -10
        } else if has_long() {
            -3
        } else {
            0
        }
    };
    parts.map(points_of_part).min().unwrap_or_default()
}

/// Whether a button outside of lists of other products buys.
fn has_buy_button(tree: &Tree<'_>, title: &Title, surroundings: &mut Surroundings<'_, '_>) -> bool {
    let texts = tree
        .texts
        .iter()
        .filter(|text| text.text.len() <= MAX_LABEL)
        .filter(|text| is_button(tree, text.element) || is_whole_buy_text(text.text))
        .take(MAX_LABELS)
        .filter(|text| is_buy_text(&line(text.text)));
    let elements = tree.elements.iter().enumerate().filter(|(_, element)| {
        let label = element.names.label;
        element.is_any(&["button", "input", "form", "a", "div"])
            && (is_named(element, words::BUY_NAMES)
                || label.len() <= MAX_LABEL && is_buy_text(&line(label)))
    });
    let buttons = texts.map(|text| text.element).chain(elements.map(|(index, _)| index));
    let mut buttons: Vec<usize> = buttons.collect();
    buttons.retain(|button| !surroundings.contexts(*button).contains_any(ELSEWHERE));
    buttons.truncate(MAX_LABELS);
    // A button of a tile buys another product.
    let repeated = cards::are_repeated(tree, surroundings, &buttons);
    let others = cards::are_of_other_products(tree, title, surroundings, &buttons);
    repeated.iter().zip(others).any(|(is_repeated, is_other)| !is_repeated && !is_other)
}

/// Whether a button for buying says that the product is sold out.
fn has_sold_out_button(tree: &Tree<'_>, surroundings: &mut Surroundings<'_, '_>) -> bool {
    let buttons =
        tree.elements.iter().enumerate().filter(|(_, element)| {
            element.is_any(&["button", "input"]) && element.texts.len() <= 3
        });
    buttons.take(MAX_LABELS).any(|(index, element)| {
        let text = tree.text_of(index);
        let label = if text.is_empty() { line(element.names.label) } else { text };
        // A button may say no more than "No".
        (6..=MAX_LABEL).contains(&label.len())
            && availability::normalize(&label).is_some_and(availability::is_unavailable)
            && !surroundings.contexts(index).contains_any(ELSEWHERE)
    })
}

/// Whether a text is no more than what a button says, in several words.
fn is_whole_buy_text(text: &str) -> bool {
    let text = line(text).to_lowercase();
    BUY.find(&text).any(|found| found.end - found.start == text.len() && text.contains(' '))
}

fn is_buy_text(text: &str) -> bool {
    let text = text.to_lowercase();
    let text = text.trim_matches(|c: char| !c.is_alphanumeric() && !"+)".contains(c));
    // A single word has to be the whole text: "Buy" is a button, "Buy with confidence" is not.
    text.chars().count() <= 40
        && BUY.find(text).any(|found| {
            let phrase = &text[found.start..found.end];
            phrase == text || phrase.contains(' ') || phrase.chars().any(|c| c > '\u{e00}')
        })
}

fn is_button(tree: &Tree<'_>, element: usize) -> bool {
    tree.path(element).take(4).any(|index| {
        let element = &tree.elements[index];
        element.is_any(&["button", "a", "label"])
            || element.tag.contains('-')
            || element.has_name(&["btn", "button", "cart", "buy"])
    })
}

/// Whether a name of an element is one of these words, or has one of the longer ones, without what
/// separates its words.
fn is_named(element: &Element<'_>, words: &[&str]) -> bool {
    element.names.all().iter().flat_map(|name| name.split_ascii_whitespace()).any(|name| {
        let letters = name.chars().filter(char::is_ascii_alphabetic);
        let letters: String = letters.map(|c| c.to_ascii_lowercase()).collect();
        // A short word is part of too many others.
        words.iter().any(|word| letters == *word || word.len() >= 6 && letters.contains(word))
    })
}

/// Whether the page has the number of one product.
fn has_sku(tree: &Tree<'_>, title: &Title, surroundings: &mut Surroundings<'_, '_>) -> bool {
    // The number stands near the title, which may be below it.
    let near = tree.texts.iter().skip(title.end.saturating_sub(20)).take(MAX_LABELS);
    near.into_iter().any(|text| {
        if text.text.len() > MAX_LABEL {
            return false;
        }
        let label = line(text.text).to_lowercase();
        let is_sku = words::SKU.split('|').map(str::trim).any(|phrase| {
            let rest = label.strip_prefix(phrase).unwrap_or("x");
            rest.is_empty() || rest.starts_with([':', '.', '：', '#', ' '])
        });
        is_sku && !surroundings.contexts(text.element).contains(Context::Related)
    })
}

/// Whether the body or one of the elements around the content has one of these names.
fn has_page_name(tree: &Tree<'_>, words: &[&str]) -> bool {
    let outer = tree.elements.iter().filter(|element| {
        element.is_any(&["body", "main", "article", "section", "html"])
            || element.is_any(&["div"]) && element.texts.len() * 2 > tree.texts.len()
    });
    outer.take(60).any(|element| is_named(element, words))
}

fn has_quantity(tree: &Tree<'_>) -> bool {
    tree.elements.iter().any(|element| {
        element.is_any(&["input", "select"])
            && element.has_name(&["qty", "quantit", "menge", "anzahl"])
    })
}
