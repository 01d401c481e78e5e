//! The title and the canonical link of a page.

use url::Url;

use crate::finding::{Finding, RawTexts};

/// Reads the finding. It completes a product; every page has a title.
pub(super) fn read(title: Option<&str>, canonical: Option<Url>, base: &Url) -> Finding {
    let texts = RawTexts { name: title, ..RawTexts::default() };
    Finding { url: canonical.map(String::from), ..Finding::from_texts(texts, base) }
}
