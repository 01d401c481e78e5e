//! What the attributes of an element tell.

use lol_html::html_content::Element;

use crate::items::{self, MAX_NAMES, MAX_VALUE};

/// Properties whose value is where an `a` element leads, not what it says.
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

/// What an element tells of schema.org's vocabulary.
pub(crate) struct Told {
    /// The properties of the thing around it.
    pub(crate) properties: Vec<String>,
    /// The types and the id of the thing that it is itself.
    pub(crate) thing: Option<(Vec<String>, Option<String>)>,
    /// Its value where an attribute holds that.
    pub(crate) value: Option<String>,
}

/// How an element tells things.
#[derive(Clone, Copy)]
pub(crate) enum Syntax {
    /// `itemscope`, `itemtype`, `itemid`, `itemprop`.
    Microdata,
    /// RDFa Lite: `typeof`, `resource`, `property`.
    Rdfa,
}

/// Reads the attributes of an element that has some of the syntax.
pub(crate) fn told(element: &Element<'_, '_>, syntax: Syntax) -> Told {
    let (thing, types, id, properties) = match syntax {
        Syntax::Microdata => ("itemscope", "itemtype", "itemid", "itemprop"),
        Syntax::Rdfa => ("typeof", "typeof", "resource", "property"),
    };
    let names = |attribute: &str| -> Vec<String> {
        let text = get(element, attribute).unwrap_or_default();
        let names = text.split_whitespace().filter(|name| is_of_schema_org(name));
        names.map(|name| items::last_part(name).to_owned()).take(MAX_NAMES).collect()
    };
    let properties = names(properties);
    let value = value(element, &properties);
    let thing = element.has_attribute(thing).then(|| (names(types), get(element, id)));
    Told { properties, thing, value }
}

/// An attribute's value, cut where it is too long, entities decoded.
pub(crate) fn get(element: &Element<'_, '_>, name: &str) -> Option<String> {
    Some(decoded(&element.get_attribute(name)?))
}

/// A value as it stands in a page, cut where it is too long, entities decoded.
pub(crate) fn decoded(value: &str) -> String {
    htmlize::unescape_attribute(&value[..value.floor_char_boundary(MAX_VALUE)]).into_owned()
}

/// Where an element that has no text holds its value.
pub(crate) fn of_void(tag: &str) -> Option<&'static str> {
    match tag {
        "meta" => Some("content"),
        "link" => Some("href"),
        "img" => Some("src"),
        "input" => Some("value"),
        _ => None,
    }
}

/// Names without a prefix, or with one of schema.org: not OpenGraph's, which share the attribute with RDFa.
fn is_of_schema_org(name: &str) -> bool {
    let Some((prefix, rest)) = name.split_once(':') else { return true };
    let vocabulary = rest.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
    prefix.eq_ignore_ascii_case("schema")
        || matches!(vocabulary.trim_start_matches("www."), "schema.org" | "data-vocabulary.org")
}

fn value(element: &Element<'_, '_>, properties: &[String]) -> Option<String> {
    if properties.is_empty() {
        return None;
    }
    if let Some(content) = get(element, "content").filter(|content| !content.trim().is_empty()) {
        return Some(content);
    }
    let tag = element.tag_name();
    let leads = || properties.iter().any(|property| LINKS.contains(&property.as_str()));
    let attribute = match tag.as_str() {
        "audio" | "embed" | "iframe" | "source" | "track" | "video" => "src",
        "object" => "data",
        "data" | "meter" => "value",
        "time" => "datetime",
        "a" | "area" if leads() => "href",
        _ => of_void(&tag)?,
    };
    get(element, attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_vocabularies_are_left_out() {
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
