//! The microdata or RDFa attributes of an element.

use lol_html::html_content::Element;

use super::attributes;
use crate::schema_org::graph::{self, MAX_NAMES};

/// Properties whose value is the target of an `a` element, not its text.
const LINKS: [&str; 10] = [
    "availability",
    "contentUrl",
    "id",
    "image",
    "item",
    "itemCondition",
    "mainEntityOfPage",
    "sameAs",
    "thumbnailUrl",
    "url",
];

/// Ids that one `itemref` may have.
const MAX_REFERENCES: usize = 16;

/// How an element is annotated.
#[derive(Clone, Copy)]
pub(super) enum Syntax {
    /// `itemscope`, `itemtype`, `itemid`, `itemprop`.
    Microdata,
    /// RDFa Lite: `typeof`, `resource`, `property`.
    Rdfa,
}

/// What an element says in the vocabulary of schema.org.
#[derive(Default)]
pub(super) struct Annotation {
    /// The properties of the surrounding node that the element is a value of.
    pub(super) properties: Vec<String>,
    /// The types and the id of the node that the element is.
    pub(super) node: Option<(Vec<String>, Option<String>)>,
    /// The value, if an attribute has it.
    pub(super) value: Option<String>,
    /// The `id` of the element, and the ids of the elements that belong to its node as well.
    pub(super) id: Option<String>,
    pub(super) references: Vec<String>,
}

impl Annotation {
    /// Reads the attributes of an element.
    pub(super) fn read(element: &Element<'_, '_>, syntax: Syntax) -> Self {
        let (scope, types, id, properties) = match syntax {
            Syntax::Microdata => ("itemscope", "itemtype", "itemid", "itemprop"),
            Syntax::Rdfa => ("typeof", "typeof", "resource", "property"),
        };
        let names = |attribute: &str| -> Vec<String> {
            let text = attributes::value(element, attribute).unwrap_or_default();
            let names = text.split_whitespace().filter(|name| is_of_schema_org(name));
            names.map(|name| graph::local_name(name).to_owned()).take(MAX_NAMES).collect()
        };
        let properties = names(properties);
        let value = value(element, &properties);
        let node =
            element.has_attribute(scope).then(|| (names(types), attributes::value(element, id)));
        let (id, references) = match syntax {
            Syntax::Microdata if element.has_attribute(scope) => {
                let ids = attributes::value(element, "itemref").unwrap_or_default();
                let ids = ids.split_whitespace().take(MAX_REFERENCES).map(str::to_owned).collect();
                (attributes::value(element, "id"), ids)
            }
            Syntax::Microdata => (attributes::value(element, "id"), Vec::new()),
            Syntax::Rdfa => (None, Vec::new()),
        };
        Self { properties, node, value, id, references }
    }
}

/// Whether a name has no prefix, or one of schema.org. OpenGraph shares an attribute with RDFa.
fn is_of_schema_org(name: &str) -> bool {
    let Some((prefix, rest)) = name.split_once(':') else { return true };
    let vocabulary =
        rest.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
    prefix.eq_ignore_ascii_case("schema")
        || matches!(vocabulary.trim_start_matches("www."), "schema.org" | "data-vocabulary.org")
}

/// Returns the value that an attribute has, for an element with properties.
fn value(element: &Element<'_, '_>, properties: &[String]) -> Option<String> {
    if properties.is_empty() {
        return None;
    }
    let content = attributes::value(element, "content");
    if let Some(content) = content.filter(|content| !content.trim().is_empty()) {
        return Some(content);
    }
    let tag = element.tag_name();
    let is_link = || {
        let is_any =
            |property: &String| LINKS.iter().any(|link| link.eq_ignore_ascii_case(property));
        properties.iter().any(is_any)
    };
    let attribute = match tag.as_str() {
        "audio" | "embed" | "iframe" | "source" | "track" | "video" => "src",
        "object" => "data",
        "data" | "meter" => "value",
        "time" => "datetime",
        "a" | "area" if is_link() => "href",
        _ => attributes::of_void_element(&tag)?,
    };
    attributes::value(element, attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_vocabularies_are_ignored() {
        for (name, expected) in [
            ("Product", true),
            ("schema:Product", true),
            ("Schema:Product", true),
            ("//schema.org/Product", true),
            ("http://schema.org/Product", true),
            ("https://Schema.org/Product", true),
            ("HTTP://www.schema.org/Product", true),
            ("http://data-vocabulary.org/Product", true),
            ("http://example.org/schema.org/Product", false),
            ("http://notschema.org/Product", false),
            ("og:title", false),
        ] {
            assert_eq!(is_of_schema_org(name), expected, "{name}");
        }
    }
}
