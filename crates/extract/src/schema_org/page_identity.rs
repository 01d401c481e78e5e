//! What identifies a page: its addresses and titles.

use url::Url;

/// What separates the parts of a title.
const SEPARATORS: [&str; 5] = [" | ", " - ", " – ", " — ", " · "];

/// Identifies a page among the products that it mentions.
#[derive(Debug)]
pub(crate) struct PageIdentity<'a> {
    pub(crate) address: &'a Url,
    pub(crate) canonical: Option<Url>,
    /// In lower case.
    pub(crate) titles: Vec<String>,
    /// Whether the page says that it is an article.
    pub(crate) is_article: bool,
}

/// How much of a name the titles of a page have.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Likeness {
    /// The words of the name that one title has, in any order.
    pub(super) common: usize,
    all: usize,
    /// Whether the name goes on after a part of a title, or there is no title.
    continues: bool,
}

impl Likeness {
    pub(super) fn is_half(self) -> bool {
        self.common * 2 >= self.all
    }

    pub(super) fn is_most(self) -> bool {
        self.common * 2 > self.all && self.common > 1 || self.continues
    }
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

    /// Whether this is the home page of its host.
    pub(super) fn is_home(&self) -> bool {
        self.address.path() == "/" && self.address.query().is_none()
    }

    /// Whether a link leads to another page.
    pub(super) fn is_left_by(&self, link: &str) -> bool {
        self.address.join(link.trim()).is_ok_and(|url| !self.is_at(&url))
    }

    /// Compares a name with the titles. In scripts without spaces, characters count as words do.
    pub(super) fn likeness(&self, name: &str) -> Likeness {
        let name = name.trim().to_lowercase();
        let is_ideographic = name.contains(is_ideograph);
        let with_title = |title: &String| {
            let has: Vec<bool> = match is_ideographic {
                true => {
                    let letters = name.chars().filter(|c| c.is_alphanumeric());
                    letters.map(|c| title.contains(c)).collect()
                }
                false => words(&name).map(|word| words(title).any(|other| other == word)).collect(),
            };
            let is_start = |part: &str| {
                let rest = name.strip_prefix(part.trim()).filter(|_| part.trim().len() >= 4);
                rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            };
            let continues = SEPARATORS.iter().any(|mark| title.split(mark).any(is_start));
            Likeness { common: has.iter().filter(|has| **has).count(), all: has.len(), continues }
        };
        let none = Likeness { continues: true, ..Likeness::default() };
        self.titles.iter().map(with_title).max().unwrap_or(none)
    }

    /// Whether the titles have no word of a name.
    pub(crate) fn is_unlike(&self, name: &str) -> bool {
        let likeness = self.likeness(name);
        likeness.common == 0 && !likeness.continues
    }

    /// Whether a link ends with the same part of a path as the page.
    pub(super) fn has_end_of(&self, link: &str) -> bool {
        fn last(url: &Url) -> Option<&str> {
            url.path().trim_end_matches('/').rsplit('/').next().filter(|part| part.len() >= 3)
        }
        let url = self.address.join(link.trim()).ok();
        url.as_ref().and_then(last).is_some_and(|part| Some(part) == last(self.address))
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

/// The words of a text in lower case.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether a character is of a script without spaces between words.
fn is_ideograph(c: char) -> bool {
    c >= '\u{2e80}'
}

fn significant_parts(url: &Url) -> (&str, &str, Option<&str>) {
    let host = url.host_str().unwrap_or_default();
    (host.strip_prefix("www.").unwrap_or(host), url.path().trim_end_matches('/'), url.query())
}
