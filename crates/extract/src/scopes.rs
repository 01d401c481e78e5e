//! Things told by attributes of nested elements: microdata and RDFa build them alike.

use crate::{
    attributes::Told,
    items::{Items, Value},
    text,
};

/// How many elements with such attributes may be open in one another.
const MAX_OPEN: usize = 48;

/// Bytes of an element's text that are kept, before entities are decoded.
const MAX_TEXT: usize = 4 * 1024;

/// Bytes of text that are kept of a page in all.
const MAX_TEXTS: usize = 1024 * 1024;

/// Elements whose end tag may be missing where the next one of their kind begins.
const OPEN_ENDED: [&str; 8] = ["dd", "dt", "li", "option", "p", "td", "th", "tr"];

/// The things of a page, and the elements that are open where the reader stands.
#[derive(Default)]
pub(crate) struct Scopes {
    items: Items,
    open: Vec<Open>,
    opened: u32,
    texts: usize,
}

/// Marks an open element.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Mark(u32);

/// An element that begins.
pub(crate) struct Start<'a> {
    pub(crate) tag: &'a str,
    pub(crate) told: Told,
    pub(crate) can_have_content: bool,
}

struct Open {
    mark: Mark,
    tag: String,
    /// The thing that begins here, or the one that this element tells properties of.
    item: Option<usize>,
    /// Properties whose value is the text of this element.
    properties: Vec<String>,
    is_price: bool,
    /// How many elements are open in it whose text is no price.
    struck: u32,
    text: String,
}

impl Open {
    fn collects(&self) -> bool {
        self.item.is_some() && !self.properties.is_empty()
    }
}

impl Scopes {
    /// An element begins. Where its end has to be told, the mark to tell it with.
    pub(crate) fn start(&mut self, start: Start<'_>) -> Option<Mark> {
        let implied = OPEN_ENDED.contains(&start.tag);
        if let Some(last) = self.open.last().filter(|last| implied && last.tag == start.tag) {
            self.end(last.mark);
        }
        let around = self.open.last().and_then(|open| open.item);
        let Told { mut properties, thing, value } = start.told;
        let mut item = around;
        if let Some((types, id)) = thing {
            item = self.items.add(types, id, around.zip(properties.first().map(String::as_str)));
            for property in properties.drain(..).skip(1) {
                if let (Some(around), Some(item)) = (around, item) {
                    self.items.set(around, &property, Value::Item(item));
                }
            }
        } else if let Some(value) = value {
            for property in properties.drain(..) {
                if let Some(around) = around {
                    self.items.set(around, &property, Value::Exact(value.clone()));
                }
            }
        }
        if !start.can_have_content || self.open.len() == MAX_OPEN {
            return None;
        }
        let mark = Mark(self.opened);
        self.opened = self.opened.wrapping_add(1);
        let is_price = properties.iter().any(|property| property == "price");
        let tag = start.tag.to_owned();
        self.open.push(Open { mark, tag, item, properties, is_price, struck: 0, text: String::new() });
        Some(mark)
    }

    /// Text within the elements that are open, entities not decoded.
    pub(crate) fn text(&mut self, text: &str) {
        for open in self.open.iter_mut().filter(|open| open.collects() && open.struck == 0) {
            let room = (MAX_TEXT - open.text.len()).min(MAX_TEXTS - self.texts);
            let kept = &text[..text.floor_char_boundary(room)];
            open.text.push_str(kept);
            self.texts += kept.len();
        }
    }

    /// Whether the text of some property is collected, or that of a price.
    pub(crate) fn collects(&self, only_prices: bool) -> bool {
        self.open.iter().any(|open| open.collects() && (open.is_price || !only_prices))
    }

    /// For each price that is open, how many elements are open in it whose text is none.
    pub(crate) fn prices(&mut self) -> impl Iterator<Item = &mut u32> {
        self.open.iter_mut().filter(|open| open.is_price).map(|open| &mut open.struck)
    }

    /// An element ends, and with it all that were not closed within it.
    pub(crate) fn end(&mut self, mark: Mark) {
        if self.open.iter().any(|open| open.mark == mark) {
            while let Some(open) = self.open.pop() {
                let last = open.mark == mark;
                self.close(open);
                if last {
                    break;
                }
            }
        }
    }

    /// The page ends.
    pub(crate) fn finish(mut self) -> Items {
        while let Some(open) = self.open.pop() {
            self.close(open);
        }
        self.items
    }

    fn close(&mut self, open: Open) {
        let Some(item) = open.item else { return };
        if !open.properties.is_empty() {
            let text = htmlize::unescape(text::lowered(&open.text, open.is_price)).into_owned();
            for property in open.properties {
                self.items.set(item, &property, Value::Shown(text.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element<'a>(tag: &'a str, property: &str) -> Start<'a> {
        let told = Told { properties: vec![property.to_owned()], thing: None, value: None };
        Start { tag, told, can_have_content: true }
    }

    fn thing(kind: &str) -> Start<'static> {
        let told = Told { properties: Vec::new(), thing: Some((vec![kind.to_owned()], None)), value: None };
        Start { tag: "div", told, can_have_content: true }
    }

    #[test]
    fn text_goes_to_every_open_property_of_the_innermost_thing() {
        let mut scopes = Scopes::default();
        scopes.start(thing("Product"));
        let name = scopes.start(element("h1", "name")).unwrap();
        scopes.text("Tea &amp; ");
        let brand = scopes.start(element("b", "brand")).unwrap();
        scopes.text("Chai");
        scopes.end(brand);
        scopes.end(name);
        scopes.text("elsewhere");
        let items = scopes.finish();
        assert_eq!(items.text(0, &["name"]), Some("Tea & Chai"));
        assert_eq!(items.text(0, &["brand"]), Some("Chai"));
    }

    #[test]
    fn an_element_that_nobody_closed_ends_with_the_one_around_it() {
        let mut scopes = Scopes::default();
        let product = scopes.start(thing("Product")).unwrap();
        scopes.start(element("span", "name"));
        scopes.text("Tea");
        scopes.end(product);
        scopes.text("elsewhere");
        scopes.start(element("span", "brand"));
        assert_eq!(scopes.finish().text(0, &["name"]), Some("Tea"));
    }

    #[test]
    fn a_list_item_ends_where_the_next_one_begins() {
        let mut scopes = Scopes::default();
        scopes.start(thing("Product"));
        scopes.start(element("li", "sku"));
        scopes.text("T1");
        scopes.start(element("li", "brand"));
        scopes.text("Chai");
        let items = scopes.finish();
        assert_eq!((items.text(0, &["sku"]), items.text(0, &["brand"])), (Some("T1"), Some("Chai")));
    }

    #[test]
    fn what_is_nested_without_end_stays_small() {
        let mut scopes = Scopes::default();
        scopes.start(thing("Product"));
        for _ in 0..10_000 {
            scopes.start(element("div", "name"));
            scopes.text("some text that is repeated");
        }
        assert!(scopes.open.len() <= MAX_OPEN && scopes.texts <= MAX_OPEN * MAX_TEXT);
    }
}
