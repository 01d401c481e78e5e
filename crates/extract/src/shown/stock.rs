//! The availability that a page shows near its title.

use super::{context::Context, surroundings::Surroundings, title::Title, tree::Tree};
use crate::availability;

/// Parts of the names of an element that says whether a product is available.
const NAMES: &[&str] = &[
    "stock",
    "availab",
    "delivery-information",
    "lieferbar",
    "lieferstatus",
    "verfuegbar",
    "verfügbar",
    "disponib",
    "voorraad",
    "dostupn",
    "dostepn",
    "sklad",
];

/// Texts after the title within which it stands.
const MAX_DISTANCE: usize = 80;

/// The longest text that says it, in bytes.
const MAX_TEXT: usize = 80;

/// Parts of texts that are about another time or another product, in lower case.
const OTHERS: &[&str] = &["notif", "when ", "sobald", "benachricht", "remind", "?", "wenn "];

/// Contexts in which a text is about something else.
const ELSEWHERE: &[Context] = &[
    Context::Related,
    Context::Link,
    Context::Navigation,
    Context::Dialog,
    Context::Review,
    Context::Option,
    Context::Hidden,
    Context::Cart,
];

/// Returns the availability that the elements named for it agree on.
pub(super) fn find(
    tree: &Tree<'_>,
    title: &Title,
    surroundings: &mut Surroundings<'_, '_>,
) -> Option<&'static str> {
    let mut found = None;
    for (index, element) in tree.elements.iter().enumerate() {
        let is_near = (title.end..title.end + MAX_DISTANCE).contains(&element.texts.start);
        if !is_near || !(1..=6).contains(&element.texts.len()) || !element.has_name(NAMES) {
            continue;
        }
        let text = tree.text_of(index);
        let lower = text.to_lowercase();
        if text.len() > MAX_TEXT || OTHERS.iter().any(|other| lower.contains(other)) {
            continue;
        }
        let contexts = surroundings.contexts(index);
        let Some(own) = availability::normalize(&text) else { continue };
        if contexts.contains_any(ELSEWHERE) {
            continue;
        }
        if found.is_some_and(|other| other != own) {
            return None;
        }
        found = Some(own);
    }
    found
}
