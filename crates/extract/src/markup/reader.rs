//! Reads the markup of a page.
//!
//! Single tags are read by the tokenizer alone. The HTML parser runs only for nested elements, that
//! is, for annotated elements and the locators of a rule, and only from the first annotated element
//! to the end of the last one.

use super::{
    annotation::Syntax,
    attributes,
    graph_builder::GraphBuilder,
    parser,
    parser_state::{MatchBuilder, ParserState},
    tags::{Tag, Tokenizer},
};
use crate::{
    rules::{FieldName, Locator, RuleMatch},
    schema_org::graph::Graph,
};

/// Bytes that are kept of a title, before entities are decoded.
const MAX_TITLE: usize = 4 * 1024;

/// Meta tags that are kept of a page.
const MAX_META: usize = 200;

/// Ids of elements that belong to nodes elsewhere, for a page.
const MAX_REFERENCES: usize = 100;

/// Blocks of JSON-LD, and other scripts, that are kept of a page.
const MAX_BLOCKS: usize = 1_000;

/// The markup of a page, in page order. Entities are decoded, except in scripts.
#[derive(Default)]
pub(crate) struct Markup<'a> {
    /// Blocks of JSON-LD.
    pub(crate) json_ld: Vec<&'a str>,
    /// Other scripts that are part of the page.
    pub(crate) scripts: Vec<&'a str>,
    pub(crate) microdata: Graph,
    pub(crate) rdfa: Graph,
    /// OpenGraph's meta tags and their like: name in lower case, content.
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) title: Option<String>,
    /// The `base` that relative links are resolved by.
    pub(crate) base: Option<String>,
    pub(crate) canonical: Option<String>,
    /// What each locator of the rule found.
    pub(crate) matches: Vec<Option<RuleMatch>>,
}

/// Reads a page. An incomplete page is read up to its end, and every list up to its limit.
///
/// If the head has no annotated elements and there are no locators, `is_enough` is called when the
/// body starts, with the rest of the page. If it returns true, the body is not read.
pub(crate) fn read<'a>(
    html: &'a str,
    locators: &[(FieldName, Locator)],
    mut is_enough: impl FnMut(&Markup<'a>, &'a str) -> bool,
) -> Markup<'a> {
    let mut markup = Markup::default();
    let mut annotated = Annotated::default();
    let mut tokenizer = Tokenizer::new(html);
    while let Some(tag) = tokenizer.next() {
        if locators.is_empty()
            && !annotated.has_nodes()
            && tag.is("body")
            && is_enough(&markup, &html[tag.offset..])
        {
            return markup;
        }
        markup.add(&tag);
        annotated.add(&tag);
    }
    let start = if locators.is_empty() { annotated.start() } else { Some(0) };
    let Some(start) = start else { return markup };
    let syntaxes = annotated.syntaxes();
    let references = annotated.referenced.iter().map(|&id| attributes::decode(id));
    let state = ParserState {
        microdata: GraphBuilder::of_microdata(references),
        matches: locators
            .iter()
            .map(|(field, locator)| MatchBuilder::new(*field, locator))
            .collect(),
        last_offset: annotated.last.saturating_sub(start),
        is_last_started: syntaxes.is_empty(),
        ..ParserState::default()
    };
    let has_references = !annotated.referenced.is_empty();
    let state = parser::parse(&html[start..], state, &syntaxes, locators, has_references);
    markup.microdata = state.microdata.finish();
    markup.rdfa = state.rdfa.finish();
    markup.matches = state.matches.into_iter().map(MatchBuilder::finish).collect();
    markup
}

/// Where a page has microdata and RDFa. All offsets are in bytes.
#[derive(Default)]
struct Annotated<'a> {
    /// The first nodes.
    microdata: Option<usize>,
    rdfa: Option<usize>,
    /// The first property of microdata, in a node or not.
    property: Option<usize>,
    has_price: bool,
    /// The last annotated element.
    last: usize,
    /// The ids of elements that belong to nodes elsewhere.
    referenced: Vec<&'a str>,
}

impl<'a> Annotated<'a> {
    fn add(&mut self, tag: &Tag<'a, '_>) {
        let (node, property) = (tag.attribute("itemscope"), tag.attribute("itemprop"));
        let rdfa = tag.attribute("typeof");
        if let Some(property) = property {
            self.property.get_or_insert(tag.offset);
            self.has_price |= property.trim().eq_ignore_ascii_case("price");
        }
        if node.is_some() {
            self.microdata.get_or_insert(tag.offset);
            let ids = tag.attribute("itemref").unwrap_or_default().split_ascii_whitespace();
            let room = MAX_REFERENCES - self.referenced.len();
            self.referenced.extend(ids.take(room));
        }
        if rdfa.is_some() {
            self.rdfa.get_or_insert(tag.offset);
        }
        if node.is_some()
            || property.is_some()
            || rdfa.is_some()
            || self.rdfa.is_some() && tag.attribute("property").is_some()
        {
            self.last = tag.offset;
        }
    }

    fn has_nodes(&self) -> bool {
        self.microdata.is_some() || self.rdfa.is_some()
    }

    /// Returns where the parser has to start. Properties without a node count only with a price.
    fn start(&self) -> Option<usize> {
        let property = self.property.filter(|_| self.has_price);
        let first = self.microdata.into_iter().chain(self.rdfa).chain(property).min();
        if self.referenced.is_empty() { first } else { Some(0) }
    }

    fn syntaxes(&self) -> Vec<Syntax> {
        let has_microdata = self.microdata.is_some() || self.has_price;
        let microdata = has_microdata.then_some(Syntax::Microdata);
        microdata.into_iter().chain(self.rdfa.map(|_| Syntax::Rdfa)).collect()
    }
}

impl<'a> Markup<'a> {
    /// Adds what a tag says by itself.
    fn add(&mut self, tag: &Tag<'a, '_>) {
        if tag.is("meta") {
            self.add_meta(tag);
        } else if tag.is("link") {
            let is_canonical = |rel: &str| {
                rel.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("canonical"))
            };
            if self.canonical.is_none() && tag.attribute("rel").is_some_and(is_canonical) {
                self.canonical = tag.attribute("href").map(attributes::decode);
            }
        } else if tag.is("base") {
            if self.base.is_none() {
                self.base = tag.attribute("href").map(attributes::decode);
            }
        } else if tag.is("title") {
            if self.title.is_none() {
                let truncate = |title: &'a str| &title[..title.floor_char_boundary(MAX_TITLE)];
                let title = tag.text.map(|title| htmlize::unescape(truncate(title)).into_owned());
                self.title = title.filter(|title| !title.trim().is_empty());
            }
        } else if tag.is("script")
            && self.json_ld.len() < MAX_BLOCKS
            && tag
                .attribute("type")
                .is_some_and(|kind| kind.to_ascii_lowercase().contains("ld+json"))
        {
            self.json_ld.extend(tag.text);
        } else if tag.is("script") && self.scripts.len() < MAX_BLOCKS {
            self.scripts.extend(tag.text.filter(|text| !text.is_empty()));
        }
    }

    fn add_meta(&mut self, tag: &Tag<'a, '_>) {
        let Some(content) = tag.attribute("content") else { return };
        let name =
            tag.attribute("property").or_else(|| tag.attribute("name")).unwrap_or_default().trim();
        let has_prefix = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix))
        };
        if self.meta.len() < MAX_META
            && ["og:", "product:", "book:", "twitter:label", "twitter:data"]
                .into_iter()
                .any(has_prefix)
        {
            self.meta.push((name.to_ascii_lowercase(), attributes::decode(content)));
        }
    }
}

#[cfg(test)]
mod tests;
