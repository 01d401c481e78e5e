//! What the handlers of a page share.

use lol_html::HandlerResult;

use super::{annotation::Syntax, graph_builder::GraphBuilder, split_text};
use crate::{
    rules::{FieldName, Locator, RuleMatch},
    schema_org::graph::MAX_VALUE,
};

/// Bytes of text that are kept of the match of a rule, before entities are decoded.
const MAX_TEXT: usize = 4 * 1024;

/// Bytes that are kept of JSON in a page: of a field alone, or of all fields of a rule.
const MAX_JSON: usize = 128 * 1024;
const MAX_SCRIPT: usize = 2 * 1024 * 1024;

/// The results of all handlers.
#[derive(Default)]
pub(super) struct ParserState {
    pub(super) microdata: GraphBuilder,
    pub(super) rdfa: GraphBuilder,
    /// One per locator of the rule.
    pub(super) matches: Vec<MatchBuilder>,
    /// Offset of the last annotated element, and whether it has started.
    pub(super) last_offset: usize,
    pub(super) is_last_started: bool,
}

impl ParserState {
    pub(super) fn builder(&mut self, syntax: Syntax) -> &mut GraphBuilder {
        match syntax {
            Syntax::Microdata => &mut self.microdata,
            Syntax::Rdfa => &mut self.rdfa,
        }
    }

    /// Whether the text of any price is being collected, or else any other text.
    pub(super) fn collects(&self, prices: bool) -> bool {
        self.matches.iter().any(|builder| builder.is_open && builder.is_price == prices)
            || self.microdata.collects(prices)
            || self.rdfa.collects(prices)
    }

    /// Whether any text is being collected.
    pub(super) fn collects_any(&self) -> bool {
        self.collects(true) || self.collects(false)
    }

    /// Returns an error, which stops the parser, once the rest of the page can add nothing.
    pub(super) fn stop_if_complete(&self) -> HandlerResult {
        let is_complete = self.is_last_started
            && !self.collects_any()
            && self.matches.iter().all(|builder| builder.found.is_some());
        if is_complete { Err("the page is read".into()) } else { Ok(()) }
    }

    pub(super) fn add_text(&mut self, text: &str) {
        self.matches.iter_mut().for_each(|builder| builder.add_text(text));
        self.microdata.add_text(text);
        self.rdfa.add_text(text);
    }

    /// Marks the boundary of an element in the prices that are open.
    pub(super) fn add_boundary(&mut self) {
        let prices = self.matches.iter_mut().filter(|builder| builder.is_price);
        prices.for_each(|builder| builder.add_text(split_text::BOUNDARY));
        self.microdata.add_boundary();
        self.rdfa.add_boundary();
    }

    /// Starts an element whose text is not part of the prices that are open, or not part of the
    /// other texts. Those that start within it are not affected.
    pub(super) fn start_exclusion(&mut self, of_prices: bool) {
        if of_prices {
            let prices = self.matches.iter_mut().filter(|builder| builder.is_price);
            for builder in prices {
                let omission = split_text::omission(&builder.text);
                builder.add_text(omission);
            }
            self.microdata.add_omission();
            self.rdfa.add_omission();
        }
        self.excluded_depths(of_prices).for_each(|depth| *depth += 1);
    }

    /// Ends an element that [`ParserState::start_exclusion`] started.
    pub(super) fn end_exclusion(&mut self, of_prices: bool) {
        self.excluded_depths(of_prices).for_each(|depth| *depth = depth.saturating_sub(1));
    }

    fn excluded_depths(&mut self, of_prices: bool) -> impl Iterator<Item = &mut u32> {
        self.matches
            .iter_mut()
            .filter(move |builder| builder.is_open && builder.is_price == of_prices)
            .map(|builder| &mut builder.excluded_depth)
            .chain(self.microdata.excluded_depths(of_prices))
            .chain(self.rdfa.excluded_depths(of_prices))
    }
}

/// Collects the text of the first element that a locator finds and that has text.
#[derive(Default)]
pub(super) struct MatchBuilder {
    is_price: bool,
    /// Whether the text is JSON, which may be in a script.
    pub(super) is_json: bool,
    max_text: usize,
    is_open: bool,
    /// Open elements within this one whose text is not part of it.
    excluded_depth: u32,
    text: String,
    found: Option<RuleMatch>,
}

impl MatchBuilder {
    pub(super) fn new(field: FieldName, locator: &Locator) -> Self {
        let is_script = field == FieldName::Script;
        let is_json = is_script || locator.pointer.is_some();
        let max_text = match (is_script, is_json) {
            (true, _) => MAX_SCRIPT,
            (_, true) => MAX_JSON,
            _ => MAX_TEXT,
        };
        let is_price = field == FieldName::Price && !is_json;
        Self { is_price, is_json, max_text, ..Self::default() }
    }

    /// Sets the value of an attribute.
    pub(super) fn set_attribute(&mut self, value: &str) {
        let limit = if self.is_json { self.max_text } else { MAX_VALUE };
        let value = &value[..value.floor_char_boundary(limit)];
        self.set(htmlize::unescape_attribute(value).into_owned(), true);
    }

    /// Starts an element. Returns false if one is open or was found.
    pub(super) fn start(&mut self) -> bool {
        let starts = !self.is_open && self.found.is_none();
        if starts {
            self.is_open = true;
            self.excluded_depth = 0;
        }
        starts
    }

    pub(super) fn add_text(&mut self, text: &str) {
        if self.is_open && self.excluded_depth == 0 {
            let room = self.max_text.saturating_sub(self.text.len());
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    pub(super) fn end(&mut self) {
        self.is_open = false;
        let text = std::mem::take(&mut self.text);
        if self.is_json {
            self.set(text, true);
            return;
        }
        let text = split_text::resolve(&text, self.is_price);
        self.set(htmlize::unescape(text).into_owned(), false);
    }

    /// Sets what was found, unless it is blank or something was found before.
    pub(super) fn set(&mut self, text: String, is_machine_readable: bool) {
        if self.found.is_none() && !text.trim().is_empty() {
            self.found = Some(RuleMatch { text, is_machine_readable });
        }
    }

    pub(super) fn finish(mut self) -> Option<RuleMatch> {
        if self.is_open {
            self.end();
        }
        self.found
    }
}
