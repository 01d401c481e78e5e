//! Callbacks of the HTML parser, which write to the shared state.

use std::{cell::RefCell, rc::Rc};

use lol_html::{
    ElementContentHandlers, HandlerResult,
    html_content::{Element, EndTag, TextChunk, TextType},
};

use super::{
    annotation::{Annotation, Syntax},
    attributes,
    graph_builder::StartTag,
    parser_state::ParserState,
    split_text,
};
use crate::rules::Locator;

/// The state of all handlers. They run one at a time, so that none finds it borrowed.
pub(super) type Shared = Rc<RefCell<ParserState>>;

/// Handles elements whose text is separate from the text around them.
pub(super) fn separate_text(state: &Shared) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        if !state.borrow().collects_any() {
            return Ok(());
        }
        let is_superscript = element.tag_name() == "sup";
        let separator = if is_superscript { split_text::SUPERSCRIPT } else { " " };
        state.borrow_mut().add_text(separator);
        if is_superscript || !element.can_have_content() {
            return Ok(());
        }
        let state = state.clone();
        on_end(element, move || {
            state.borrow_mut().add_text(" ");
            Ok(())
        })
    })
}

/// Handles elements within a line, whose ends are marked in prices.
pub(super) fn boundary(state: &Shared) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        if !element.can_have_content() || !state.borrow().collects(true) {
            return Ok(());
        }
        state.borrow_mut().add_boundary();
        let state = state.clone();
        on_end(element, move || {
            state.borrow_mut().add_boundary();
            Ok(())
        })
    })
}

/// Handles elements whose text is not part of prices, or not part of other texts.
pub(super) fn excluded_text(state: &Shared, of_prices: bool) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        if !element.can_have_content() || !state.borrow().collects(of_prices) {
            return Ok(());
        }
        state.borrow_mut().start_exclusion(of_prices);
        let state = state.clone();
        on_end(element, move || {
            state.borrow_mut().end_exclusion(of_prices);
            Ok(())
        })
    })
}

/// Handles elements that are nodes.
pub(super) fn node(state: &Shared, syntax: Syntax) -> ElementContentHandlers<'static> {
    let state = state.clone();
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        let tag = element.tag_name();
        let annotation = Annotation::read(element, syntax);
        let start =
            StartTag { tag: &tag, annotation, can_have_content: element.can_have_content() };
        let mut borrowed = state.borrow_mut();
        let offset = element.source_location().bytes().start;
        borrowed.is_last_started |= offset >= borrowed.last_offset;
        let Some(id) = borrowed.builder(syntax).start(start) else {
            return borrowed.stop_if_complete();
        };
        let state = state.clone();
        on_end(element, move || {
            let mut state = state.borrow_mut();
            state.builder(syntax).end(id);
            state.stop_if_complete()
        })
    })
}

/// Handles elements that belong to a node elsewhere, which refers to them by their id.
pub(super) fn referenced(state: &Shared) -> ElementContentHandlers<'static> {
    node(state, Syntax::Microdata)
}

/// Handles elements that are properties, whose text may be the value.
pub(super) fn property(state: &Shared, syntax: Syntax) -> ElementContentHandlers<'static> {
    let text_state = state.clone();
    node(state, syntax).text(move |chunk: &mut TextChunk<'_>| {
        if is_visible(chunk) {
            text_state.borrow_mut().builder(syntax).add_text(chunk.as_str());
        }
        Ok(())
    })
}

/// Handles elements that a locator of a rule finds.
pub(super) fn located(
    state: &Shared,
    index: usize,
    locator: &Locator,
) -> ElementContentHandlers<'static> {
    let (element_state, text_state) = (state.clone(), state.clone());
    let attribute = locator.attribute.clone();
    ElementContentHandlers::default()
        .element(move |element: &mut Element<'_, '_>| {
            let mut state = element_state.borrow_mut();
            let Some(builder) = state.matches.get_mut(index) else { return Ok(()) };
            let tag = element.tag_name();
            let attribute = attribute.as_deref().or_else(|| attributes::of_void_element(&tag));
            if let Some(attribute) = attribute {
                builder.set_attribute(&element.get_attribute(attribute).unwrap_or_default());
                return state.stop_if_complete();
            }
            if !element.can_have_content() || !builder.start() {
                return Ok(());
            }
            let state = element_state.clone();
            on_end(element, move || {
                let mut state = state.borrow_mut();
                if let Some(builder) = state.matches.get_mut(index) {
                    builder.end();
                }
                state.stop_if_complete()
            })
        })
        .text(move |chunk: &mut TextChunk<'_>| {
            let mut state = text_state.borrow_mut();
            let builder = state.matches.get_mut(index);
            if let Some(builder) = builder.filter(|builder| builder.is_json || is_visible(chunk)) {
                builder.add_text(chunk.as_str());
            }
            Ok(())
        })
}

/// Calls back at the end tag of an element, or at that of its parent if it has none.
fn on_end(
    element: &mut Element<'_, '_>,
    then: impl FnOnce() -> HandlerResult + 'static,
) -> HandlerResult {
    element.on_end_tag(Box::new(move |_: &mut EndTag<'_>| then()))
}

/// Whether text is visible. Scripts and styles may be within any element.
fn is_visible(chunk: &TextChunk<'_>) -> bool {
    !matches!(chunk.text_type(), TextType::ScriptData | TextType::RawText)
}
