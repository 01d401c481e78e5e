//! From a body to the product that it tells.

use url::Url;

use crate::{content::Content, json_body, page, product::Extraction, rules::Rules, sources::Sources};

/// Finds the product of a page.
///
/// `address` is where the page was found, after redirects: it decides on the rule, makes links absolute, and tells the
/// page's own product from others. The category is the task's, else the rule's, else the page's.
pub fn product(content: &Content, address: &Url, rules: &Rules, task_category: Option<&str>) -> Extraction {
    let rule = rules.of(address);
    let mut sources = Sources::new(task_category);
    match content {
        Content::Json(json) => json_body::read(json, address, rule, &mut sources),
        Content::Text(text) if is_json(text) => json_body::read(text, address, rule, &mut sources),
        Content::Text(text) => page::read(text, address, rule, &mut sources),
        Content::Binary(_) => {}
    }
    sources.extraction()
}

/// JSON that was not declared as such, or that no database would take.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}
