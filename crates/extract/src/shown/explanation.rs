//! What was considered for the price that a page shows, and why one candidate won.

use serde::Serialize;

use super::{page_kind, reading::Reading};

/// How the shown price of a page was searched for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShownText {
    /// The title that prices are near to.
    pub title: Option<String>,
    /// What says that the page shows one product, or that it does not, each with its points.
    pub signs: Vec<(String, i32)>,
    /// The points from which on a page is that of a product.
    pub enough: i32,
    /// The amounts of the page, the likeliest first.
    pub candidates: Vec<ShownPrice>,
}

/// An amount that a page shows.
#[derive(Clone, Debug, Serialize)]
pub struct ShownPrice {
    /// The text of the page.
    pub text: String,
    /// The amount, with its currency where the page says it.
    pub amount: String,
    /// The elements that have it.
    pub place: String,
    /// Whether an element near it is named as a price.
    pub is_named_as_price: bool,
    /// How far it is from the title.
    pub distance: usize,
    /// What speaks against it.
    pub contexts: Vec<&'static str>,
    /// The key under which the page has the same number for machines.
    pub confirmed_by: Option<String>,
    /// Whether it is the price.
    pub is_chosen: bool,
}

impl Reading {
    /// Returns what was considered.
    pub(crate) fn explain(&self) -> ShownText {
        let chosen = self.chosen().map(|(at, _)| at);
        let candidates = self.candidates.iter().zip(&self.paths).enumerate();
        ShownText {
            title: self.title.as_ref().map(|title| title.text.clone()),
            signs: self.signs.iter().map(|(sign, points)| ((*sign).to_owned(), *points)).collect(),
            enough: page_kind::ENOUGH,
            candidates: candidates
                .map(|(at, (candidate, place))| {
                    let currency = self.currency(candidate).unwrap_or_default();
                    ShownPrice {
                        text: candidate.money.text.clone(),
                        amount: format!("{} {currency}", candidate.money.value).trim().to_owned(),
                        place: place.clone(),
                        is_named_as_price: candidate.is_price,
                        distance: candidate.distance,
                        contexts: candidate.contexts.names(),
                        confirmed_by: candidate.key.clone(),
                        is_chosen: chosen == Some(at),
                    }
                })
                .collect(),
        }
    }
}
