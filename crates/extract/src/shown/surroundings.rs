//! What the elements around a text say about it.

use std::{cell::OnceCell, collections::HashMap};

use url::Url;

use super::{
    context::{Context, Contexts},
    naming::{self, NameFacts},
    tree::Tree,
};

/// Elements around a text that may name it as a price.
const MAX_PRICE_DISTANCE: usize = 4;

/// Classes of text that only screen readers have.
const SCREEN_READER_NAMES: &[&str] =
    &["offscreen", "sr-only", "visually-hidden", "visuallyhidden", "screen-reader", "assistive"];

/// Reads the surroundings of elements, each of them once.
pub(super) struct Surroundings<'t, 'a> {
    tree: &'t Tree<'a>,
    address: &'t Url,
    /// The last text of the title. What surrounds the title surrounds the product.
    title: usize,
    names: HashMap<usize, NameFacts>,
    contexts: HashMap<usize, Contexts>,
    /// For each element, whether it leaves the page. A list asks for each of its links many times.
    links: Vec<OnceCell<bool>>,
}

impl<'t, 'a> Surroundings<'t, 'a> {
    pub(super) fn new(tree: &'t Tree<'a>, address: &'t Url, title: usize) -> Self {
        let links = vec![OnceCell::new(); tree.elements.len()];
        Self { tree, address, title, names: HashMap::new(), contexts: HashMap::new(), links }
    }

    /// Whether an element is around the title.
    pub(super) fn is_around_title(&self, element: usize) -> bool {
        self.tree.elements[element].texts.contains(&self.title)
    }

    /// Returns the contexts of an element: its own, and those of the elements around it.
    pub(super) fn contexts(&mut self, element: usize) -> Contexts {
        let mut unread = Vec::new();
        let mut contexts = Contexts::default();
        for index in self.tree.path(element) {
            if let Some(known) = self.contexts.get(&index) {
                contexts = *known;
                break;
            }
            unread.push(index);
        }
        for index in unread.into_iter().rev() {
            if !self.is_around_title(index) {
                contexts = contexts.union(self.own_contexts(index));
            }
            self.contexts.insert(index, contexts);
        }
        contexts
    }

    fn own_contexts(&mut self, index: usize) -> Contexts {
        let element = &self.tree.elements[index];
        let mut contexts = self.names(index).contexts;
        if contexts.contains(Context::Cart) && self.has_offer(index) {
            contexts.remove(Context::Cart);
        }
        // More than a label and a number is a box that may have a price as well.
        if contexts.contains(Context::Number)
            && (element.texts.len() > 2
                || (index..element.end).any(|inner| self.names_price(inner)))
        {
            contexts.remove(Context::Number);
        }
        let style: String = element.style.split_whitespace().collect();
        if element.is_any(&["del", "s", "strike"])
            || element.is_struck
            || style.contains("line-through")
        {
            contexts.insert(Context::Former);
        }
        if element.is_any(&["nav", "footer"]) {
            contexts.insert(Context::Navigation);
        }
        if element.is_any(&["template", "dialog"]) {
            contexts.insert(Context::Dialog);
        }
        if element.is_any(&["option", "select"]) {
            contexts.insert(Context::Option);
        }
        if element.is_any(&["aside"]) {
            contexts.insert(Context::Related);
        }
        if element.is_hidden || style.contains("display:none") {
            contexts.insert(Context::Hidden);
        }
        if self.leaves_page(index) {
            contexts.insert(Context::Link);
        }
        contexts
    }

    /// Whether the microdata of an offer are within an element: it is no cart, but has its button.
    fn has_offer(&self, index: usize) -> bool {
        let within = &self.tree.elements[index..self.tree.elements[index].end];
        within.iter().any(|inner| matches!(inner.names.role, "offers" | "price"))
    }

    /// Whether an element is a link to another page, other than to a cart.
    pub(super) fn leaves_page(&self, index: usize) -> bool {
        *self.links[index].get_or_init(|| self.is_link(index))
    }

    fn is_link(&self, index: usize) -> bool {
        let element = &self.tree.elements[index];
        let Some(href) = element.href.filter(|_| element.is_any(&["a"])) else { return false };
        let href = href.trim();
        let lower = href.to_ascii_lowercase();
        let buys = ["cart", "basket", "checkout", "add", "buy", "order", "warenkorb", "panier"];
        if href.is_empty() || href.starts_with('#') || buys.iter().any(|word| lower.contains(word))
        {
            return false;
        }
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https");
        self.address.join(href).is_ok_and(|url| is_web(&url) && url.path() != self.address.path())
    }

    /// Reads the names of an element.
    fn names(&mut self, index: usize) -> NameFacts {
        if let Some(known) = self.names.get(&index) {
            return *known;
        }
        let element = &self.tree.elements[index];
        let mut facts = NameFacts::default();
        // The classes of these say what kinds of things the page has.
        if !element.is_any(&["html", "body", "main"]) {
            for name in element.names.all() {
                let own = naming::of_name(name);
                facts.contexts = facts.contexts.union(own.contexts);
                facts.is_price |= own.is_price;
            }
            let label = element.names.label;
            if !label.is_empty() && label.len() < 80 {
                facts.contexts = facts.contexts.union(naming::of_label(label));
            }
        }
        self.names.insert(index, facts);
        facts
    }

    /// Whether the element itself is named as a price.
    pub(super) fn names_price(&mut self, index: usize) -> bool {
        self.names(index).is_price
    }

    /// Whether an element, or one of those near around it, is named as a price.
    pub(super) fn is_price(&mut self, element: usize) -> bool {
        let path = self.tree.path(element).take(MAX_PRICE_DISTANCE);
        let path: Vec<usize> = path.take_while(|index| !self.is_around_title(*index)).collect();
        path.into_iter().any(|index| self.names_price(index))
    }

    /// Whether only screen readers have a text. A separator alone is part of a number, hidden where
    /// others see whole and decimals in different sizes.
    pub(super) fn is_repetition(&self, text: usize) -> bool {
        let text = &self.tree.texts[text];
        text.text.trim() != ","
            && text.text.trim() != "."
            && self.is_for_screen_readers(text.element)
    }

    /// Whether only screen readers have a text. It may repeat the price that others see.
    pub(super) fn is_for_screen_readers(&self, element: usize) -> bool {
        self.tree.path(element).take(2).any(|index| {
            let class = self.tree.elements[index].names.class;
            SCREEN_READER_NAMES.iter().any(|name| class.contains(name))
        })
    }
}
