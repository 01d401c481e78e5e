//! What is called back while a page is read, and writes down what it sees.

use std::{cell::RefCell, rc::Rc};

use lol_html::{
    ElementContentHandlers, HandlerResult,
    html_content::{Element, EndTag, TextChunk, TextType},
};

use crate::{
    attributes::{self, Syntax},
    rules::Place,
    scopes::{Scopes, Start},
};

/// Bytes of JSON-LD that are kept of a page.
const MAX_JSON_LD: usize = 2 * 1024 * 1024;

/// Meta tags that are kept of a page.
const MAX_META: usize = 200;

/// Bytes of the text of a title, or of what a rule selects, that are kept before entities are decoded.
const MAX_TEXT: usize = 4 * 1024;

/// The handlers of a page share what was seen. One handler runs at a time, so none finds it borrowed.
pub(crate) type Shared = Rc<RefCell<State>>;

/// What the handlers share.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) json_ld: Vec<String>,
    pub(crate) json_ld_bytes: usize,
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) canonical: Option<String>,
    pub(crate) microdata: Scopes,
    pub(crate) rdfa: Scopes,
    /// The title, and from [`FIRST_PLACE`] on what the rule's places lead to.
    pub(crate) texts: Vec<Text>,
}

/// Where the title is among the texts.
pub(crate) const TITLE: usize = 0;
/// Where the first of the rule's places is among the texts.
pub(crate) const FIRST_PLACE: usize = 1;

impl State {
    pub(crate) fn scopes(&mut self, syntax: Syntax) -> &mut Scopes {
        match syntax {
            Syntax::Microdata => &mut self.microdata,
            Syntax::Rdfa => &mut self.rdfa,
        }
    }
}

/// The text of the first of some elements that has one.
#[derive(Default)]
pub(crate) struct Text {
    open: bool,
    collected: String,
    found: Option<Selected>,
}

impl Text {
    pub(crate) fn begin(&mut self) -> bool {
        let begins = !self.open && self.found.is_none();
        self.open |= begins;
        begins
    }

    pub(crate) fn add(&mut self, text: &str) {
        if self.open {
            let room = MAX_TEXT - self.collected.len();
            self.collected.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    pub(crate) fn end(&mut self) {
        self.open = false;
        let text = htmlize::unescape(std::mem::take(&mut self.collected)).into_owned();
        self.set(text, false);
    }

    pub(crate) fn set(&mut self, text: String, exact: bool) {
        if self.found.is_none() && !text.trim().is_empty() {
            self.found = Some(Selected { text, exact });
        }
    }

    pub(crate) fn finish(mut self) -> Option<Selected> {
        if self.open {
            self.end();
        }
        self.found
    }
}

/// What a rule's selector leads to.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) text: String,
    /// Whether it is from an attribute, and so for machines.
    pub(crate) exact: bool,
}

/// Blocks of JSON-LD.
pub(crate) fn json_ld(state: &Shared) -> ElementContentHandlers<'static> {
    let (begin, add) = (state.clone(), state.clone());
    ElementContentHandlers::default()
        .element(move |_: &mut Element<'_, '_>| {
            begin.borrow_mut().json_ld.push(String::new());
            Ok(())
        })
        .text(move |chunk: &mut TextChunk<'_>| {
            let mut state = add.borrow_mut();
            state.json_ld_bytes += chunk.as_str().len();
            if state.json_ld_bytes <= MAX_JSON_LD
                && let Some(block) = state.json_ld.last_mut()
            {
                block.push_str(chunk.as_str());
            }
            Ok(())
        })
}

/// OpenGraph's meta tags and their like.
pub(crate) fn meta(state: &Shared) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        let name = element.get_attribute("property").or_else(|| element.get_attribute("name")).unwrap_or_default();
        let name = name.trim().to_ascii_lowercase();
        let meta = &mut state.borrow_mut().meta;
        if meta.len() < MAX_META && ["og:", "product:", "book:"].iter().any(|prefix| name.starts_with(prefix)) {
            meta.push((name, attributes::get(element, "content").unwrap_or_default()));
        }
        Ok(())
    })
}

/// The canonical link.
pub(crate) fn canonical(state: &Shared) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        let canonical = &mut state.borrow_mut().canonical;
        if canonical.is_none() {
            *canonical = attributes::get(element, "href");
        }
        Ok(())
    })
}

/// Elements of a thing.
pub(crate) fn thing(state: &Shared, syntax: Syntax) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        let told = attributes::told(element, syntax);
        let start = Start { tag: &element.tag_name(), told, can_have_content: element.can_have_content() };
        let Some(mark) = state.borrow_mut().scopes(syntax).start(start) else { return Ok(()) };
        let state = state.clone();
        at_end(element, move || state.borrow_mut().scopes(syntax).end(mark))
    })
}

/// Elements of a property, whose text may be its value.
pub(crate) fn property(state: &Shared, syntax: Syntax) -> ElementContentHandlers<'static> {
    let add = state.clone();
    thing(state, syntax).text(move |chunk: &mut TextChunk<'_>| {
        if is_text(chunk) {
            add.borrow_mut().scopes(syntax).text(chunk.as_str());
        }
        Ok(())
    })
}

/// Elements whose text is wanted, or the attribute that the place names.
pub(crate) fn text(state: &Shared, slot: usize, place: Option<&Place>) -> ElementContentHandlers<'static> {
    let (begin, add) = (state.clone(), state.clone());
    let named = place.map(|place| place.attribute.clone());
    ElementContentHandlers::default()
        .element(move |element: &mut Element<'_, '_>| {
            let mut state = begin.borrow_mut();
            let Some(text) = state.texts.get_mut(slot) else { return Ok(()) };
            let tag = element.tag_name();
            if let Some(attribute) =
                named.as_ref().and_then(|name| name.as_deref().or_else(|| attributes::of_void(&tag)))
            {
                text.set(attributes::get(element, attribute).unwrap_or_default(), true);
                return Ok(());
            }
            if !element.can_have_content() || !text.begin() {
                return Ok(());
            }
            let state = begin.clone();
            at_end(element, move || {
                if let Some(text) = state.borrow_mut().texts.get_mut(slot) {
                    text.end();
                }
            })
        })
        .text(move |chunk: &mut TextChunk<'_>| {
            if let Some(text) = add.borrow_mut().texts.get_mut(slot).filter(|_| is_text(chunk)) {
                text.add(chunk.as_str());
            }
            Ok(())
        })
}

/// Calls back at the end tag of an element, or of the one around it where it has none.
fn at_end(element: &mut Element<'_, '_>, then: impl FnOnce() + 'static) -> HandlerResult {
    element.on_end_tag(Box::new(move |_: &mut EndTag<'_>| {
        then();
        Ok(())
    }))
}

/// Whether people see it: scripts and styles may stand within any element.
fn is_text(chunk: &TextChunk<'_>) -> bool {
    !matches!(chunk.text_type(), TextType::ScriptData | TextType::RawText)
}
