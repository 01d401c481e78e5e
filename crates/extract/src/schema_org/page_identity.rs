//! What identifies a page: its addresses and titles.

use url::Url;

/// Identifies a page among the products that it mentions.
#[derive(Debug)]
pub(crate) struct PageIdentity<'a> {
    pub(crate) address: &'a Url,
    pub(crate) canonical: Option<Url>,
    /// In lower case.
    pub(crate) titles: Vec<String>,
}

impl PageIdentity<'_> {
    /// Whether a link leads to this page. Differences in scheme, `www.`, fragment and a trailing
    /// slash are ignored.
    pub(crate) fn is_linked_by(&self, link: &str) -> bool {
        let link = link.trim();
        if link.is_empty() || link.starts_with('#') {
            return false;
        }
        self.address.join(link).is_ok_and(|url| self.is_at(&url))
    }

    /// Whether a link leads to another page.
    pub(super) fn is_left_by(&self, link: &str) -> bool {
        self.address.join(link.trim()).is_ok_and(|url| !self.is_at(&url))
    }

    fn is_at(&self, url: &Url) -> bool {
        let is_same = |other: &Url| significant_parts(other) == significant_parts(url);
        is_same(self.address) || self.canonical.as_ref().is_some_and(is_same)
    }

    /// Returns the length in characters of a name that a title contains. Names of less than three
    /// characters may be in a title by accident.
    pub(super) fn matched_title_length(&self, name: &str) -> Option<usize> {
        let name = name.trim().to_lowercase();
        let length = name.chars().count();
        (length >= 3 && self.titles.iter().any(|title| title.contains(&name))).then_some(length)
    }
}

fn significant_parts(url: &Url) -> (&str, &str, Option<&str>) {
    let host = url.host_str().unwrap_or_default();
    (host.strip_prefix("www.").unwrap_or(host), url.path().trim_end_matches('/'), url.query())
}
