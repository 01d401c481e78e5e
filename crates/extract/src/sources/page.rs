//! The sources of an HTML page.

use std::borrow::Cow;

use memchr::memmem;
use url::Url;

use super::{
    breadcrumb_links, doubt, html,
    merger::{Gap, Merger},
    open_graph::OpenGraph,
    rule_match, script_json,
};
use crate::{
    finding::{self, Finding, RawTexts},
    json,
    markup::{self, Markup},
    product::{Field, Method},
    rules::Rule,
    schema_org::{breadcrumbs, fragments, graph::Graph, json_ld, page_identity::PageIdentity},
    shown::{self, Reading, Shown},
};

/// Every structured source of a page contains one of these; `product` and `Product` are the usual
/// ones.
const PRODUCT_WORDS: [&str; 10] = [
    "roduct",
    "__NEXT",
    "STATE__",
    "__NUXT",
    "__next_f",
    "og:price",
    "offers",
    "Offer",
    "itemprop",
    "twitter:data",
];

/// A page that shows a price contains one of these, as a class, in a script or as a currency.
const PRICE_WORDS: [&str; 50] = [
    "rice", "reis", "prix", "precio", "preco", "rezzo", "rijs", "cena", "iyat", "mount", "€",
    "&euro;", "£", "zł", "Kč", "¥", "円", "₽", "₹", "₺", "CHF", "R$", "₴", "₫", "₩", "원", "฿",
    "₪", "₦", "元", ">$", "> $", ">US$", "&#36;", " kr<", "kr.<", " Kr<", "Ft<", " lei<", " Lei<",
    "TL<", ">Rp", ">RM", "S/ ", "грн", "руб", "AED", "SAR", "د.إ", "лв",
];

/// Reads a page and adds what its sources find. Its text is read only where they have no price, or
/// different ones.
pub(crate) fn read(html: &str, address: &Url, rule: Option<&Rule>, merger: &mut Merger) {
    let locators = rule.map(|rule| rule.html.as_slice()).unwrap_or_default();
    let words = [&PRODUCT_WORDS[..], &PRICE_WORDS];
    if locators.is_empty() && !words.iter().any(|words| contains_any(html, words)) {
        return;
    }
    // In many shops one block of JSON-LD in the head describes the whole product. Then the body,
    // which is nearly all of the page, can add nothing.
    let mut complete = None;
    let mut markup = markup::read(html, locators, |head, body| {
        if rule.is_some() || head.json_ld.is_empty() || contains_any(body, &["ld+json"]) {
            return false;
        }
        let mut merger = merger.clone();
        add_sources(head, address, &mut merger);
        complete = (merger.is_complete() && !doubt::is_doubtful(&merger, body)).then_some(merger);
        complete.is_some()
    });
    if let Some(complete) = complete {
        *merger = complete;
        return;
    }
    if let Some(rule) = rule {
        let base = &*base(&markup, address);
        rule_match::add(rule, markup.matches.drain(..), base, merger);
    }
    add_sources(&markup, address, merger);
    if merger.lacks_category() {
        let open_graph = OpenGraph::new(&markup.meta);
        let base = &*base(&markup, address);
        let page = page_identity(&markup, &open_graph, address, base);
        let category = breadcrumb_links::category(html, merger.name(), &page, base);
        merger.set_breadcrumb(category.map(|category| Field::new(category, Method::Html)));
    }
    if merger.lacks_price() {
        add_scripts(html, &markup, address, merger);
    }
    if let Some(gap) = merger.gap() {
        let reading = read_text(html, &markup, address, merger);
        merger.set_heading(reading.heading());
        match gap {
            Gap::Disagreement(prices) => merger.set_shown_price(reading.shown_one(&prices)),
            Gap::NoPrice if !merger.has_offer() && reading.is_another_list() => {
                merger.remove_product();
            }
            Gap::NoPrice => add_shown(&reading, address, merger),
        }
    } else if doubt::is_doubtful(merger, html) {
        let reading = read_text(html, &markup, address, merger);
        merger.set_heading(reading.heading());
        let is_list = merger.may_be_list() && reading.is_list(merger.has_image());
        if is_list || merger.is_unlike_titles() && reading.is_of_another_kind() {
            merger.remove_product();
        } else if let Some((price, others)) = merger.offered()
            && let Some(shown) = reading.offered_one(price, &others)
        {
            merger.settle(shown);
        } else if let Some((price, _)) = merger.agreed_price()
            && let Some(shown) = reading.correction(price)
        {
            merger.correct_price(finding_of(&shown, address), shown.is_confirmed);
        } else if let Some((price, None)) = merger.agreed_price() {
            let currency = reading.currency_of(price);
            merger.add_detail(Method::Shown, Finding { currency, ..Finding::default() });
        }
    }
}

/// Adds the product in the scripts of a page that has no price elsewhere.
fn add_scripts(html: &str, markup: &Markup<'_>, address: &Url, merger: &mut Merger) {
    let base = &*base(markup, address);
    let open_graph = OpenGraph::new(&markup.meta);
    let title = markup.title.as_deref();
    let page = page_identity(markup, &open_graph, address, base);
    let mut graph = Graph::default();
    script_json::add_json_ld(&markup.scripts, &mut graph);
    if let Some(finding) = fragments::read(&graph, &page, base) {
        merger.add_if_same(Method::JsonLd, finding);
    }
    if merger.lacks_price() {
        let names = [merger.name(), open_graph.title(), title];
        let names: Vec<&str> = names
            .into_iter()
            .flatten()
            .flat_map(|name| [name, open_graph.without_site_name(name), first_part(name)])
            .collect();
        if let Some(finding) = script_json::read_state(html, &markup.scripts, &names, base) {
            merger.add_if_same(Method::Json, finding);
        }
    }
}

/// Returns a title up to the first separator, after which many sites put their name.
fn first_part(title: &str) -> &str {
    [" | ", " - ", " – ", " — ", " · "]
        .iter()
        .filter_map(|separator| title.split_once(separator))
        .map(|(first, _)| first)
        .min_by_key(|first| first.len())
        .unwrap_or(title)
}

fn page_identity<'a>(
    markup: &Markup<'_>,
    open_graph: &OpenGraph<'_>,
    address: &'a Url,
    base: &Url,
) -> PageIdentity<'a> {
    let titles = open_graph.title().into_iter().chain(markup.title.as_deref());
    PageIdentity {
        address,
        canonical: markup.canonical.as_deref().and_then(|link| finding::absolute_url(link, base)),
        titles: titles.map(str::to_lowercase).collect(),
        is_article: open_graph.kind().starts_with("article"),
    }
}

/// Returns the canonical link of a page.
pub(crate) fn canonical(html: &str, address: &Url) -> Option<Url> {
    let markup = markup::read(html, &[], |_, _| false);
    finding::absolute_url(markup.canonical.as_deref()?, &base(&markup, address))
}

/// Reads the text that a page shows, for an explanation.
pub(crate) fn explain(html: &str, address: &Url, merger: &Merger) -> Reading {
    let markup = markup::read(html, &[], |_, _| false);
    read_text(html, &markup, address, merger)
}

fn read_text(html: &str, markup: &Markup<'_>, address: &Url, merger: &Merger) -> Reading {
    let open_graph = OpenGraph::new(&markup.meta);
    let titles = open_graph.title().into_iter().chain(markup.title.as_deref());
    shown::read(&shown::Page {
        html,
        address,
        titles: titles.map(|title| open_graph.without_site_name(title).to_owned()).collect(),
        site: open_graph.site_name(),
        name: merger.name().filter(|_| merger.is_product()),
        is_product: merger.is_product(),
        is_sold_out: merger.is_sold_out(),
        og_type: open_graph.kind(),
        json_ld: &markup.json_ld,
    })
}

fn add_shown(reading: &Reading, address: &Url, merger: &mut Merger) {
    if let Some(shown) = reading.price() {
        merger.add_shown(finding_of(&shown, address), shown.is_confirmed);
    }
}

fn finding_of(shown: &Shown, address: &Url) -> Finding {
    let availability = shown.availability;
    let texts = RawTexts { name: Some(&shown.name), availability, ..RawTexts::default() };
    Finding {
        price: Some(shown.price),
        currency: shown.currency,
        variants: 1,
        ..Finding::from_texts(texts, address)
    }
}

fn contains_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| memmem::find(text.as_bytes(), word.as_bytes()).is_some())
}

/// Returns the URL that relative links are resolved by.
fn base<'a>(markup: &Markup<'_>, address: &'a Url) -> Cow<'a, Url> {
    let base = markup.base.as_deref().and_then(|link| finding::absolute_url(link, address));
    base.map_or(Cow::Borrowed(address), Cow::Owned)
}

/// Adds all sources but the rule. [`Merger`] sorts them by precedence.
fn add_sources(markup: &Markup<'_>, address: &Url, merger: &mut Merger) {
    let base = &*base(markup, address);
    let open_graph = OpenGraph::new(&markup.meta);
    let title = markup.title.as_deref();
    let page = page_identity(markup, &open_graph, address, base);

    let mut room = json::MAX_BYTES;
    let (product_blocks, other_blocks): (Vec<_>, Vec<_>) = markup
        .json_ld
        .iter()
        .partition(|block| block.contains("roduct") || block.contains("offers"));
    let json_ld = json_ld_graph(product_blocks, &mut room);
    let graphs = [
        (Method::JsonLd, &json_ld),
        (Method::Microdata, &markup.microdata),
        (Method::Rdfa, &markup.rdfa),
    ];
    for (method, graph) in graphs {
        if let Some(finding) = fragments::read(graph, &page, base) {
            merger.add_if_same(method, finding);
        }
    }
    merger.set_unlike_titles(merger.name().is_some_and(|name| page.is_unlike(name)));
    if open_graph.is_product() {
        merger.add(Method::OpenGraph, open_graph.read(base));
    } else {
        merger.add_detail(Method::OpenGraph, open_graph.read(base));
    }
    if merger.lacks_category() {
        let blocks = other_blocks.into_iter().filter(|block| block.contains("BreadcrumbList"));
        let other_json_ld = json_ld_graph(blocks, &mut room);
        let mut graphs = graphs.into_iter().chain([(Method::JsonLd, &other_json_ld)]);
        merger.set_breadcrumb(graphs.find_map(|(method, graph)| {
            Some(Field::new(breadcrumbs::category(graph, merger.name(), &page)?, method))
        }));
    }
    let title = title.map(|title| open_graph.without_site_name(title));
    merger.add_detail(Method::Html, html::read(title, page.canonical, base));
    merger.strip_site(address);
}

/// Reads the blocks that there is room for, and of a longer one the parts that matter.
fn json_ld_graph<'a>(blocks: impl IntoIterator<Item = &'a &'a str>, room: &mut usize) -> Graph {
    let mut graph = Graph::default();
    for block in blocks {
        if let Some(left) = room.checked_sub(block.len()) {
            *room = left;
            json_ld::add_block(block, &mut graph);
        } else if let Some(nodes) = json::prune(block, &json_ld::is_read, room) {
            json_ld::add_json(nodes, &mut graph);
        }
    }
    graph
}
