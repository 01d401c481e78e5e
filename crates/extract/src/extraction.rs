//! From the content of a body to the product that it contains.

use rust_decimal::Decimal;
use serde::Serialize;
use url::Url;

use crate::{
    content::Content,
    product::{Extraction, Method},
    rules::Rules,
    shown::ShownText,
    sources::{json_body, merger::Merger, page},
};

/// Extracts the product of a page.
///
/// `address` is the URL of the page, after redirects. It selects the rule, makes links absolute,
/// and distinguishes the product of the page from others. `task_category` takes precedence over the
/// category of the rule, and that one over the category of the page.
pub fn product(
    content: &Content,
    address: &Url,
    rules: &Rules,
    task_category: Option<&str>,
) -> Extraction {
    let rule = rules.find(address);
    let mut merger = Merger::new(task_category);
    match content {
        Content::Json(text) => json_body::read(text, address, rule, &mut merger),
        Content::Text(text) if looks_like_json(text) => {
            json_body::read(text, address, rule, &mut merger)
        }
        Content::Text(text) => page::read(text, address, rule, &mut merger),
        Content::Binary(_) => {}
    }
    merger.into_extraction()
}

/// Explains how the price of a page is found: the price of each source, and the amounts that the
/// page shows.
pub fn explain(content: &Content, address: &Url, rules: &Rules) -> Explanation {
    let rule = rules.find(address);
    let mut merger = Merger::new(None);
    let mut shown = None;
    match content {
        Content::Text(text) if !looks_like_json(text) => {
            // The product as the sources describe it, before the text adds to it.
            page::read(text, address, rule, &mut merger);
            shown = Some(page::explain(text, address, &merger).explain());
        }
        Content::Json(text) | Content::Text(text) => {
            json_body::read(text, address, rule, &mut merger);
        }
        Content::Binary(_) => {}
    }
    let sources = merger.source_prices().into_iter().filter_map(|(method, finding)| {
        Some(SourcePrice { method, price: finding.price?, currency: finding.currency })
    });
    Explanation { sources: sources.collect(), shown }
}

/// Returns the URL that a page states as its own, also of a page without a product.
pub fn canonical_url(content: &Content, address: &Url) -> Option<Url> {
    match content {
        Content::Text(text) if !looks_like_json(text) => page::canonical(text, address),
        Content::Text(_) | Content::Json(_) | Content::Binary(_) => None,
    }
}

/// How the price of a page is found.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The price of each source that has one, in order of precedence.
    pub sources: Vec<SourcePrice>,
    /// What the text of the page shows, for an HTML page.
    pub shown: Option<ShownText>,
}

/// The price of a source.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SourcePrice {
    /// The source.
    pub method: Method,
    /// The price that it has.
    pub price: Decimal,
    /// The currency that it has.
    pub currency: Option<&'static str>,
}

/// Whether a text may be JSON that is not declared as JSON, or that no database stores as such.
pub(crate) fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}
