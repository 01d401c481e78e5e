//! From a page's HTML to what each method tells of its product.

use std::borrow::Cow;

use memchr::memmem;
use url::Url;

use crate::{
    choose::{self, Page},
    finding::{self, Finding, Texts},
    items::Items,
    json_ld, lenient_json,
    markup::{self, Markup},
    open_graph::OpenGraph,
    product::Method,
    ruled::Ruled,
    rules::Rule,
    schema,
    sources::Sources,
};

/// Every form that is read here mentions one of these, `product` and `Product` being the usual ones.
const MENTIONS: [&str; 3] = ["roduct", "og:price", "offers"];

/// Reads a page.
pub(crate) fn read(html: &str, address: &Url, rule: Option<&Rule>, sources: &mut Sources) {
    let places = rule.map(|rule| rule.html.as_slice()).unwrap_or_default();
    if places.is_empty() && !MENTIONS.iter().any(|mention| memmem::find(html.as_bytes(), mention.as_bytes()).is_some())
    {
        return;
    }
    let mut told_by_head = None;
    let mut markup = markup::read(html, places, |markup, body| {
        // In many shops one block tells everything, and the body, which is nearly all of the page, can add nothing.
        if rule.is_some() || markup.json_ld.is_empty() || memmem::find(body.as_bytes(), b"ld+json").is_some() {
            return false;
        }
        let mut told = sources.clone();
        tell(markup, address, &mut told);
        told_by_head = told.is_complete().then_some(told);
        told_by_head.is_some()
    });
    if let Some(told) = told_by_head {
        *sources = told;
        return;
    }
    if let Some(rule) = rule {
        let targets: Vec<_> = places.iter().map(|(target, _)| *target).collect();
        let selected = targets.iter().copied().zip(markup.places.drain(..));
        let found: Vec<_> = selected.filter_map(|(target, selected)| Some((target, selected?))).collect();
        sources.set_rule(Ruled::of(rule, targets, &found, &base(&markup, address)));
    }
    tell(&markup, address, sources);
}

/// What links start from.
fn base<'a>(markup: &Markup<'_>, address: &'a Url) -> Cow<'a, Url> {
    let base = markup.base.as_deref().and_then(|link| finding::absolute(link, address));
    base.map_or(Cow::Borrowed(address), Cow::Owned)
}

fn tell(markup: &Markup<'_>, address: &Url, sources: &mut Sources) {
    let base = &*base(markup, address);
    let graph = OpenGraph::new(&markup.meta);
    let titles = graph.title().into_iter().chain(markup.title.as_deref()).map(str::to_lowercase).collect();
    let canonical = markup.canonical.as_deref().and_then(|link| finding::absolute(link, base));
    let page = Page { address, canonical, titles };

    let mut room = lenient_json::MAX_BYTES;
    let (product_blocks, others): (Vec<_>, Vec<_>) =
        markup.json_ld.iter().partition(|block| block.contains("roduct") || block.contains("offers"));
    let json_ld = things(product_blocks, &mut room);
    let syntaxes = [(Method::JsonLd, &json_ld), (Method::Microdata, &markup.microdata), (Method::Rdfa, &markup.rdfa)];
    for (method, items) in syntaxes {
        if let Some(product) = choose::main_product(items, &page) {
            sources.add_if_the_same(method, schema::finding(items, product, base));
        }
    }
    // A title and an image are on every page: they tell no product, but complete one.
    if graph.is_product() {
        sources.add(Method::OpenGraph, graph.finding(base));
    } else {
        sources.add_detail(Method::OpenGraph, graph.finding(base));
    }
    if sources.category_is_missing() {
        let breadcrumbs = others.into_iter().filter(|block| block.contains("BreadcrumbList"));
        let elsewhere = things(breadcrumbs, &mut room);
        for (method, items) in syntaxes.into_iter().chain([(Method::JsonLd, &elsewhere)]) {
            let category = schema::breadcrumb(items, sources.name(), &page);
            sources.add_detail(method, Finding { category, ..Finding::default() });
        }
    }
    let title = markup.title.as_deref().map(|title| graph.without_site(title));
    let html = Texts { name: title, ..Texts::default() };
    let url = page.canonical.map(String::from);
    sources.add_detail(Method::Html, Finding { url, ..Finding::of(html, base) });
}

/// The things of all blocks for which there is room.
fn things<'a>(blocks: impl IntoIterator<Item = &'a &'a str>, room: &mut usize) -> Items {
    let mut items = Items::default();
    for block in blocks {
        if let Some(left) = room.checked_sub(block.len()) {
            *room = left;
            json_ld::add(block, &mut items);
        }
    }
    items
}
