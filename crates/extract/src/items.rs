//! Things of schema.org's vocabulary with their properties, whatever syntax told them.

use std::collections::HashMap;

/// How many things of a page are looked at. A product page tells some tens.
const MAX_ITEMS: usize = 5_000;

/// How many values a thing's properties may have in all. A group's variants are such values.
const MAX_VALUES: usize = 300;

/// How many types a thing may have, and how many properties one element may tell.
pub(crate) const MAX_NAMES: usize = 8;

/// Bytes of the name of a type or of a property; a longer one is none of the vocabulary's.
const MAX_NAME: usize = 64;

/// Bytes of an `@id`. A longer one is left out: cut, it could be another thing's.
const MAX_ID: usize = 2 * 1024;

/// Bytes of a value, cut where it is longer. Descriptions are, and nobody asks for them.
pub(crate) const MAX_VALUE: usize = 4 * 1024;

/// Bytes that the things of a page may take in memory.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a thing or a value takes beside its texts: itself, in a vector that has grown to twice its length, and what the
/// allocator adds to each text.
const OVERHEAD: usize = 200;

/// The things of a page, in the order in which they begin.
#[derive(Debug, Default)]
pub(crate) struct Items {
    list: Vec<Item>,
    /// By `@id`, the first thing of that id that has properties.
    by_id: HashMap<String, usize>,
    /// Bytes that they take so far.
    bytes: usize,
}

/// A thing.
#[derive(Debug)]
struct Item {
    /// Without the vocabulary: `Product`.
    types: Vec<String>,
    id: Option<String>,
    /// In page order; a name may come several times.
    properties: Vec<(String, Value)>,
    /// The thing that this one stands in, and the property whose value it is.
    parent: Option<(usize, String)>,
}

/// The value of a property.
#[derive(Debug)]
pub(crate) enum Value {
    /// From a field for machines: JSON, or an attribute.
    Exact(String),
    /// From text for people.
    Shown(String),
    /// A thing, by its place.
    Item(usize),
}

impl Value {
    /// Its text, where it is one that is not blank.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Exact(text) | Self::Shown(text) => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
            Self::Item(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Exact(text) | Self::Shown(text) => text.len(),
            Self::Item(_) => 0,
        }
    }

    fn cut(mut self) -> Self {
        if let Self::Exact(text) | Self::Shown(text) = &mut self {
            text.truncate(text.floor_char_boundary(MAX_VALUE));
            // What was cut off is given back.
            text.shrink_to_fit();
        }
        self
    }
}

impl Items {
    /// Adds a thing, as the value of a property of its parent where it has one. `None` when there are too many.
    pub(crate) fn add(
        &mut self,
        mut types: Vec<String>,
        id: Option<String>,
        parent: Option<(usize, &str)>,
    ) -> Option<usize> {
        types.retain(|name| name.len() <= MAX_NAME);
        types.truncate(MAX_NAMES);
        let id = id.filter(|id| id.len() <= MAX_ID);
        let parent = parent.filter(|(_, property)| property.len() <= MAX_NAME);
        let at = self.list.len();
        // The id is kept twice.
        let texts = types.iter().map(String::len).sum::<usize>() + 2 * id.as_ref().map_or(0, String::len);
        if at == MAX_ITEMS || !self.take(OVERHEAD * (1 + types.len()) + texts) {
            return None;
        }
        let owned = parent.map(|(parent, property)| (parent, property.to_owned()));
        self.list.push(Item { types, id, properties: Vec::new(), parent: owned });
        if let Some((parent, property)) = parent {
            self.set(parent, property, Value::Item(at));
        }
        Some(at)
    }

    /// Adds a property's value, unless there are too many, or they are too large.
    pub(crate) fn set(&mut self, item: usize, property: &str, value: Value) {
        let value = value.cut();
        let is_full = self.list.get(item).is_none_or(|found| found.properties.len() == MAX_VALUES);
        if is_full || property.len() > MAX_NAME || !self.take(OVERHEAD + property.len() + value.len()) {
            return;
        }
        let item = self.merged(item);
        let found = &mut self.list[item];
        if found.properties.is_empty()
            && let Some(id) = &found.id
        {
            self.by_id.entry(id.clone()).or_insert(item);
        }
        found.properties.push((property.to_owned(), value));
    }

    /// The thing that is told by all of one id: the first one that has properties, where their types have one in common.
    /// Sites give one id to unlike things.
    fn merged(&mut self, item: usize) -> usize {
        let Item { types, id, properties, .. } = &self.list[item];
        let first = id.as_ref().filter(|_| properties.is_empty()).and_then(|id| self.by_id.get(id).copied());
        let Some(first) = first.filter(|&first| first != item) else { return item };
        let known = &self.list[first];
        let are_alike =
            types.is_empty() || known.types.is_empty() || types.iter().any(|name| known.types.contains(name));
        if !are_alike || known.properties.len() == MAX_VALUES {
            return item;
        }
        let more: Vec<String> = types.iter().filter(|name| !known.types.contains(name)).cloned().collect();
        let types = &mut self.list[first].types;
        types.extend(more);
        types.truncate(MAX_NAMES);
        first
    }

    /// Whether there is room for so many bytes more, which is taken then.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_BYTES;
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// The places of all things.
    pub(crate) fn all(&self) -> impl Iterator<Item = usize> {
        0..self.list.len()
    }

    /// Whether the thing has one of the types, in small letters or large ones.
    pub(crate) fn is_a(&self, item: usize, types: &[&str]) -> bool {
        self.list[item].types.iter().any(|own| types.iter().any(|name| name.eq_ignore_ascii_case(own)))
    }

    /// Whether the thing has the property.
    pub(crate) fn has(&self, item: usize, property: &str) -> bool {
        self.values(item, property).next().is_some()
    }

    /// The thing's `@id`.
    pub(crate) fn id(&self, item: usize) -> Option<&str> {
        self.list[item].id.as_deref()
    }

    /// The values of a property, in page order.
    pub(crate) fn values<'a>(&'a self, item: usize, property: &str) -> impl Iterator<Item = &'a Value> {
        self.list[item].properties.iter().filter(move |(name, _)| name == property).map(|(_, value)| value)
    }

    /// The things that are values of a property.
    pub(crate) fn children(&self, item: usize, property: &str) -> impl Iterator<Item = usize> {
        self.values(item, property).filter_map(|value| match value {
            Value::Item(at) => Some(self.resolve(*at)),
            Value::Exact(_) | Value::Shown(_) => None,
        })
    }

    /// The first text of the first of the properties that has one. A thing's text is its name.
    pub(crate) fn text(&self, item: usize, properties: &[&str]) -> Option<&str> {
        let name = |thing: usize| self.values(self.resolve(thing), "name").find_map(Value::text);
        properties.iter().find_map(|property| {
            self.values(item, property).find_map(|value| match value {
                Value::Item(at) => name(*at),
                value => value.text(),
            })
        })
    }

    /// The first text of a property, or the `@id` of the thing that is its value.
    pub(crate) fn text_or_id(&self, item: usize, property: &str) -> Option<&str> {
        self.values(item, property).find_map(|value| match value {
            Value::Item(at) => self.id(*at),
            value => value.text(),
        })
    }

    /// The links by which a thing hangs on others, from itself outwards: the property, and the thing that has it.
    pub(crate) fn ancestors(&self, item: usize) -> impl Iterator<Item = (&str, usize)> {
        // A parent begins before its children, so this ends.
        std::iter::successors(self.list[item].parent.as_ref(), |(parent, _)| self.list[*parent].parent.as_ref())
            .map(|(parent, property)| (property.as_str(), *parent))
    }

    /// The things that say that they are variants of a group: by a reference to it, or by its number.
    pub(crate) fn variants(&self, group: usize) -> impl Iterator<Item = usize> {
        let number = self.text(group, &["productGroupID"]).filter(|_| self.is_a(group, &["ProductGroup"]));
        self.all().filter(move |&item| {
            self.children(item, "isVariantOf").any(|of| of == group)
                || number.is_some() && self.text(item, &["inProductGroupWithID"]) == number
        })
    }

    /// Whether a thing stands for another one that is told elsewhere.
    pub(crate) fn is_reference(&self, item: usize) -> bool {
        self.resolve(item) != item
    }

    /// What a thing that is but an `@id` stands for.
    pub(crate) fn resolve(&self, item: usize) -> usize {
        let found = &self.list[item];
        match &found.id {
            Some(id) if found.properties.is_empty() => self.by_id.get(id).copied().unwrap_or(item),
            _ => item,
        }
    }
}

/// A name of the vocabulary without the vocabulary: `Product` of `https://schema.org/Product` and `schema:Product`.
pub(crate) fn last_part(name: &str) -> &str {
    name.trim().trim_end_matches('/').rsplit(['/', '#', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_vocabulary() {
        for (name, expected) in [
            ("Product", "Product"),
            ("https://schema.org/Product", "Product"),
            (" http://schema.org/Product/ ", "Product"),
            ("schema:Product", "Product"),
            ("http://example.org/terms#Product", "Product"),
            ("", ""),
        ] {
            assert_eq!(last_part(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_reference_stands_for_the_thing_of_that_id() {
        let mut items = Items::default();
        let page = items.add(Vec::new(), None, None).unwrap();
        items.add(Vec::new(), Some("#p".into()), Some((page, "mainEntity"))).unwrap();
        let product = items.add(vec!["Product".into()], Some("#p".into()), None).unwrap();
        items.set(product, "name", Value::Exact("Tea".into()));
        assert_eq!(items.children(page, "mainEntity").collect::<Vec<_>>(), [product]);
        assert_eq!(items.text(page, &["mainEntity"]), Some("Tea"));
    }

    #[test]
    fn things_of_one_id_are_one_unless_they_are_unlike() {
        let mut items = Items::default();
        let mut add = |kind: &str, property: &str, value: &str| {
            let thing = items.add(vec![kind.to_owned()], Some("#p".into()), None).unwrap();
            items.set(thing, property, Value::Exact(value.to_owned()));
            thing
        };
        let product = add("Product", "name", "Tea");
        let again = add("Product", "sku", "1");
        let page = add("WebPage", "name", "Tea | Shop");
        assert_eq!((items.text(product, &["name"]), items.text(product, &["sku"])), (Some("Tea"), Some("1")));
        assert!(items.is_reference(again) && !items.is_reference(page));
        assert_eq!(items.text(page, &["name"]), Some("Tea | Shop"));
    }

    #[test]
    fn the_first_value_that_is_not_blank_counts() {
        let mut items = Items::default();
        let thing = items.add(Vec::new(), None, None).unwrap();
        let inner = items.add(Vec::new(), None, Some((thing, "a"))).unwrap();
        items.set(inner, "name", Value::Shown(" ".into()));
        items.set(thing, "a", Value::Exact("".into()));
        items.set(thing, "a", Value::Shown("x".into()));
        assert_eq!((items.text(thing, &["b", "a"]), items.text_or_id(thing, "a")), (Some("x"), Some("x")));
    }

    #[test]
    fn things_beyond_the_limit_are_not_added() {
        let mut items = Items::default();
        for _ in 0..MAX_ITEMS {
            assert!(items.add(Vec::new(), None, None).is_some());
        }
        assert_eq!(items.add(Vec::new(), None, Some((0, "a"))), None);
        assert!(!items.has(0, "a"));
    }

    #[test]
    fn names_and_values_have_their_limits() {
        let mut items = Items::default();
        let types = std::iter::once("x".repeat(MAX_NAME + 1)).chain((0..20).map(|n| n.to_string())).collect();
        let thing = items.add(types, Some("x".repeat(MAX_ID + 1)), None).unwrap();
        assert!(items.is_a(thing, &["7"]) && !items.is_a(thing, &["8"]));
        assert_eq!(items.id(thing), None);
        items.set(thing, "a", Value::Exact("ä".repeat(MAX_VALUE)));
        assert_eq!(items.text(thing, &["a"]).map(str::len), Some(MAX_VALUE));
        items.set(thing, &"b".repeat(MAX_NAME + 1), Value::Exact("x".to_owned()));
        assert!(!items.has(thing, &"b".repeat(MAX_NAME + 1)));
    }

    #[test]
    fn values_beyond_the_bytes_of_a_page_are_not_added() {
        let mut items = Items::default();
        for thing in 0..MAX_ITEMS {
            items.add(Vec::new(), None, None);
            items.set(thing, "a", Value::Exact("x".repeat(MAX_VALUE)));
        }
        let kept: usize = items.all().filter_map(|thing| items.text(thing, &["a"])).map(str::len).sum();
        assert!((MAX_BYTES / 2..MAX_BYTES).contains(&kept), "{kept}");
    }
}
