//! The URL of an entry: which of its elements holds it, and when the page changed.

use encoding_rs::Encoding;
use fetchline_queue::MAX_URL_BYTES;
use time::OffsetDateTime;

use super::last_modified;
use super::reference::{Base, is_absolute};
use super::shape::Shape;
use super::tag::Tag;
use crate::text::{display_name, may_be_utf_8};

/// The namespace of the fields that merchants add to feeds.
const MERCHANT: &str = "http://base.google.com/ns/1.0";

/// What a sitemap, an index or a feed points to.
#[derive(Debug)]
pub(super) struct Location {
    /// The line in which the element of the URL begins.
    pub(super) line: u64,
    /// The URL as it was given.
    pub(super) given: String,
    /// The absolute URL, or why there is none.
    pub(super) url: Result<String, String>,
    /// When the page changed, if that is known.
    pub(super) modified: Option<OffsetDateTime>,
}

impl Location {
    /// A `loc` that belongs to no entry.
    pub(super) fn outside(shape: Shape, line: u64) -> Self {
        let reason = format!("a <loc> stands outside of a <{}>", shape.entry());
        Self { line, given: String::new(), url: Err(reason), modified: None }
    }
}

/// An element that may hold the URL of its entry. The smaller one is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Link,
    /// An alternative that is no page.
    OtherType,
    Merchant,
    /// The identity of the entry, which is a URL.
    Permalink,
}

/// What the text of an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Url(Rank),
    Modified,
}

/// An element whose text is being read.
pub(super) struct Field {
    role: Role,
    line: u64,
    text: String,
    pub(super) is_too_long: bool,
    /// Why the text is not the whole URL.
    problem: Option<String>,
}

/// An entry whose element is open.
pub(super) struct OpenEntry {
    shape: Shape,
    line: u64,
    namespace: String,
    encoding: &'static Encoding,
    urls: Vec<(Rank, Location)>,
    modified: Option<OffsetDateTime>,
}

impl Field {
    fn new(role: Role, line: u64) -> Self {
        Self { role, line, text: String::new(), is_too_long: false, problem: None }
    }

    /// Notes that an element stands in the text, so that it is unclear what the URL is.
    pub(super) fn note_element(&mut self, name: &str) {
        let problem = || format!("it contains an element <{name:.50}>");
        self.problem.get_or_insert_with(problem);
    }

    /// Notes a reference in the text that cannot be resolved.
    pub(super) fn note_unresolved(&mut self, reference: &str) {
        let problem = || {
            format!("XML has no entity `{reference:.50}`; write the character, or &amp; for a `&`")
        };
        self.problem.get_or_insert_with(problem);
    }

    /// Adds text. White space before it is dropped, so that it does not count.
    pub(super) fn push(&mut self, text: &str) {
        let text = if self.text.is_empty() { text.trim_start() } else { text };
        // The beginning of an overlong URL may be a valid URL, but it is another one.
        self.is_too_long |= self.text.len() + text.trim_end().len() > MAX_URL_BYTES;
        if self.is_too_long {
            self.text.clear();
        } else {
            self.text.push_str(text);
        }
    }
}

impl OpenEntry {
    pub(super) fn new(shape: Shape, line: u64, tag: &Tag, encoding: &'static Encoding) -> Self {
        let namespace = tag.namespace.clone();
        let mut entry = Self { shape, line, namespace, encoding, urls: Vec::new(), modified: None };
        if let Some(about) = tag.attribute("rdf:about").filter(|_| shape == Shape::Rdf) {
            let unresolved = tag.unresolved("rdf:about");
            entry.add_attribute(Rank::Permalink, line, (about, unresolved), &Base::Unknown);
        }
        entry
    }

    /// The field of a direct child, if its text means something. The text of an Atom link is an
    /// attribute, and is added at once.
    pub(super) fn open_field(&mut self, tag: &Tag, line: u64, base: &Base) -> Option<Field> {
        // Images, videos, news and other languages have namespaces of their own.
        let is_own = tag.namespace == self.namespace;
        let role = match (self.shape, tag.name.as_str()) {
            (Shape::UrlSet | Shape::Index, "loc") if is_own => Role::Url(Rank::Link),
            (Shape::UrlSet | Shape::Index, "lastmod") if is_own => Role::Modified,
            (Shape::UrlSet | Shape::Index, _) => return None,
            (_, "link") if is_own => match (tag.attribute("href"), link_rank(tag)?) {
                (Some(href), rank) => {
                    let unresolved = tag.unresolved("href").or(tag.unresolved("xml:base"));
                    self.add_attribute(rank, line, (href, unresolved), base);
                    return None;
                }
                (None, rank) => Role::Url(rank),
            },
            (_, "link") if tag.namespace == MERCHANT || tag.namespace == "g" => {
                Role::Url(Rank::Merchant)
            }
            (Shape::Rss, "guid") if is_own && is_permalink(tag) => Role::Url(Rank::Permalink),
            // `date` and `modified` are those of Dublin Core as well.
            (_, "pubDate" | "date" | "updated" | "modified" | "published" | "issued") => {
                Role::Modified
            }
            _ => return None,
        };
        Some(Field::new(role, line))
    }

    /// Adds the URL of an attribute, and a reference in it that cannot be resolved.
    fn add_attribute(
        &mut self,
        rank: Rank,
        line: u64,
        (text, unresolved): (&str, Option<&str>),
        base: &Base,
    ) {
        let mut field = Field::new(Role::Url(rank), line);
        field.push(text);
        if let Some(reference) = unresolved {
            field.note_unresolved(reference);
        }
        self.close_field(field, base);
    }

    /// Takes in the text of a field.
    pub(super) fn close_field(&mut self, field: Field, base: &Base) {
        let Field { role, line, text, is_too_long, problem } = field;
        let given = text.trim().to_owned();
        let rank = match role {
            Role::Modified => {
                self.modified = self.modified.max(last_modified::parse(&given));
                return;
            }
            Role::Url(rank) => rank,
        };
        let is_feed = self.shape.is_feed();
        if is_feed && given.is_empty() && !is_too_long && problem.is_none()
            || rank == Rank::Permalink && !is_absolute(&given)
        {
            return;
        }
        let url = if let Some(problem) = problem {
            Err(format!("the URL is not usable: {problem}"))
        } else if is_too_long {
            Err(format!("the URL is not usable: it has more than {MAX_URL_BYTES} bytes"))
        } else if given.contains('\u{fffd}') {
            let name = display_name(self.encoding);
            Err(format!("the URL is not usable: it holds bytes that are not valid {name}"))
        } else if may_be_utf_8(&given, self.encoding) {
            let name = display_name(self.encoding);
            Err(format!("the URL is not usable: it is UTF-8, and the sitemap declares {name}"))
        } else if is_feed {
            base.resolve(&given)
        } else {
            Ok(given.clone())
        };
        self.urls.push((rank, Location { line, given, url, modified: None }));
    }

    /// The locations of the whole entry.
    pub(super) fn close(self) -> Vec<Location> {
        let (line, name) = (self.line, self.shape.entry());
        let wanted = if self.shape.is_feed() { "link" } else { "<loc>" };
        let missing = format!("the <{name}> has no {wanted}, so it names no page");
        let found = self.close_early();
        if !found.is_empty() {
            return found;
        }
        vec![Location { line, given: String::new(), url: Err(missing), modified: None }]
    }

    /// The locations of an entry that is cut off. One that is whole is not lost.
    pub(super) fn close_early(self) -> Vec<Location> {
        let Self { shape, mut urls, modified, .. } = self;
        if shape.is_feed() {
            // The best ones; of links to the same page in other languages and types, the first.
            let best = urls.iter().map(|(rank, _)| *rank).min();
            urls.retain(|(rank, _)| Some(*rank) == best);
            urls.truncate(if shape == Shape::Atom { 1 } else { urls.len() });
        }
        urls.into_iter().map(|(_, location)| Location { modified, ..location }).collect()
    }
}

/// How well a link leads to the page of its entry; `None` if it leads elsewhere.
fn link_rank(tag: &Tag) -> Option<Rank> {
    let rel = tag.attribute("rel").unwrap_or("alternate").trim();
    // RFC 4287 allows the long form of a relation.
    let rel = rel.strip_prefix("http://www.iana.org/assignments/relation/").unwrap_or(rel);
    if !rel.is_empty() && !rel.eq_ignore_ascii_case("alternate") {
        return None;
    }
    let is_page = tag.attribute("type").is_none_or(|media_type| media_type.contains("html"));
    Some(if is_page { Rank::Link } else { Rank::OtherType })
}

fn is_permalink(tag: &Tag) -> bool {
    tag.attribute("isPermaLink").is_none_or(|value| !value.trim().eq_ignore_ascii_case("false"))
}
