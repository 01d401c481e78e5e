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
    text,
};

/// Bytes of the text of what a rule selects that are kept before entities are decoded.
const MAX_TEXT: usize = 4 * 1024;

/// The handlers of a page share what was seen. One handler runs at a time, so none finds it borrowed.
pub(crate) type Shared = Rc<RefCell<State>>;

/// What the handlers share.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) microdata: Scopes,
    pub(crate) rdfa: Scopes,
    /// What the rule's places lead to.
    pub(crate) places: Vec<Text>,
    /// Where the last element begins that tells something of a thing, and whether it has begun.
    pub(crate) last: usize,
    pub(crate) is_last_begun: bool,
}

impl State {
    pub(crate) fn scopes(&mut self, syntax: Syntax) -> &mut Scopes {
        match syntax {
            Syntax::Microdata => &mut self.microdata,
            Syntax::Rdfa => &mut self.rdfa,
        }
    }

    /// Whether some text is collected, and of what is no price: whether some price is.
    fn collects(&self, only_prices: bool) -> bool {
        self.places.iter().any(|text| text.open && (text.is_price || !only_prices))
            || self.microdata.collects(only_prices)
            || self.rdfa.collects(only_prices)
    }

    /// Ends the reading, by an error, where nothing that follows can tell more.
    fn go_on(&self) -> HandlerResult {
        let is_all_read = self.is_last_begun && !self.collects(false) && self.places.iter().all(Text::is_found);
        if is_all_read { Err("all is read".into()) } else { Ok(()) }
    }

    fn add(&mut self, text: &str) {
        self.places.iter_mut().for_each(|place| place.add(text));
        self.microdata.text(text);
        self.rdfa.text(text);
    }

    /// An element begins whose text is no price, or it ends. What began within it knows nothing of it.
    fn strike(&mut self, begins: bool) {
        let places = self.places.iter_mut().filter(|text| text.open && text.is_price).map(|text| &mut text.struck);
        for struck in places.chain(self.microdata.prices()).chain(self.rdfa.prices()) {
            *struck = if begins { *struck + 1 } else { struck.saturating_sub(1) };
        }
    }
}

/// The text of the first of some elements that has one.
#[derive(Default)]
pub(crate) struct Text {
    is_price: bool,
    open: bool,
    /// How many elements are open in it whose text is no price.
    struck: u32,
    collected: String,
    found: Option<Selected>,
}

impl Text {
    pub(crate) fn new(is_price: bool) -> Self {
        Self { is_price, ..Self::default() }
    }

    pub(crate) fn begin(&mut self) -> bool {
        let begins = !self.open && self.found.is_none();
        if begins {
            self.open = true;
            self.struck = 0;
        }
        begins
    }

    pub(crate) fn add(&mut self, text: &str) {
        if self.open && self.struck == 0 {
            let room = MAX_TEXT - self.collected.len();
            self.collected.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    pub(crate) fn end(&mut self) {
        self.open = false;
        let text = text::lowered(&std::mem::take(&mut self.collected), self.is_price);
        self.set(htmlize::unescape(text).into_owned(), false);
    }

    pub(crate) fn set(&mut self, text: String, exact: bool) {
        if self.found.is_none() && !text.trim().is_empty() {
            self.found = Some(Selected { text, exact });
        }
    }

    fn is_found(&self) -> bool {
        self.found.is_some()
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

/// Elements that stand apart from the text around them.
pub(crate) fn apart(state: &Shared) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        if !state.borrow().collects(false) {
            return Ok(());
        }
        let is_raised = element.tag_name() == "sup";
        state.borrow_mut().add(if is_raised { text::RAISED } else { " " });
        if is_raised || !element.can_have_content() {
            return Ok(());
        }
        let state = state.clone();
        at_end(element, move || {
            state.borrow_mut().add(" ");
            Ok(())
        })
    })
}

/// Elements whose text is no price: what it was before, and what is said of it to those who do not see it.
pub(crate) fn struck(state: &Shared) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        if !element.can_have_content() || !state.borrow().collects(true) {
            return Ok(());
        }
        state.borrow_mut().strike(true);
        let state = state.clone();
        at_end(element, move || {
            state.borrow_mut().strike(false);
            Ok(())
        })
    })
}

/// Elements of a thing.
pub(crate) fn thing(state: &Shared, syntax: Syntax) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        let told = attributes::told(element, syntax);
        let start = Start { tag: &element.tag_name(), told, can_have_content: element.can_have_content() };
        let mut seen = state.borrow_mut();
        seen.is_last_begun |= element.source_location().bytes().start >= seen.last;
        let Some(mark) = seen.scopes(syntax).start(start) else { return seen.go_on() };
        let state = state.clone();
        at_end(element, move || {
            let mut state = state.borrow_mut();
            state.scopes(syntax).end(mark);
            state.go_on()
        })
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
pub(crate) fn text(state: &Shared, slot: usize, place: &Place) -> ElementContentHandlers<'static> {
    let (begin, add) = (state.clone(), state.clone());
    let named = place.attribute.clone();
    ElementContentHandlers::default()
        .element(move |element: &mut Element<'_, '_>| {
            let mut state = begin.borrow_mut();
            let Some(text) = state.places.get_mut(slot) else { return Ok(()) };
            let tag = element.tag_name();
            if let Some(attribute) = named.as_deref().or_else(|| attributes::of_void(&tag)) {
                text.set(attributes::get(element, attribute).unwrap_or_default(), true);
                return state.go_on();
            }
            if !element.can_have_content() || !text.begin() {
                return Ok(());
            }
            let state = begin.clone();
            at_end(element, move || {
                let mut state = state.borrow_mut();
                if let Some(text) = state.places.get_mut(slot) {
                    text.end();
                }
                state.go_on()
            })
        })
        .text(move |chunk: &mut TextChunk<'_>| {
            if let Some(text) = add.borrow_mut().places.get_mut(slot).filter(|_| is_text(chunk)) {
                text.add(chunk.as_str());
            }
            Ok(())
        })
}

/// Calls back at the end tag of an element, or of the one around it where it has none.
fn at_end(element: &mut Element<'_, '_>, then: impl FnOnce() -> HandlerResult + 'static) -> HandlerResult {
    element.on_end_tag(Box::new(move |_: &mut EndTag<'_>| then()))
}

/// Whether people see it: scripts and styles may stand within any element.
fn is_text(chunk: &TextChunk<'_>) -> bool {
    !matches!(chunk.text_type(), TextType::ScriptData | TextType::RawText)
}
