//! Completes the product of a page whose microdata is broken: its name and its offer are in two
//! products, an offer belongs to no product, or a price to nothing at all.
//!
//! A part is used only if there is exactly one that fits. On a page with several, each may belong
//! to another product.

use url::Url;

use super::{
    LOOSE, LOOSE_OFFERS, graph::Graph, main_product, offers, page_identity::PageIdentity,
    product_fields,
};
use crate::finding::Finding;

/// Returns the product that the page is about.
pub(crate) fn read(graph: &Graph, page: &PageIdentity<'_>, base: &Url) -> Option<Finding> {
    let product = main_product::find(graph, page);
    let mut finding = product.map(|product| product_fields::read(graph, product, base));
    let has_offer = product.is_some_and(|product| {
        ["offers", LOOSE_OFFERS, "price"].iter().any(|property| graph.has(product, property))
    });
    let lacks_name = finding.as_ref().is_some_and(|finding| finding.name.is_none());
    let lacks_price = finding.as_ref().is_none_or(|finding| finding.price.is_none()) && !has_offer;
    if lacks_price || lacks_name {
        let own = finding.clone().unwrap_or_default();
        let part = parts(graph, product, &own, lacks_price)
            .into_iter()
            .map(|node| read_part(graph, node, base))
            .find(|part| !lacks_price || part.price.is_some());
        if let Some(part) = part {
            finding = Some(complete(own, part));
        }
    }
    finding
}

/// Returns the nodes that may complete a product: one of each kind that has exactly one.
fn parts(graph: &Graph, product: Option<usize>, own: &Finding, lacks_price: bool) -> Vec<usize> {
    let is_same_name = |node: usize| {
        let name = graph.text(node, &["name"]).map(str::trim);
        match (name, own.name.as_deref()) {
            (Some(name), Some(own)) => name.to_lowercase() == own.to_lowercase(),
            (name, own) => lacks_price && name.is_none() || !lacks_price && own.is_none(),
        }
    };
    let has_offers = |node: usize| graph.has(node, "offers") || graph.has(node, "price");
    let products: Vec<usize> = main_product::candidates(graph)
        .filter(|&node| Some(node) != product && product.is_some())
        .filter(|&node| is_same_name(node) && has_offers(node) == lacks_price)
        .collect();
    let offers: Vec<usize> = graph
        .nodes()
        .filter(|&node| lacks_price && graph.is_root(node) && offers::is_offer(graph, node))
        .filter(|&node| !graph.is_reference(node))
        .collect();
    let loose: Vec<usize> = graph.nodes().filter(|&node| graph.is_a(node, &[LOOSE])).collect();
    [products, offers, loose]
        .into_iter()
        .filter_map(|kind| if let [only] = kind[..] { Some(only) } else { None })
        .collect()
}

/// Reads a part. Loose properties count if their prices are equal, and their names, too: a list has
/// several.
fn read_part(graph: &Graph, node: usize, base: &Url) -> Finding {
    let has_several = |property: &str| {
        let texts = graph.values(node, property).filter_map(|value| graph.text_of(value));
        let mut texts = texts.map(str::trim);
        let first = texts.next();
        texts.any(|text| Some(text) != first)
    };
    if graph.is_a(node, &[LOOSE]) && ["price", "name"].into_iter().any(has_several) {
        return Finding::default();
    }
    product_fields::read(graph, node, base)
}

/// Fills the missing fields of a product with those of a part. A name comes with its product, not
/// with an offer, which may be named after its condition.
fn complete(own: Finding, part: Finding) -> Finding {
    let takes_price = own.price.is_none();
    Finding {
        name: own.name.or(part.name),
        price: own.price.or(part.price),
        currency: if takes_price { part.currency } else { own.currency },
        variants: if takes_price { part.variants } else { own.variants },
        alternatives: if takes_price { part.alternatives } else { own.alternatives },
        is_ambiguous: if takes_price { part.is_ambiguous } else { own.is_ambiguous },
        category: own.category.or(part.category),
        sku: own.sku.or(part.sku),
        brand: own.brand.or(part.brand),
        availability: own.availability.or(part.availability),
        image: own.image.or(part.image),
        url: own.url.or(part.url),
    }
}
