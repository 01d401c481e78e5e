//! Things of schema.org's vocabulary with their properties, whatever syntax told them.

use std::collections::HashMap;

/// How many things of a page are looked at. A product page tells some tens.
const MAX_ITEMS: usize = 5_000;

/// How many values a thing's properties may have in all. A group's variants are such values.
const MAX_VALUES: usize = 2_000;

/// The things of a page, in the order in which they begin.
#[derive(Debug, Default)]
pub(crate) struct Items {
    list: Vec<Item>,
    /// By `@id`, the first thing of that id that has properties.
    by_id: HashMap<String, usize>,
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

impl Items {
    /// Adds a thing, as the value of a property of its parent where it has one. `None` when there are too many.
    pub(crate) fn add(
        &mut self,
        types: Vec<String>,
        id: Option<String>,
        parent: Option<(usize, &str)>,
    ) -> Option<usize> {
        let at = self.list.len();
        if at == MAX_ITEMS {
            return None;
        }
        let owned = parent.map(|(parent, property)| (parent, property.to_owned()));
        self.list.push(Item { types, id, properties: Vec::new(), parent: owned });
        if let Some((parent, property)) = parent {
            self.set(parent, property, Value::Item(at));
        }
        Some(at)
    }

    /// Adds a property's value.
    pub(crate) fn set(&mut self, item: usize, property: &str, value: Value) {
        let Some(found) = self.list.get_mut(item).filter(|found| found.properties.len() < MAX_VALUES) else { return };
        if found.properties.is_empty()
            && let Some(id) = &found.id
        {
            self.by_id.entry(id.clone()).or_insert(item);
        }
        found.properties.push((property.to_owned(), value));
    }

    /// The places of all things.
    pub(crate) fn all(&self) -> impl Iterator<Item = usize> {
        0..self.list.len()
    }

    /// Whether the thing has one of the types.
    pub(crate) fn is_a(&self, item: usize, types: &[&str]) -> bool {
        self.list[item].types.iter().any(|own| types.contains(&own.as_str()))
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
        properties.iter().find_map(|property| {
            self.values(item, property)
                .find_map(|value| match value {
                    Value::Exact(text) | Value::Shown(text) => Some(text.as_str()),
                    Value::Item(at) => self.values(self.resolve(*at), "name").find_map(|value| match value {
                        Value::Exact(text) | Value::Shown(text) => Some(text.as_str()),
                        Value::Item(_) => None,
                    }),
                })
                .filter(|text| !text.trim().is_empty())
        })
    }

    /// The first text of a property, or the `@id` of the thing that is its value.
    pub(crate) fn text_or_id(&self, item: usize, property: &str) -> Option<&str> {
        self.values(item, property).find_map(|value| match value {
            Value::Exact(text) | Value::Shown(text) => Some(text.as_str()),
            Value::Item(at) => self.id(*at),
        })
    }

    /// The links by which a thing hangs on others, from itself outwards: the property, and the thing that has it.
    pub(crate) fn ancestors(&self, item: usize) -> impl Iterator<Item = (&str, usize)> {
        // A parent begins before its children, so this ends.
        std::iter::successors(self.list[item].parent.as_ref(), |(parent, _)| self.list[*parent].parent.as_ref())
            .map(|(parent, property)| (property.as_str(), *parent))
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
    fn things_beyond_the_limit_are_not_added() {
        let mut items = Items::default();
        for _ in 0..MAX_ITEMS {
            assert!(items.add(Vec::new(), None, None).is_some());
        }
        assert_eq!(items.add(Vec::new(), None, Some((0, "a"))), None);
        assert!(!items.has(0, "a"));
    }
}
