//! Builds a graph from the nested elements of microdata or RDFa.

use super::{annotation::Annotation, superscript};
use crate::schema_org::graph::{Graph, Value};

/// Annotated elements that may be open at the same time.
const MAX_OPEN: usize = 48;

/// Bytes of text that are kept of an element, before entities are decoded.
const MAX_TEXT: usize = 4 * 1024;

/// Bytes of text that are kept of a page, in all elements.
const MAX_PAGE_TEXT: usize = 1024 * 1024;

/// Elements that a start tag of the same name ends, since their end tag is optional.
const IMPLICITLY_CLOSED: [&str; 8] = ["dd", "dt", "li", "option", "p", "td", "th", "tr"];

/// The graph of a page, and the elements that are open at the current position of the parser.
#[derive(Default)]
pub(super) struct GraphBuilder {
    graph: Graph,
    open: Vec<OpenElement>,
    next_id: u32,
    text_bytes: usize,
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
    /// Open elements within this one whose text is not part of a price.
    excluded_depth: u32,
    text: String,
}

impl OpenElement {
    fn collects(&self) -> bool {
        self.node.is_some() && !self.properties.is_empty()
    }
}

impl GraphBuilder {
    /// Starts an element. Returns the id to end it with, unless it cannot have content.
    pub(super) fn start(&mut self, start: StartTag<'_>) -> Option<ElementId> {
        let may_close = IMPLICITLY_CLOSED.contains(&start.tag);
        if let Some(last) = self.open.last().filter(|last| may_close && last.tag == start.tag) {
            self.end(last.id);
        }
        let parent = self.open.last().and_then(|open| open.node);
        let Annotation { mut properties, node: new_node, value } = start.annotation;
        let mut node = parent;
        if let Some((types, id)) = new_node {
            let property = properties.first().map(String::as_str);
            node = self.graph.add_node(types, id, parent.zip(property));
            for property in properties.drain(..).skip(1) {
                if let (Some(parent), Some(node)) = (parent, node) {
                    self.graph.add_value(parent, &property, Value::Node(node));
                }
            }
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
            is_price: properties.iter().any(|property| property == "price"),
            properties,
            excluded_depth: 0,
            text: String::new(),
        });
        Some(id)
    }

    /// Adds text to the open elements. Entities are decoded when the element ends.
    pub(super) fn add_text(&mut self, text: &str) {
        let collecting =
            self.open.iter_mut().filter(|open| open.collects() && open.excluded_depth == 0);
        for open in collecting {
            let room = (MAX_TEXT - open.text.len()).min(MAX_PAGE_TEXT - self.text_bytes);
            let kept = &text[..text.floor_char_boundary(room)];
            open.text.push_str(kept);
            self.text_bytes += kept.len();
        }
    }

    /// Whether the text of a property is being collected, or that of a price.
    pub(super) fn collects(&self, only_prices: bool) -> bool {
        self.open.iter().any(|open| open.collects() && (open.is_price || !only_prices))
    }

    /// Returns the [`OpenElement::excluded_depth`] of each open price.
    pub(super) fn excluded_depths(&mut self) -> impl Iterator<Item = &mut u32> {
        self.open.iter_mut().filter(|open| open.is_price).map(|open| &mut open.excluded_depth)
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
        self.graph
    }

    fn close(&mut self, open: OpenElement) {
        let Some(node) = open.node else { return };
        if !open.properties.is_empty() {
            let text = superscript::resolve(&open.text, open.is_price);
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
        let annotation = Annotation { properties, node: None, value: None };
        StartTag { tag, annotation, can_have_content: true }
    }

    fn node(kind: &str) -> StartTag<'static> {
        let node = Some((vec![kind.to_owned()], None));
        let annotation = Annotation { properties: Vec::new(), node, value: None };
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
