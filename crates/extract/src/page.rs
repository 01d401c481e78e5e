//! From a page's HTML to what each method tells of its product.

use memchr::memmem;
use url::Url;

use crate::{
    choose::{self, Page},
    finding::{self, Finding, Texts},
    items::Items,
    json_ld,
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
    let (targets, places): (Vec<_>, Vec<_>) =
        rule.into_iter().flat_map(|rule| &rule.html).map(|(target, place)| (*target, place)).unzip();
    if places.is_empty() && !MENTIONS.iter().any(|mention| memmem::find(html.as_bytes(), mention.as_bytes()).is_some())
    {
        return;
    }
    let mut markup = markup::read(html, &places);
    if let Some(rule) = rule {
        let selected = targets.iter().copied().zip(markup.places.drain(..));
        let found: Vec<_> = selected.filter_map(|(target, selected)| Some((target, selected?))).collect();
        sources.set_rule(Ruled::of(rule, targets, &found, address));
    }
    tell(&markup, address, sources);
}

fn tell(markup: &Markup, address: &Url, sources: &mut Sources) {
    let graph = OpenGraph::new(&markup.meta);
    let titles = graph.title().into_iter().chain(markup.title.as_deref()).map(str::to_lowercase).collect();
    let canonical = markup.canonical.as_deref().and_then(|link| finding::absolute(link, address));
    let page = Page { address, canonical, titles };

    let (product_blocks, others): (Vec<_>, Vec<_>) =
        markup.json_ld.iter().partition(|block| block.contains("roduct") || block.contains("offers"));
    let json_ld = things(&product_blocks);
    let syntaxes = [(Method::JsonLd, &json_ld), (Method::Microdata, &markup.microdata), (Method::Rdfa, &markup.rdfa)];
    for (method, items) in syntaxes {
        if let Some(product) = choose::main_product(items, &page) {
            sources.add_if_the_same(method, schema::finding(items, product, address));
        }
    }
    // A title and an image are on every page: they tell no product, but complete one.
    if graph.is_product() {
        sources.add(Method::OpenGraph, graph.finding(address));
    } else {
        sources.add_detail(Method::OpenGraph, graph.finding(address));
    }
    if sources.category_is_missing() {
        let breadcrumbs: Vec<_> = others.into_iter().filter(|block| block.contains("BreadcrumbList")).collect();
        let elsewhere = things(&breadcrumbs);
        for (method, items) in syntaxes.into_iter().chain([(Method::JsonLd, &elsewhere)]) {
            let category = schema::breadcrumb(items, sources.name(), &page);
            sources.add_detail(method, Finding { category, ..Finding::default() });
        }
    }
    let title = markup.title.as_deref().map(|title| graph.without_site(title));
    let html = Texts { name: title, ..Texts::default() };
    let url = page.canonical.map(String::from);
    sources.add_detail(Method::Html, Finding { url, ..Finding::of(html, address) });
}

fn things(blocks: &[&String]) -> Items {
    let mut items = Items::default();
    for block in blocks {
        json_ld::add(block, &mut items);
    }
    items
}
