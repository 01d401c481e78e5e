//! What an XML event means for a sitemap or a feed.

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, ResolveResult};

/// The longest reference in an attribute; no entity of HTML has a longer name.
const MAX_REFERENCE_BYTES: usize = "&CounterClockwiseContourIntegral;".len();

/// A start tag.
pub(super) struct Tag {
    /// Without its prefix.
    pub(super) name: String,
    pub(super) namespace: String,
    attributes: Vec<Attribute>,
}

struct Attribute {
    /// With its prefix.
    name: String,
    value: String,
    /// The first reference that cannot be resolved.
    unresolved: Option<String>,
}

/// What an event means.
pub(super) enum Step {
    Ignored,
    Open(Tag),
    Close,
    Text(String),
    /// A reference that cannot be resolved, such as `&eacute;`, which only HTML knows.
    Unresolved(String),
    End,
}

impl Tag {
    /// The value of an attribute by its name with its prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.find(name).map(|attribute| attribute.value.as_str())
    }

    /// The first reference in an attribute that cannot be resolved.
    pub(super) fn unresolved(&self, name: &str) -> Option<&str> {
        self.find(name)?.unresolved.as_deref()
    }

    fn find(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn of(start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Self {
        let (namespace, name) = resolver.resolve_element(start.name());
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => namespace.0.to_owned(),
            ResolveResult::Unbound => String::new(),
            // Many sites forget to declare a prefix.
            ResolveResult::Unknown(prefix) => prefix,
        };
        let name = name.into_inner().to_owned();
        let attributes = match start.attributes_raw().is_empty() {
            true => Vec::new(),
            false => read_attributes(start),
        };
        Self { name, namespace, attributes }
    }
}

/// The attributes that can be read. A damaged one affects no other.
fn read_attributes(start: &BytesStart<'_>) -> Vec<Attribute> {
    let mut attributes = start.attributes();
    let readable = attributes.with_checks(false).flatten();
    let read = |attribute: quick_xml::events::attributes::Attribute<'_>| {
        let (value, unresolved) = unescape(&attribute.value);
        Attribute { name: attribute.key.0.to_owned(), value, unresolved }
    };
    readable.map(read).collect()
}

pub(super) fn interpret(event: Event<'_>, resolver: &NamespaceResolver) -> Step {
    match event {
        Event::Start(start) => Step::Open(Tag::of(&start, resolver)),
        Event::End(_) => Step::Close,
        Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
        Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
        Event::GeneralRef(reference) => resolve(&reference),
        Event::Eof => Step::End,
        _ => Step::Ignored,
    }
}

/// Resolves a character reference or a predefined entity. What cannot be a reference stays as it
/// is, since many sites do not escape the query of a URL.
fn resolve(reference: &BytesRef<'_>) -> Step {
    let name = reference.xml10_content();
    match resolve_name(&name) {
        Some(text) => Step::Text(text),
        None if is_reference(&name) => Step::Unresolved(format!("&{name};")),
        None => Step::Text(format!("&{name};")),
    }
}

fn resolve_name(name: &str) -> Option<String> {
    let character = BytesRef::new(name).resolve_char_ref().ok().flatten();
    character.map(String::from).or_else(|| resolve_xml_entity(name).map(str::to_owned))
}

/// Whether a text between `&` and `;` is the name of an entity or a number.
fn is_reference(name: &str) -> bool {
    let name = name.strip_prefix('#').unwrap_or(name);
    !name.is_empty() && name.chars().all(char::is_alphanumeric)
}

/// Resolves the references in an attribute, as [`resolve`] does in text. The second value is the
/// first one that cannot be resolved.
fn unescape(value: &str) -> (String, Option<String>) {
    let mut text = String::with_capacity(value.len());
    let mut unresolved = None;
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        // No further: a value of ampersands would be searched to its end for each one.
        let end = rest.bytes().take(MAX_REFERENCE_BYTES).position(|byte| byte == b';');
        let name = end.map(|end| &rest[1..end]);
        match (name.and_then(resolve_name), end) {
            (Some(resolved), Some(end)) => {
                text.push_str(&resolved);
                rest = &rest[end + 1..];
            }
            _ => {
                let name = name.filter(|name| is_reference(name));
                unresolved = unresolved.or_else(|| name.map(|name| format!("&{name};")));
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    (text + rest, unresolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_attributes_are_resolved_and_bare_ampersands_stay() {
        for (value, expected) in [
            ("/?a=1&amp;b=2", "/?a=1&b=2"),
            ("/?a=1&b=2;c", "/?a=1&b=2;c"),
            ("&#x2f;&#47;&lt;", "//<"),
            ("&amp;amp;", "&amp;"),
            ("&&amp;&copy;&", "&&&copy;&"),
            ("&#0;&#x110000;&#xD800;", "&#0;&#x110000;&#xD800;"),
            ("\u{e9}&\u{e9};", "\u{e9}&\u{e9};"),
        ] {
            assert_eq!(unescape(value).0, expected, "{value}");
        }
        let many = "&".repeat(1 << 20);
        assert!(unescape(&many) == (many, None));
        for (value, unresolved) in [
            ("/th&eacute;?a=1&b=2;c", Some("&eacute;")),
            ("/&#0;", Some("&#0;")),
            ("/?a=1&amp;b=2;c&;", None),
        ] {
            assert_eq!(unescape(value).1.as_deref(), unresolved, "{value}");
        }
    }
}
