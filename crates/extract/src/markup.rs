//! One pass over a page: everything that can tell a product, as it stands there.

use std::{borrow::Cow, cell::RefCell, rc::Rc, sync::LazyLock};

use lol_html::{HtmlRewriter, MemorySettings, Selector, Settings};

use crate::{
    attributes::Syntax,
    handlers::{self, FIRST_PLACE, Selected, State, TITLE, Text},
    items::Items,
    rules::Place,
};

/// Bytes that the HTML parser may hold: its stack of open elements, mostly.
const MAX_PARSER_MEMORY: usize = 8 * 1024 * 1024;

/// What a page holds, in page order, entities decoded.
#[derive(Default)]
pub(crate) struct Markup {
    /// Blocks of JSON-LD.
    pub(crate) json_ld: Vec<String>,
    pub(crate) microdata: Items,
    pub(crate) rdfa: Items,
    /// OpenGraph's meta tags and their like: name in small letters, content.
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) title: Option<String>,
    /// The link that the page gives as its own.
    pub(crate) canonical: Option<String>,
    /// What was found at each of the rule's places.
    pub(crate) places: Vec<Option<Selected>>,
}

/// Reads a page. A page that breaks off, or exceeds a limit, is read as far as it goes.
pub(crate) fn read(html: &str, places: &[&Place]) -> Markup {
    let texts = std::iter::repeat_with(Text::default).take(FIRST_PLACE + places.len()).collect();
    let state = Rc::new(RefCell::new(State { texts, ..State::default() }));
    let mut listeners = vec![
        (&SELECTORS.json_ld, handlers::json_ld(&state)),
        (&SELECTORS.meta, handlers::meta(&state)),
        (&SELECTORS.canonical, handlers::canonical(&state)),
        (&SELECTORS.title, handlers::text(&state, TITLE, None)),
    ];
    // Selectors of attributes alone make the parser look at those of every element.
    if mentions(html, b"itemscope") {
        listeners.push((&SELECTORS.microdata_thing, handlers::thing(&state, Syntax::Microdata)));
        listeners.push((&SELECTORS.microdata_property, handlers::property(&state, Syntax::Microdata)));
    }
    if mentions(html, b"typeof") {
        listeners.push((&SELECTORS.rdfa_thing, handlers::thing(&state, Syntax::Rdfa)));
        listeners.push((&SELECTORS.rdfa_property, handlers::property(&state, Syntax::Rdfa)));
    }
    for (at, place) in places.iter().enumerate() {
        listeners.push((&place.selector, handlers::text(&state, FIRST_PLACE + at, Some(place))));
    }
    let memory = MemorySettings::new().with_max_allowed_memory_usage(MAX_PARSER_MEMORY);
    let settings = Settings::new().with_strict(false).with_memory_settings(memory);
    let settings = listeners.into_iter().fold(settings, |settings, (selector, handler)| {
        settings.append_element_content_handler((Cow::Borrowed(selector), handler))
    });
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    // An error ends the reading, and what was read counts.
    if rewriter.write(html.as_bytes()).is_ok() {
        let _ = rewriter.end();
    }
    let State { json_ld, meta, canonical, microdata, rdfa, texts, .. } = state.take();
    let mut texts = texts.into_iter().map(Text::finish);
    Markup {
        json_ld,
        microdata: microdata.finish(),
        rdfa: rdfa.finish(),
        meta,
        title: texts.next().flatten().map(|title| title.text),
        canonical,
        places: texts.collect(),
    }
}

/// Whether a page has a word, in small letters or large ones, anywhere.
fn mentions(html: &str, word: &[u8]) -> bool {
    let html = html.as_bytes();
    let is_here = |at: usize| html.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    memchr::memchr2_iter(word[0], word[0].to_ascii_uppercase(), html).any(is_here)
}

struct Selectors {
    json_ld: Selector,
    meta: Selector,
    canonical: Selector,
    title: Selector,
    microdata_thing: Selector,
    microdata_property: Selector,
    rdfa_thing: Selector,
    rdfa_property: Selector,
}

static SELECTORS: LazyLock<Selectors> = LazyLock::new(|| Selectors {
    json_ld: selector("script[type*=\"ld+json\" i]"),
    meta: selector("meta[content]"),
    canonical: selector("link[rel~=\"canonical\" i]"),
    title: selector("title"),
    microdata_thing: selector("[itemscope]"),
    microdata_property: selector("[itemprop]:not([itemscope])"),
    rdfa_thing: selector("[typeof]"),
    rdfa_property: selector("[property]:not([typeof])"),
});

#[expect(clippy::expect_used, reason = "the selectors are constants, and each test of this file parses them all")]
fn selector(css: &str) -> Selector {
    css.parse().expect("a selector that is supported")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_tags_are_read_with_their_entities() {
        let markup = read(
            "<head><title>Salt &amp;\n Pepper</title><link rel='x CANONICAL' href='/p?a=1&amp;b=2'>\
             <META NAME=' OG:Type ' CONTENT='a &lt; b'><meta name=viewport content=1><meta property=og:url></head>\
             <svg><title>icon</title></svg>",
            &[],
        );
        assert_eq!(markup.title.as_deref(), Some("Salt &\n Pepper"));
        assert_eq!(markup.canonical.as_deref(), Some("/p?a=1&b=2"));
        assert_eq!(markup.meta, [("og:type".to_owned(), "a < b".to_owned())]);
    }

    #[test]
    fn a_place_is_the_first_element_that_has_something() {
        let place = |selector: &str, attribute: Option<&str>| Place {
            selector: selector.parse().unwrap(),
            attribute: attribute.map(str::to_owned),
        };
        let places = [
            place(".a", None),
            place(".a", Some("data-x")),
            place("input", None),
            place("p", None),
            place(".none", None),
        ];
        let html = "<i class=a data-x=' '> </i><b class=a data-x=7>1<s class=a>2</s><script>3</script>4</b>5\
                    <input value=v><p>open &euro;";
        let found = read(html, &places.iter().collect::<Vec<_>>()).places;
        let found: Vec<_> = found.iter().map(|f| f.as_ref().map(|f| (f.text.as_str(), f.exact))).collect();
        assert_eq!(found, [Some(("124", false)), Some(("7", true)), Some(("v", true)), Some(("open €", false)), None]);
    }

    #[test]
    fn every_block_of_json_ld_is_kept_as_it_is() {
        let html = "<script type='application/ld+json'>{\"a\":\"<b>&amp;\"}</script><script>var x</script>\
                    <SCRIPT TYPE=\"Application/LD+JSON; charset=utf-8\">{}</SCRIPT><script type=application/ld+json>{\"cut";
        assert_eq!(read(html, &[]).json_ld, ["{\"a\":\"<b>&amp;\"}", "{}", "{\"cut"]);
    }

    #[test]
    fn a_property_is_told_by_an_attribute_or_by_its_text() {
        for (element, expected) in [
            ("<b itemprop=x>5</b>", "5"),
            ("<b itemprop=x content=6>5</b>", "6"),
            ("<b itemprop=x content=' '>5</b>", "5"),
            ("<b itemprop='y x'>5<script>7</script></b>", "5"),
            ("<b itemprop=http://schema.org/x>5</b>", "5"),
            ("<meta itemprop=x content='&quot;6&quot;'>", "\"6\""),
            ("<link itemprop=x href=/6>", "/6"),
            ("<img itemprop=x src=6 alt=5>", "6"),
            ("<data itemprop=x value=6>5</data>", "6"),
            ("<time itemprop=x datetime=6>5</time>", "6"),
            ("<input itemprop=x value=6>", "6"),
            ("<a itemprop=x href=6>5</a>", "5"),
            ("<a itemprop='url x' href=6>5</a>", "6"),
        ] {
            let microdata = read(&format!("<div itemscope itemtype=Thing>{element}</div>"), &[]).microdata;
            assert_eq!(microdata.text(0, &["x"]), Some(expected), "{element}");
        }
    }

    #[test]
    fn tags_of_opengraph_are_no_properties_of_a_thing() {
        let html = "<body vocab=https://schema.org/ typeof=Product><meta property=og:name content=Shop>\
                    <b property=schema:name>Tea</b>";
        assert_eq!(read(html, &[]).rdfa.text(0, &["name"]), Some("Tea"));
    }
}
