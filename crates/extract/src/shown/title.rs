//! The title of the product: the text that the price stands near.

use super::{
    page::Page,
    tree::{Element, Tree, line},
};

/// Elements that may be the title.
const MAX_ELEMENTS: usize = 300;

/// Names of an element with the title of a product, without what separates their words.
const NAMES: &[&str] = &[
    "producttitle",
    "productname",
    "itemtitle",
    "itemname",
    "goodsname",
    "pdptitle",
    "adtitle",
    "skuname",
    "pagetitle",
    "maintitle",
    "produkttitel",
    "produktname",
];

/// The title of a product in the text of its page.
#[derive(Debug)]
pub(super) struct Title {
    /// Its last text.
    pub(super) end: usize,
    pub(super) text: String,
    /// Whether it is the main heading, or named as the title of a product.
    pub(super) is_heading: bool,
    /// Whether other elements of its kind have other texts, as the titles of a list do.
    pub(super) is_one_of_several: bool,
}

/// Finds the title.
pub(super) fn find(tree: &Tree<'_>, page: &Page<'_>) -> Option<Title> {
    let known = KnownTitles::new(page);
    let may_be = |(index, element): (usize, &Element<'_>)| {
        let points = points_of_element(element)?;
        let text = tree.text_of(index);
        (!element.texts.is_empty() && (2..=600).contains(&text.len()) && !known.is_site(&text))
            .then(|| (index, points + known.points(&text), text))
    };
    let found = tree.elements.iter().enumerate().filter_map(may_be).take(MAX_ELEMENTS);
    // The first of the best.
    let best = found.reduce(|best, other| if other.1 > best.1 { other } else { best });
    let best = best.filter(|(_, points, _)| *points >= 50);
    if let Some((index, _, text)) = best {
        let is_heading = points_of_element(&tree.elements[index]) >= Some(30);
        let is_one_of_several = is_one_of_several(tree, index, &text);
        let end = tree.elements[index].texts.end - 1;
        return Some(Title { end, text, is_heading, is_one_of_several });
    }
    let is_title = |text: &String| text.chars().count() >= 4 && known.points(text) >= 100;
    tree.texts.iter().enumerate().find_map(|(end, text)| {
        let text = Some(text.text).filter(|text| text.len() < 400).map(line)?;
        is_title(&text).then_some(Title { end, text, is_heading: false, is_one_of_several: false })
    })
}

/// Whether elements of the same tag and names, other than main headings, have other texts.
fn is_one_of_several(tree: &Tree<'_>, index: usize, text: &str) -> bool {
    let own = &tree.elements[index];
    let is_of_kind = |other: &Element<'_>| {
        other.tag == own.tag
            && other.names.class == own.names.class
            && other.names.role == own.names.role
    };
    !own.is_any(&["h1"])
        && tree.elements.iter().enumerate().any(|(other, element)| {
            is_of_kind(element) && !element.texts.is_empty() && tree.text_of(other) != text
        })
}

/// Returns how likely an element is the title, by its tag and names.
fn points_of_element(element: &Element<'_>) -> Option<i32> {
    let is_named = element.names.role == "name"
        || element.names.all().iter().any(|name| {
            let name: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
            let name = name.to_lowercase();
            NAMES.iter().any(|known| name.contains(known))
        });
    let by_tag = if element.is_any(&["h1"]) {
        50
    } else if element.is_any(&["h2", "h3", "h4"]) {
        5
    } else if is_named && element.is_any(&["div", "span", "p", "strong", "b"]) {
        0
    } else {
        return None;
    };
    Some(by_tag + if is_named { 30 } else { 0 })
}

/// The titles that a page states of itself, in lower case.
struct KnownTitles {
    /// The name of a structured product.
    name: Option<String>,
    /// Titles without the name of the site, and parts of titles.
    titles: Vec<String>,
    site: Option<String>,
    host: String,
}

impl KnownTitles {
    fn new(page: &Page<'_>) -> Self {
        let lower = |text: &str| line(text).to_lowercase();
        let separators =
            [" | ", " - ", " – ", " — ", " · ", " : ", " » ", " :: ", "_", "｜", "【", "】"];
        let mut titles = Vec::new();
        for title in &page.titles {
            let title = lower(title);
            let mut parts = vec![title.as_str()];
            for separator in separators {
                parts = parts.into_iter().flat_map(|part| part.split(separator)).collect();
            }
            titles.extend(parts.iter().map(|part| part.trim().to_owned()));
            titles.push(title);
        }
        titles.retain(|title| title.chars().count() >= 2);
        let host = letters(page.address.host_str().unwrap_or_default());
        Self { name: page.name.map(lower), titles, site: page.site.map(lower), host }
    }

    /// Whether a text is the name of the site, which many pages have as a heading.
    fn is_site(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let is_host = letters(&text).len() >= 4 && self.host.contains(&letters(&text));
        is_host || self.site.as_ref() == Some(&text)
    }

    /// Returns how well a text agrees with the titles.
    fn points(&self, text: &str) -> i32 {
        let text = text.to_lowercase();
        if self.name.as_ref() == Some(&text) {
            return 120;
        }
        if self.titles.contains(&text) {
            return 100;
        }
        // Bytes, since a character of Chinese says more than one of English.
        let length = i32::try_from(text.len().min(40)).unwrap_or(40);
        let is_part = length >= 4 && self.titles.iter().any(|title| title.contains(&text));
        let has_part = self.titles.iter().any(|title| title.len() >= 8 && text.contains(title));
        if is_part || has_part { 30 + length } else { 0 }
    }
}

/// Returns the letters and digits of a text.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
