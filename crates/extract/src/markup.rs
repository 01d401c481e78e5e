//! Everything in a page that can tell a product, as it stands there.
//!
//! What stands in single tags is read from these alone. Only for things told by nested elements, and for the places that
//! a rule names, the page is parsed, and only from where such things begin to where all of them are told.

use std::{borrow::Cow, cell::RefCell, rc::Rc, sync::LazyLock};

use lol_html::{HtmlRewriter, MemorySettings, Selector, Settings};

use crate::{
    attributes::{self, Syntax},
    handlers::{self, Selected, State, Text},
    items::Items,
    rules::{Place, Target},
    tags::{Tag, Tags},
};

/// Bytes that the HTML parser may hold: its stack of open elements, mostly.
const MAX_PARSER_MEMORY: usize = 8 * 1024 * 1024;

/// Bytes of a title that are kept, before entities are decoded.
const MAX_TITLE: usize = 4 * 1024;

/// Meta tags that are kept of a page.
const MAX_META: usize = 200;

/// Blocks of JSON-LD that are kept of a page.
const MAX_BLOCKS: usize = 1_000;

/// What a page holds, in page order, entities decoded.
#[derive(Default)]
pub(crate) struct Markup<'a> {
    /// Blocks of JSON-LD.
    pub(crate) json_ld: Vec<&'a str>,
    pub(crate) microdata: Items,
    pub(crate) rdfa: Items,
    /// OpenGraph's meta tags and their like: name in small letters, content.
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) title: Option<String>,
    /// What the page's relative links start from.
    pub(crate) base: Option<String>,
    /// The link that the page gives as its own.
    pub(crate) canonical: Option<String>,
    /// What was found at each of the rule's places.
    pub(crate) places: Vec<Option<Selected>>,
}

/// Reads a page. A page that breaks off, or exceeds a limit, is read as far as it goes. Where nothing but its head has
/// told anything yet, `is_enough` is asked when the body begins, with the rest of the page, whether that is all.
pub(crate) fn read<'a>(
    html: &'a str,
    places: &[(Target, Place)],
    mut is_enough: impl FnMut(&Markup<'a>, &'a str) -> bool,
) -> Markup<'a> {
    let mut markup = Markup::default();
    let (mut microdata, mut rdfa, mut last) = (None, None, 0);
    let mut tags = Tags::new(html);
    while let Some(tag) = tags.next() {
        let in_head = places.is_empty() && microdata.is_none() && rdfa.is_none();
        if in_head && tag.is("body") && is_enough(&markup, &html[tag.at..]) {
            return markup;
        }
        markup.add(&tag);
        microdata = microdata.or_else(|| tag.get("itemscope").map(|_| tag.at));
        rdfa = rdfa.or_else(|| tag.get("typeof").map(|_| tag.at));
        let tells = |names: [&str; 2]| names.iter().any(|name| tag.get(name).is_some());
        if microdata.is_some() && tells(["itemscope", "itemprop"]) || rdfa.is_some() && tells(["typeof", "property"]) {
            last = tag.at;
        }
    }
    let begin = microdata.into_iter().chain(rdfa).min();
    let begin = if places.is_empty() { begin } else { Some(0) };
    if let Some(begin) = begin {
        let is_last_begun = microdata.is_none() && rdfa.is_none();
        let state = State { last: last.saturating_sub(begin), is_last_begun, ..State::default() };
        markup.parse(&html[begin..], state, microdata.is_some(), rdfa.is_some(), places);
    }
    markup
}

impl<'a> Markup<'a> {
    /// Reads what a tag tells by itself.
    fn add(&mut self, tag: &Tag<'a, '_>) {
        if tag.is("meta") {
            self.add_meta(tag);
        } else if tag.is("link") {
            let is_canonical =
                |rel: &str| rel.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("canonical"));
            if self.canonical.is_none() && tag.get("rel").is_some_and(is_canonical) {
                self.canonical = tag.get("href").map(attributes::decoded);
            }
        } else if tag.is("base") {
            if self.base.is_none() {
                self.base = tag.get("href").map(attributes::decoded);
            }
        } else if tag.is("title") {
            if self.title.is_none() {
                let kept = |title: &'a str| &title[..title.floor_char_boundary(MAX_TITLE)];
                let title = tag.text.map(|title| htmlize::unescape(kept(title)).into_owned());
                self.title = title.filter(|title| !title.trim().is_empty());
            }
        } else if tag.is("script")
            && self.json_ld.len() < MAX_BLOCKS
            && tag.get("type").is_some_and(|kind| kind.to_ascii_lowercase().contains("ld+json"))
        {
            self.json_ld.extend(tag.text);
        }
    }

    fn add_meta(&mut self, tag: &Tag<'a, '_>) {
        let Some(content) = tag.get("content") else { return };
        let name = tag.get("property").or_else(|| tag.get("name")).unwrap_or_default().trim();
        let is_kept = |prefix: &str| name.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix));
        if self.meta.len() < MAX_META && ["og:", "product:", "book:"].into_iter().any(is_kept) {
            self.meta.push((name.to_ascii_lowercase(), attributes::decoded(content)));
        }
    }

    /// Reads what elements tell together.
    fn parse(&mut self, html: &str, mut state: State, microdata: bool, rdfa: bool, places: &[(Target, Place)]) {
        state.places = places.iter().map(|(target, _)| Text::new(*target == Target::Price)).collect();
        let state = Rc::new(RefCell::new(state));
        // Before the others: what begins here stands apart from what is collected already, and is no part of it.
        let mut listeners =
            vec![(&SELECTORS.apart, handlers::apart(&state)), (&SELECTORS.struck, handlers::struck(&state))];
        // Selectors of attributes alone make the parser look at those of every element.
        if microdata {
            listeners.push((&SELECTORS.microdata_thing, handlers::thing(&state, Syntax::Microdata)));
            listeners.push((&SELECTORS.microdata_property, handlers::property(&state, Syntax::Microdata)));
        }
        if rdfa {
            listeners.push((&SELECTORS.rdfa_thing, handlers::thing(&state, Syntax::Rdfa)));
            listeners.push((&SELECTORS.rdfa_property, handlers::property(&state, Syntax::Rdfa)));
        }
        for (at, (_, place)) in places.iter().enumerate() {
            listeners.push((&place.selector, handlers::text(&state, at, place)));
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
        let State { microdata, rdfa, places, .. } = state.take();
        self.microdata = microdata.finish();
        self.rdfa = rdfa.finish();
        self.places = places.into_iter().map(Text::finish).collect();
    }
}

struct Selectors {
    apart: Selector,
    struck: Selector,
    microdata_thing: Selector,
    microdata_property: Selector,
    rdfa_thing: Selector,
    rdfa_property: Selector,
}

static SELECTORS: LazyLock<Selectors> = LazyLock::new(|| Selectors {
    apart: selector("br, div, p, li, td, th, tr, sup"),
    struck: selector("del, s, strike, .screen-reader-text"),
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

    fn read<'a>(html: &'a str, places: &[(Target, Place)]) -> Markup<'a> {
        super::read(html, places, |_, _| false)
    }

    #[test]
    fn the_body_is_read_where_the_head_is_not_enough() {
        let html = "<title>Tea</title><BODY x><p itemscope><b itemprop=name>Tea</b></p></body>";
        let things = |enough| {
            let markup = super::read(html, &[], |markup, body| {
                assert!(markup.title.as_deref() == Some("Tea") && body.starts_with("<BODY"));
                enough
            });
            format!("{:?}", markup.microdata).contains("Tea")
        };
        assert_eq!((things(true), things(false)), (false, true));
        // What began in the head or before goes on in the body, and a rule may name any place.
        let html = html.replace("<p itemscope>", "<p>").replace("<title>", "<html itemscope><title>");
        assert_eq!(super::read(&html, &[], |_, _| true).microdata.text(0, &["name"]), Some("Tea"));
    }
    use crate::text;

    #[test]
    fn texts_and_tags_are_read_with_their_entities() {
        let markup = read(
            "<head><title>Salt &amp;\n Pepper</title><link rel='x CANONICAL' href='/p?a=1&amp;b=2'>\
             <base target=x><base href='/b/?&amp;'><base href=/c/><META NAME=' OG:Type ' CONTENT='a &lt; b'><meta name=viewport content=1><meta property=og:url></head>\
             <svg><title>icon</title></svg>",
            &[],
        );
        assert_eq!(markup.title.as_deref(), Some("Salt &\n Pepper"));
        assert_eq!(markup.canonical.as_deref(), Some("/p?a=1&b=2"));
        assert_eq!(markup.base.as_deref(), Some("/b/?&"));
        assert_eq!(markup.meta, [("og:type".to_owned(), "a < b".to_owned())]);
    }

    #[test]
    fn a_place_is_the_first_element_that_has_something() {
        let place = |selector: &str, attribute: Option<&str>| {
            let place = Place { selector: selector.parse().unwrap(), attribute: attribute.map(str::to_owned) };
            (Target::Name, place)
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
        let found = read(html, &places).places;
        let found: Vec<_> = found.iter().map(|f| f.as_ref().map(|f| (f.text.as_str(), f.exact))).collect();
        assert_eq!(found, [Some(("124", false)), Some(("7", true)), Some(("v", true)), Some(("open €", false)), None]);
    }

    #[test]
    fn the_texts_of_neighbours_stand_apart_and_old_prices_are_left_out() {
        for (html, name, price) in [
            ("<div>12</div><div>2 left</div>", "12 2 left", "12 2 left"),
            ("<p>12</p>2 left", "12 2 left", "12 2 left"),
            ("Green Tea<br>100 g<li>x<li>y", "Green Tea 100 g x y", "Green Tea 100 g x y"),
            ("<tr><td>a<td>b</tr>", "a b", "a b"),
            ("<b>1</b><i>2</i>", "12", "12"),
            ("19<sup>99</sup> &euro;", "19 99 €", "19.99 €"),
            ("<del>20</del> <ins>15</ins>", "20 15", "15"),
            ("<s><b>20<s>1</s></b>2</s>15<strike>3</strike>", "2012153", "15"),
            ("<span class='a screen-reader-text'>was</span>15", "was15", "15"),
            ("<s>20", "20", ""),
        ] {
            let read_at = |target: Target| {
                let place = Place { selector: "h1".parse().unwrap(), attribute: None };
                let found = read(&format!("<h1>{html}</h1>"), &[(target, place)]).places.remove(0);
                found.and_then(|found| text::line(&found.text, 100)).unwrap_or_default()
            };
            assert_eq!((read_at(Target::Name).as_str(), read_at(Target::Price).as_str()), (name, price), "{html}");
            let told = |property: &str| {
                let things = read(&format!("<i itemscope><b itemprop={property}>{html}</b>"), &[]).microdata;
                text::line(things.text(0, &[property]).unwrap_or_default(), 100).unwrap_or_default()
            };
            assert_eq!((told("name").as_str(), told("price").as_str()), (name, price), "{html}");
        }
    }

    #[test]
    fn what_is_open_at_the_last_property_is_read_to_its_end() {
        let h1 = [(Target::Name, Place { selector: "h1".parse().unwrap(), attribute: None })];
        for places in [&[][..], &h1] {
            let html =
                "<i itemscope><b itemprop=a>1<i itemprop=b>2</i>3</b></i><i typeof=x><b property=c>4</b>5<h1>6</h1>";
            let markup = read(html, places);
            assert_eq!(markup.microdata.text(0, &["a"]), Some("123"));
            assert_eq!(markup.microdata.text(0, &["b"]), Some("2"));
            assert_eq!(markup.rdfa.text(0, &["c"]), Some("4"));
            let found: Vec<_> = markup.places.iter().flatten().map(|found| found.text.as_str()).collect();
            assert_eq!(found, vec!["6"; places.len()]);
        }
    }

    #[test]
    fn a_price_that_is_struck_itself_is_read() {
        let place = |selector: &str| (Target::Price, Place { selector: selector.parse().unwrap(), attribute: None });
        let found = read("<p><s>20 <b>5</b></s></p>", &[place("s"), place("b"), place("p")]).places;
        let found: Vec<_> = found.iter().map(|found| found.as_ref().map(|found| found.text.as_str())).collect();
        assert_eq!(found, [Some("20 5"), Some("5"), None]);
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
