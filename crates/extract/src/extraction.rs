//! From the content of a body to the product that it contains.

use url::Url;

use crate::{
    content::Content,
    product::Extraction,
    rules::Rules,
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

/// Whether a text may be JSON that is not declared as JSON, or that no database stores as such.
fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}
