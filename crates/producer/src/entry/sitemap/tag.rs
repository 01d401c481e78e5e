//! What an XML event means for a sitemap or a feed.

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, ResolveResult};

/// A start tag.
pub(super) struct Tag {
    /// Without its prefix.
    pub(super) name: String,
    pub(super) namespace: String,
    attributes: Vec<(String, String)>,
}

/// What an event means.
pub(super) enum Step {
    Ignored,
    Open(Tag),
    Close,
    Text(String),
    End,
}

impl Tag {
    /// The value of an attribute by its name with its prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
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
fn read_attributes(start: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut attributes = start.attributes();
    let readable = attributes.with_checks(false).flatten();
    readable.map(|attribute| (attribute.key.0.to_owned(), unescape(&attribute.value))).collect()
}

pub(super) fn interpret(event: Event<'_>, resolver: &NamespaceResolver) -> Step {
    match event {
        Event::Start(start) => Step::Open(Tag::of(&start, resolver)),
        Event::End(_) => Step::Close,
        Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
        Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
        Event::GeneralRef(reference) => Step::Text(resolve(&reference)),
        Event::Eof => Step::End,
        _ => Step::Ignored,
    }
}

/// Resolves a character reference or a predefined entity. Any other reference stays as it is, since
/// many sites do not escape the query of a URL.
fn resolve(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = reference.xml10_content();
    resolve_xml_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned)
}

/// Resolves the references in an attribute, as [`resolve`] does in text.
fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        // No further: a value of ampersands would be searched to its end for each one.
        let end = rest.bytes().take("&#x10ffff;".len()).position(|byte| byte == b';');
        let resolved = end.and_then(|end| {
            let name = &rest[1..end];
            let character = BytesRef::new(name).resolve_char_ref().ok().flatten();
            let character = character.map(String::from);
            character.or_else(|| resolve_xml_entity(name).map(str::to_owned))
        });
        match (resolved, end) {
            (Some(resolved), Some(end)) => {
                text.push_str(&resolved);
                rest = &rest[end + 1..];
            }
            _ => {
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    text + rest
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
            assert_eq!(unescape(value), expected, "{value}");
        }
        let many = "&".repeat(1 << 20);
        assert!(unescape(&many) == many);
    }
}
