//! A graph of nodes in the vocabulary of schema.org.
//!
//! JSON-LD, microdata and RDFa are three syntaxes for such a graph. A text value is
//! machine-readable or text for people, since prices in the two are read differently.

use std::collections::HashMap;

/// Nodes that are kept of a page. A product page has some tens.
const MAX_NODES: usize = 5_000;

/// Values that the properties of one node may have in all. The variants of a group are values.
const MAX_VALUES: usize = 300;

/// Types of a node, and properties that one element may have.
pub(crate) const MAX_NAMES: usize = 8;

/// Bytes of the name of a type or property. The vocabulary has no longer ones.
const MAX_NAME: usize = 64;

/// Bytes of an `@id`. A longer one is dropped: truncated, it could be the id of another node.
const MAX_ID: usize = 2 * 1024;

/// Bytes of a value, which is truncated if longer. Only descriptions are longer; no field needs
/// them.
pub(crate) const MAX_VALUE: usize = 4 * 1024;

/// Bytes of memory that the nodes of a page may take.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a node or a value in addition to its texts: itself, in a vector with twice the capacity
/// that it needs, and the overhead of the allocator for each text.
const OVERHEAD: usize = 200;

/// The nodes of a page, identified by their index in page order.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    /// By `@id`, the first node with that id that has properties.
    by_id: HashMap<String, usize>,
    /// Bytes of memory that the nodes take.
    bytes: usize,
}

#[derive(Debug)]
struct Node {
    /// Without the vocabulary: `Product`.
    types: Vec<String>,
    id: Option<String>,
    /// In page order; a name may occur several times.
    properties: Vec<(String, Value)>,
    /// The node that contains this one, and the property of which it is a value.
    parent: Option<(usize, String)>,
}

/// The value of a property.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Machine-readable text: from JSON or an attribute.
    Machine(String),
    /// Text for people.
    Human(String),
    /// A node, by its index.
    Node(usize),
}

impl Value {
    /// Returns the text unless it is blank, or the value is a node.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Machine(text) | Self::Human(text) => {
                Some(text.as_str()).filter(|text| !text.trim().is_empty())
            }
            Self::Node(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Machine(text) | Self::Human(text) => text.len(),
            Self::Node(_) => 0,
        }
    }

    fn truncate(mut self) -> Self {
        if let Self::Machine(text) | Self::Human(text) = &mut self {
            text.truncate(text.floor_char_boundary(MAX_VALUE));
            text.shrink_to_fit();
        }
        self
    }
}

impl Graph {
    /// Adds a node, as a value of a property of its parent if it has one. Returns `None` if the
    /// graph is full.
    pub(crate) fn add_node(
        &mut self,
        mut types: Vec<String>,
        id: Option<String>,
        parent: Option<(usize, &str)>,
    ) -> Option<usize> {
        types.retain(|name| name.len() <= MAX_NAME);
        types.truncate(MAX_NAMES);
        let id = id.filter(|id| id.len() <= MAX_ID);
        let parent = parent.filter(|(_, property)| property.len() <= MAX_NAME);
        let index = self.nodes.len();
        // The id is stored twice: here and in `by_id`.
        let texts =
            types.iter().map(String::len).sum::<usize>() + 2 * id.as_ref().map_or(0, String::len);
        if index == MAX_NODES || !self.reserve(OVERHEAD * (1 + types.len()) + texts) {
            return None;
        }
        let owned = parent.map(|(parent, property)| (parent, property.to_owned()));
        self.nodes.push(Node { types, id, properties: Vec::new(), parent: owned });
        if let Some((parent, property)) = parent {
            self.add_value(parent, property, Value::Node(index));
        }
        Some(index)
    }

    /// Adds a value of a property, unless the node or the graph is full.
    pub(crate) fn add_value(&mut self, node: usize, property: &str, value: Value) {
        let value = value.truncate();
        let is_full = self.nodes.get(node).is_none_or(|node| node.properties.len() == MAX_VALUES);
        if is_full
            || property.len() > MAX_NAME
            || !self.reserve(OVERHEAD + property.len() + value.len())
        {
            return;
        }
        let index = self.merge_target(node);
        let node = &mut self.nodes[index];
        if node.properties.is_empty()
            && let Some(id) = &node.id
        {
            self.by_id.entry(id.clone()).or_insert(index);
        }
        node.properties.push((property.to_owned(), value));
    }

    /// Gives a node the properties of another one, which from then on is a part of it. Does nothing
    /// if the node is itself a part of the other one.
    pub(crate) fn adopt(&mut self, node: usize, part: usize) {
        let is_part = |index: usize| self.ancestors(index).any(|(_, ancestor)| ancestor == part);
        if node == part || is_part(node) {
            return;
        }
        for (property, value) in self.nodes[part].properties.clone() {
            self.add_value(node, &property, value);
        }
        self.nodes[part].parent.get_or_insert_with(|| (node, String::new()));
    }

    /// Returns the node that properties of `node` are added to: the first node of the same `@id`
    /// that has properties, if they have a type in common. Some sites give one id to unrelated
    /// nodes.
    fn merge_target(&mut self, node: usize) -> usize {
        let Node { types, id, properties, .. } = &self.nodes[node];
        let first = id
            .as_ref()
            .filter(|_| properties.is_empty())
            .and_then(|id| self.by_id.get(id).copied());
        let Some(first) = first.filter(|&first| first != node) else { return node };
        let known = &self.nodes[first];
        let have_common_type = types.is_empty()
            || known.types.is_empty()
            || types.iter().any(|name| known.types.contains(name));
        if !have_common_type || known.properties.len() == MAX_VALUES {
            return node;
        }
        let more: Vec<String> =
            types.iter().filter(|name| !known.types.contains(name)).cloned().collect();
        let types = &mut self.nodes[first].types;
        types.extend(more);
        types.truncate(MAX_NAMES);
        first
    }

    /// Reserves memory, and returns whether the limit allows it.
    fn reserve(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_BYTES;
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// Returns the indices of all nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = usize> {
        0..self.nodes.len()
    }

    /// Whether the node has one of the types, in upper or lower case.
    pub(crate) fn is_a(&self, node: usize, types: &[&str]) -> bool {
        self.nodes[node]
            .types
            .iter()
            .any(|own| types.iter().any(|name| name.eq_ignore_ascii_case(own)))
    }

    /// Returns the types of a node, without their vocabulary.
    pub(crate) fn types(&self, node: usize) -> &[String] {
        &self.nodes[node].types
    }

    /// Whether the node is not a value of another one.
    pub(crate) fn is_root(&self, node: usize) -> bool {
        self.nodes[node].parent.is_none()
    }

    /// Whether the node has the property.
    pub(crate) fn has(&self, node: usize, property: &str) -> bool {
        self.values(node, property).next().is_some()
    }

    /// Returns the `@id` of a node.
    pub(crate) fn id(&self, node: usize) -> Option<&str> {
        self.nodes[node].id.as_deref()
    }

    /// Returns the values of a property, in page order. Its name may be in upper or lower case.
    pub(crate) fn values<'a>(
        &'a self,
        node: usize,
        property: &str,
    ) -> impl Iterator<Item = &'a Value> {
        self.nodes[node]
            .properties
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(property))
            .map(|(_, value)| value)
    }

    /// Returns the nodes that are values of a property, with references resolved.
    pub(crate) fn children(&self, node: usize, property: &str) -> impl Iterator<Item = usize> {
        self.values(node, property).filter_map(|value| match value {
            Value::Node(index) => Some(self.resolve(*index)),
            Value::Machine(_) | Value::Human(_) => None,
        })
    }

    /// Returns the first text of the first property that has one. The text of a node is its name.
    pub(crate) fn text(&self, node: usize, properties: &[&str]) -> Option<&str> {
        let name = |node: usize| self.values(self.resolve(node), "name").find_map(Value::text);
        properties.iter().find_map(|property| {
            self.values(node, property).find_map(|value| match value {
                Value::Node(index) => name(*index),
                value => value.text(),
            })
        })
    }

    /// Returns the first text of a property. The text of a node is its `@id`.
    pub(crate) fn text_or_id(&self, node: usize, property: &str) -> Option<&str> {
        self.values(node, property).find_map(|value| match value {
            Value::Node(index) => self.id(*index),
            value => value.text(),
        })
    }

    /// Returns the text of a value. The text of a node is its `@id` or its name.
    pub(crate) fn text_of<'a>(&'a self, value: &'a Value) -> Option<&'a str> {
        match value {
            Value::Node(index) => {
                self.id(*index).or_else(|| self.text(self.resolve(*index), &["name"]))
            }
            value => value.text(),
        }
    }

    /// Returns the nodes that contain a node, the innermost first, each with the property that
    /// leads to it.
    pub(crate) fn ancestors(&self, node: usize) -> impl Iterator<Item = (&str, usize)> {
        // A parent is added before its children, and `adopt` makes no circles, so this ends.
        std::iter::successors(self.nodes[node].parent.as_ref(), |(parent, _)| {
            self.nodes[*parent].parent.as_ref()
        })
        .map(|(parent, property)| (property.as_str(), *parent))
    }

    /// Returns the nodes that name a group as theirs, by a reference to it or by its number.
    pub(crate) fn variants(&self, group: usize) -> impl Iterator<Item = usize> {
        let number =
            self.text(group, &["productGroupID"]).filter(|_| self.is_a(group, &["ProductGroup"]));
        self.nodes().filter(move |&node| {
            self.children(node, "isVariantOf").any(|of| of == group)
                || number.is_some() && self.text(node, &["inProductGroupWithID"]) == number
        })
    }

    /// Whether a node refers to another one.
    pub(crate) fn is_reference(&self, node: usize) -> bool {
        self.resolve(node) != node
    }

    /// Returns the node that a node refers to, which has an `@id` and nothing else, or the node
    /// itself.
    pub(crate) fn resolve(&self, node: usize) -> usize {
        let Node { id, properties, .. } = &self.nodes[node];
        match id {
            Some(id) if properties.is_empty() => self.by_id.get(id).copied().unwrap_or(node),
            _ => node,
        }
    }
}

/// Returns a name without its vocabulary: `Product` for `https://schema.org/Product` and
/// `schema:Product`.
pub(crate) fn local_name(name: &str) -> &str {
    name.trim().trim_end_matches('/').rsplit(['/', '#', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_name_has_no_vocabulary() {
        for (name, expected) in [
            ("Product", "Product"),
            ("https://schema.org/Product", "Product"),
            (" http://schema.org/Product/ ", "Product"),
            ("schema:Product", "Product"),
            ("http://example.org/terms#Product", "Product"),
            ("", ""),
        ] {
            assert_eq!(local_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_reference_stands_for_the_thing_of_that_id() {
        let mut graph = Graph::default();
        let page = graph.add_node(Vec::new(), None, None).unwrap();
        graph.add_node(Vec::new(), Some("#p".into()), Some((page, "mainEntity"))).unwrap();
        let product = graph.add_node(vec!["Product".into()], Some("#p".into()), None).unwrap();
        graph.add_value(product, "name", Value::Machine("Tea".into()));
        assert_eq!(graph.children(page, "mainEntity").collect::<Vec<_>>(), [product]);
        assert_eq!(graph.text(page, &["mainEntity"]), Some("Tea"));
    }

    #[test]
    fn nodes_of_one_id_are_merged_if_they_have_a_common_type() {
        let mut graph = Graph::default();
        let mut add = |kind: &str, property: &str, value: &str| {
            let node = graph.add_node(vec![kind.to_owned()], Some("#p".into()), None).unwrap();
            graph.add_value(node, property, Value::Machine(value.to_owned()));
            node
        };
        let product = add("Product", "name", "Tea");
        let again = add("Product", "sku", "1");
        let page = add("WebPage", "name", "Tea | Shop");
        assert_eq!(
            (graph.text(product, &["name"]), graph.text(product, &["sku"])),
            (Some("Tea"), Some("1"))
        );
        assert!(graph.is_reference(again) && !graph.is_reference(page));
        assert_eq!(graph.text(page, &["name"]), Some("Tea | Shop"));
    }

    #[test]
    fn blank_values_are_skipped() {
        let mut graph = Graph::default();
        let node = graph.add_node(Vec::new(), None, None).unwrap();
        let inner = graph.add_node(Vec::new(), None, Some((node, "a"))).unwrap();
        graph.add_value(inner, "name", Value::Human(" ".into()));
        graph.add_value(node, "a", Value::Machine("".into()));
        graph.add_value(node, "a", Value::Human("x".into()));
        assert_eq!(
            (graph.text(node, &["b", "a"]), graph.text_or_id(node, "a")),
            (Some("x"), Some("x"))
        );
    }

    #[test]
    fn nodes_above_the_limit_are_not_added() {
        let mut graph = Graph::default();
        for _ in 0..MAX_NODES {
            assert!(graph.add_node(Vec::new(), None, None).is_some());
        }
        assert_eq!(graph.add_node(Vec::new(), None, Some((0, "a"))), None);
        assert!(!graph.has(0, "a"));
    }

    #[test]
    fn names_and_values_are_limited() {
        let mut graph = Graph::default();
        let types = std::iter::once("x".repeat(MAX_NAME + 1))
            .chain((0..20).map(|n| n.to_string()))
            .collect();
        let node = graph.add_node(types, Some("x".repeat(MAX_ID + 1)), None).unwrap();
        assert!(graph.is_a(node, &["7"]) && !graph.is_a(node, &["8"]));
        assert_eq!(graph.id(node), None);
        graph.add_value(node, "a", Value::Machine("ä".repeat(MAX_VALUE)));
        assert_eq!(graph.text(node, &["a"]).map(str::len), Some(MAX_VALUE));
        graph.add_value(node, &"b".repeat(MAX_NAME + 1), Value::Machine("x".to_owned()));
        assert!(!graph.has(node, &"b".repeat(MAX_NAME + 1)));
    }

    #[test]
    fn values_above_the_memory_limit_are_not_added() {
        let mut graph = Graph::default();
        for node in 0..MAX_NODES {
            graph.add_node(Vec::new(), None, None);
            graph.add_value(node, "a", Value::Machine("x".repeat(MAX_VALUE)));
        }
        let kept: usize =
            graph.nodes().filter_map(|node| graph.text(node, &["a"])).map(str::len).sum();
        assert!((MAX_BYTES / 2..MAX_BYTES).contains(&kept), "{kept}");
    }
}
