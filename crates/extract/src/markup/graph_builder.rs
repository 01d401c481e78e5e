//! Builds a graph from the nested elements of microdata or RDFa.

use std::collections::HashMap;

use super::{annotation::Annotation, split_text};
use crate::schema_org::{
    LOOSE, LOOSE_OFFERS,
    graph::{Graph, Value},
};

/// Annotated elements that may be open at the same time.
const MAX_OPEN: usize = 48;

/// Bytes of text that are kept of an element, before entities are decoded.
const MAX_TEXT: usize = 4 * 1024;

/// Bytes of text that are kept of a page, in all elements.
const MAX_PAGE_TEXT: usize = 1024 * 1024;

/// Elements that a start tag of the same name ends, since their end tag is optional.
const IMPLICITLY_CLOSED: [&str; 8] = ["dd", "dt", "li", "option", "p", "td", "th", "tr"];

/// Properties that are kept without a node that they belong to.
const LOOSE_PROPERTIES: [&str; 9] = [
    "availability",
    "brand",
    "category",
    "image",
    "itemCondition",
    "name",
    "price",
    "priceCurrency",
    "sku",
];

/// The graph of a page, and the elements that are open at the current position of the parser.
#[derive(Default)]
pub(super) struct GraphBuilder {
    graph: Graph,
    open: Vec<OpenElement>,
    next_id: u32,
    text_bytes: usize,
    /// The node for properties outside of all others, unless they are dropped.
    loose: Option<usize>,
    keeps_loose: bool,
    /// By the ids that an `itemref` names: a node for the properties within that element.
    fragments: HashMap<String, Option<usize>>,
    /// Nodes, each with the ids of elements that belong to it as well.
    references: Vec<(usize, Vec<String>)>,
}

/// Identifies an open element.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct ElementId(u32);

/// The start tag of an annotated element.
pub(super) struct StartTag<'a> {
    pub(super) tag: &'a str,
    pub(super) annotation: Annotation,
    pub(super) can_have_content: bool,
}

struct OpenElement {
    id: ElementId,
    tag: String,
    /// The node that the element is or that its properties belong to.
    node: Option<usize>,
    /// Properties whose value is the text of the element.
    properties: Vec<String>,
    is_price: bool,
    /// Open elements within this one whose text is not part of it.
    excluded_depth: u32,
    text: String,
}

impl OpenElement {
    fn collects(&self) -> bool {
        self.node.is_some() && !self.properties.is_empty()
    }
}

impl GraphBuilder {
    /// Returns a builder for microdata, on a page that refers to the elements of these ids.
    pub(super) fn of_microdata(referenced: impl IntoIterator<Item = String>) -> Self {
        let fragments = referenced.into_iter().map(|id| (id, None)).collect();
        Self { keeps_loose: true, fragments, ..Self::default() }
    }

    /// Starts an element. Returns the id to end it with, unless it cannot have content.
    pub(super) fn start(&mut self, start: StartTag<'_>) -> Option<ElementId> {
        let may_close = IMPLICITLY_CLOSED.contains(&start.tag);
        if let Some(last) = self.open.last().filter(|last| may_close && last.tag == start.tag) {
            self.end(last.id);
        }
        let Annotation { mut properties, node: new_node, value, id, references } = start.annotation;
        let parent = self.parent(id, &mut properties, new_node.is_some());
        let mut node = parent;
        if let Some((types, id)) = new_node {
            let is_loose_offer = || types.iter().any(|kind| kind.ends_with("Offer"));
            let loose = || parent.filter(|_| is_loose_offer()).map(|_| LOOSE_OFFERS);
            let property = properties.first().map(String::as_str).or_else(loose);
            node = self.graph.add_node(types, id, parent.zip(property));
            for property in properties.drain(..).skip(1) {
                if let (Some(parent), Some(node)) = (parent, node) {
                    self.graph.add_value(parent, &property, Value::Node(node));
                }
            }
            self.references.extend(node.filter(|_| !references.is_empty()).zip(Some(references)));
        } else if let Some(value) = value {
            for property in properties.drain(..) {
                if let Some(parent) = parent {
                    self.graph.add_value(parent, &property, Value::Machine(value.clone()));
                }
            }
        }
        if !start.can_have_content || self.open.len() == MAX_OPEN {
            return None;
        }
        let id = ElementId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.open.push(OpenElement {
            id,
            tag: start.tag.to_owned(),
            node,
            is_price: properties.iter().any(|property| property.eq_ignore_ascii_case("price")),
            properties,
            excluded_depth: 0,
            text: String::new(),
        });
        Some(id)
    }

    /// Returns the node that an element's properties belong to.
    fn parent(
        &mut self,
        id: Option<String>,
        properties: &mut Vec<String>,
        is_node: bool,
    ) -> Option<usize> {
        let surrounding = self.open.last().and_then(|open| open.node);
        if let Some(fragment) = id.as_ref().and_then(|id| self.fragments.get_mut(id))
            && fragment.is_none()
        {
            *fragment = self.graph.add_node(Vec::new(), None, None);
            self.references.extend(surrounding.zip(id.map(|id| vec![id])));
            return *fragment;
        }
        if surrounding.is_some() || is_node || !self.keeps_loose {
            return surrounding;
        }
        let is_kept = |own: &String| LOOSE_PROPERTIES.iter().any(|p| p.eq_ignore_ascii_case(own));
        properties.retain(is_kept);
        if self.loose.is_none() && !properties.is_empty() {
            self.loose = self.graph.add_node(vec![LOOSE.to_owned()], None, None);
        }
        self.loose.filter(|_| !properties.is_empty())
    }

    /// Adds text to the open elements. Entities are decoded when the element ends.
    pub(super) fn add_text(&mut self, text: &str) {
        let collecting =
            self.open.iter_mut().filter(|open| open.collects() && open.excluded_depth == 0);
        for open in collecting {
            let room =
                MAX_TEXT.saturating_sub(open.text.len()).min(MAX_PAGE_TEXT - self.text_bytes);
            let kept = &text[..text.floor_char_boundary(room)];
            open.text.push_str(kept);
            self.text_bytes += kept.len();
        }
    }

    /// Marks the boundary of an element in the prices that are open.
    pub(super) fn add_boundary(&mut self) {
        let prices = self.open.iter_mut().filter(|open| open.is_price && open.collects());
        for open in prices.filter(|open| open.text.len() < MAX_TEXT) {
            open.text.push_str(split_text::BOUNDARY);
        }
    }

    /// Marks the place of an element that is not part of the prices that are open.
    pub(super) fn add_omission(&mut self) {
        let prices = self.open.iter_mut().filter(|open| open.is_price && open.collects());
        for open in prices.filter(|open| open.text.len() < MAX_TEXT) {
            open.text.push_str(split_text::omission(&open.text));
        }
    }

    /// Whether the text of a price is being collected, or else that of another property.
    pub(super) fn collects(&self, prices: bool) -> bool {
        self.open.iter().any(|open| open.collects() && open.is_price == prices)
    }

    /// Returns the [`OpenElement::excluded_depth`] of each open price, or else of each other open
    /// element.
    pub(super) fn excluded_depths(&mut self, of_prices: bool) -> impl Iterator<Item = &mut u32> {
        let open = self.open.iter_mut().filter(move |open| open.is_price == of_prices);
        open.map(|open| &mut open.excluded_depth)
    }

    /// Ends an element and the unclosed elements within it.
    pub(super) fn end(&mut self, id: ElementId) {
        if self.open.iter().any(|open| open.id == id) {
            while let Some(open) = self.open.pop() {
                let is_last = open.id == id;
                self.close(open);
                if is_last {
                    break;
                }
            }
        }
    }

    /// Ends all open elements and returns the graph.
    pub(super) fn finish(mut self) -> Graph {
        while let Some(open) = self.open.pop() {
            self.close(open);
        }
        for (node, ids) in self.references {
            for fragment in ids.iter().filter_map(|id| *self.fragments.get(id)?) {
                self.graph.adopt(node, fragment);
            }
        }
        self.graph
    }

    fn close(&mut self, open: OpenElement) {
        let Some(node) = open.node else { return };
        if !open.properties.is_empty() {
            let text = split_text::resolve(&open.text, open.is_price);
            let text = htmlize::unescape(text).into_owned();
            for property in open.properties {
                self.graph.add_value(node, &property, Value::Human(text.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property<'a>(tag: &'a str, property: &str) -> StartTag<'a> {
        let properties = vec![property.to_owned()];
        let annotation = Annotation { properties, ..Annotation::default() };
        StartTag { tag, annotation, can_have_content: true }
    }

    fn node(kind: &str) -> StartTag<'static> {
        let node = Some((vec![kind.to_owned()], None));
        let annotation = Annotation { node, ..Annotation::default() };
        StartTag { tag: "div", annotation, can_have_content: true }
    }

    #[test]
    fn text_is_added_to_every_open_property_of_the_innermost_node() {
        let mut builder = GraphBuilder::default();
        builder.start(node("Product"));
        let name = builder.start(property("h1", "name")).unwrap();
        builder.add_text("Tea &amp; ");
        let brand = builder.start(property("b", "brand")).unwrap();
        builder.add_text("Chai");
        builder.end(brand);
        builder.end(name);
        builder.add_text("elsewhere");
        let graph = builder.finish();
        assert_eq!(graph.text(0, &["name"]), Some("Tea & Chai"));
        assert_eq!(graph.text(0, &["brand"]), Some("Chai"));
    }

    #[test]
    fn an_unclosed_element_ends_with_the_surrounding_one() {
        let mut builder = GraphBuilder::default();
        let product = builder.start(node("Product")).unwrap();
        builder.start(property("span", "name"));
        builder.add_text("Tea");
        builder.end(product);
        builder.add_text("elsewhere");
        builder.start(property("span", "brand"));
        assert_eq!(builder.finish().text(0, &["name"]), Some("Tea"));
    }

    #[test]
    fn a_list_item_ends_where_the_next_one_starts() {
        let mut builder = GraphBuilder::default();
        builder.start(node("Product"));
        builder.start(property("li", "sku"));
        builder.add_text("T1");
        builder.start(property("li", "brand"));
        builder.add_text("Chai");
        let graph = builder.finish();
        assert_eq!(
            (graph.text(0, &["sku"]), graph.text(0, &["brand"])),
            (Some("T1"), Some("Chai"))
        );
    }

    #[test]
    fn endless_nesting_takes_limited_memory() {
        let mut builder = GraphBuilder::default();
        builder.start(node("Product"));
        for _ in 0..10_000 {
            builder.start(property("div", "name"));
            builder.add_text("some text that is repeated");
        }
        assert!(builder.open.len() <= MAX_OPEN && builder.text_bytes <= MAX_OPEN * MAX_TEXT);
    }
}
