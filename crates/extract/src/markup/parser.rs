//! Parses a page for what nested elements say together: microdata, RDFa and matches of a rule.

use std::{borrow::Cow, cell::RefCell, rc::Rc, sync::LazyLock};

use lol_html::{HtmlRewriter, MemorySettings, Selector, Settings};

use super::{annotation::Syntax, handlers, parser_state::ParserState};
use crate::rules::{FieldName, Locator};

/// Bytes that the HTML parser may hold: mostly its stack of open elements.
const MAX_PARSER_MEMORY: usize = 8 * 1024 * 1024;

/// Parses HTML and returns the state with all that was read. A page that exceeds the memory limit
/// is read up to there.
pub(super) fn parse(
    html: &str,
    state: ParserState,
    syntaxes: &[Syntax],
    locators: &[(FieldName, Locator)],
    has_references: bool,
) -> ParserState {
    let state = Rc::new(RefCell::new(state));
    // These come first, since an element that starts is not part of text that is being collected.
    let mut listeners = vec![
        (&SELECTORS.separate_text, handlers::separate_text(&state)),
        (&SELECTORS.boundary, handlers::boundary(&state)),
        (&SELECTORS.not_in_prices, handlers::excluded_text(&state, true)),
        (&SELECTORS.not_in_texts, handlers::excluded_text(&state, false)),
    ];
    if has_references {
        listeners.push((&SELECTORS.referenced, handlers::referenced(&state)));
    }
    // Only for syntaxes of the page: a selector without a tag name is checked at every element.
    for &syntax in syntaxes {
        let (node, property) = match syntax {
            Syntax::Microdata => (&SELECTORS.microdata_node, &SELECTORS.microdata_property),
            Syntax::Rdfa => (&SELECTORS.rdfa_node, &SELECTORS.rdfa_property),
        };
        listeners.push((node, handlers::node(&state, syntax)));
        listeners.push((property, handlers::property(&state, syntax)));
    }
    for (index, (_, locator)) in locators.iter().enumerate() {
        listeners.push((&locator.selector, handlers::located(&state, index, locator)));
    }
    let memory = MemorySettings::new().with_max_allowed_memory_usage(MAX_PARSER_MEMORY);
    let settings = Settings::new().with_strict(false).with_memory_settings(memory);
    let settings = listeners.into_iter().fold(settings, |settings, (selector, handler)| {
        settings.append_element_content_handler((Cow::Borrowed(selector), handler))
    });
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    // An error stops the parser early. What was read until then is kept.
    if rewriter.write(html.as_bytes()).is_ok() {
        let _ = rewriter.end();
    }
    state.take()
}

struct Selectors {
    separate_text: Selector,
    boundary: Selector,
    not_in_prices: Selector,
    not_in_texts: Selector,
    referenced: Selector,
    microdata_node: Selector,
    microdata_property: Selector,
    rdfa_node: Selector,
    rdfa_property: Selector,
}

static SELECTORS: LazyLock<Selectors> = LazyLock::new(|| Selectors {
    separate_text: selector("br, div, p, li, td, th, tr, sup"),
    boundary: selector("span, b, strong, em, i, small, big, bdi, font, u, ins, a, data"),
    not_in_prices: selector("del, s, strike, .screen-reader-text, button, select, template"),
    not_in_texts: selector(
        "button, select, template, .screen-reader-text, .visually-hidden, .sr-only, .g-hdn",
    ),
    referenced: selector("[id]:not([itemscope]):not([itemprop])"),
    microdata_node: selector("[itemscope]"),
    microdata_property: selector("[itemprop]:not([itemscope])"),
    rdfa_node: selector("[typeof]"),
    rdfa_property: selector("[property]:not([typeof])"),
});

#[expect(
    clippy::expect_used,
    reason = "the selectors are constants, and every test of the reader parses all of them"
)]
fn selector(css: &str) -> Selector {
    css.parse().expect("the selector is supported")
}
