//! Values of attributes.

use lol_html::html_content::Element;

use crate::schema_org::graph::MAX_VALUE;

/// Returns the value of an attribute, truncated, with entities decoded.
pub(super) fn value(element: &Element<'_, '_>, name: &str) -> Option<String> {
    Some(decode(&element.get_attribute(name)?))
}

/// Truncates the value of an attribute and decodes its entities.
pub(crate) fn decode(value: &str) -> String {
    htmlize::unescape_attribute(&value[..value.floor_char_boundary(MAX_VALUE)]).into_owned()
}

/// Returns the attribute with the value of an element that cannot have text.
pub(super) fn of_void_element(tag: &str) -> Option<&'static str> {
    match tag {
        "meta" => Some("content"),
        "link" => Some("href"),
        "img" => Some("src"),
        "input" => Some("value"),
        _ => None,
    }
}
