//! Chooses the product that a page is about.
//!
//! Some products never count: a part of another product (a variant, an accessory), a related
//! product, and an entry of a list.
//!
//! Of the others, those count that the page points to: by `mainEntity`, by its own address or
//! canonical URL, or by its title. Of several names in the title, the longest counts. If the page
//! points to none, those count whose `url` does not lead to another page, as that of a tile does,
//! and first of all those of whose name a title has the most words. If several have prices and
//! different names, and no title has their words, none counts: the page is a list. A product alone
//! counts unless the titles have too little of its name: less than half of the words where its `url`
//! leads to another page, no more than half in an article, none on the home page.
//!
//! Of what is left, the first one with a price is chosen, since reviews and ratings often repeat
//! the product without its price; or else the first one. If it is a variant of a group next to it,
//! the group is chosen instead.

use super::{
    graph::Graph,
    offers::{self, VisitBudget},
    page_identity::{Likeness, PageIdentity},
};

/// Types of products.
const PRODUCTS: [&str; 10] = [
    "Product",
    "ProductGroup",
    "ProductModel",
    "IndividualProduct",
    "SomeProducts",
    "Vehicle",
    "Car",
    "Motorcycle",
    "Drug",
    "DietarySupplement",
];

/// Types that are products if they have offers.
const PRODUCTS_WITH_OFFERS: [&str; 9] = [
    "Audiobook",
    "Book",
    "MobileApplication",
    "Movie",
    "MusicAlbum",
    "MusicRelease",
    "SoftwareApplication",
    "VideoGame",
    "WebApplication",
];

/// Types of other things that are sold if they have offers, or the ends of such types.
const SOLD_WITH_OFFERS: [&str; 28] = [
    "Accommodation",
    "Apartment",
    "Attraction",
    "Boat",
    "Course",
    "CourseInstance",
    "CreativeWork",
    "Episode",
    "Event",
    "Festival",
    "Game",
    "Hotel",
    "HotelRoom",
    "House",
    "Menu",
    "MenuItem",
    "Painting",
    "Photograph",
    "RealEstateListing",
    "Residence",
    "Room",
    "Sculpture",
    "Service",
    "Suite",
    "Ticket",
    "TouristTrip",
    "Trip",
    "VisualArtwork",
];

/// Properties that lead from the page or its product to other products.
const RELATIONS: [&str; 9] = [
    "isRelatedTo",
    "isSimilarTo",
    "isAccessoryOrSparePartFor",
    "isConsumableFor",
    "itemListElement",
    "makesOffer",
    "hasMenuItem",
    "hasOfferCatalog",
    "mentions",
];

/// Types of lists.
const LISTS: [&str; 3] = ["ItemList", "OfferCatalog", "CollectionPage"];

/// Types of texts, which may be about a product.
const TEXTS: [&str; 5] = ["Article", "BlogPosting", "NewsArticle", "QAPage", "FAQPage"];

/// Products of a page that are compared.
const MAX_PRODUCTS: usize = 50;

/// Returns the product that the page is about, or else the only other thing that it sells.
pub(crate) fn find(graph: &Graph, page: &PageIdentity<'_>) -> Option<usize> {
    let candidates: Vec<usize> = candidates(graph).collect();
    if candidates.is_empty() {
        return find_other(graph, page);
    }
    let mut preferred = pointed_to(graph, page, &candidates);
    if preferred.is_empty() {
        preferred = not_pointed_to(graph, page, &candidates);
    }
    let mut budget = VisitBudget::default();
    let has_price = |&&node: &&usize| {
        offers::best_within(graph, node, page.address, &mut budget).amount.is_some()
    };
    let priced = if preferred.len() > 1 { preferred.iter().find(has_price) } else { None };
    let chosen = *priced.or(preferred.first())?;
    let group =
        candidates.iter().find(|&&group| graph.variants(group).any(|variant| variant == chosen));
    Some(*group.unwrap_or(&chosen))
}

/// Returns the thing other than a product that the page sells: the only one that it points to, or
/// the only one, as of products. Calendars and catalogues have several.
fn find_other(graph: &Graph, page: &PageIdentity<'_>) -> Option<usize> {
    let is_sold = |&node: &usize| {
        let is_any = |kind: &String| SOLD_WITH_OFFERS.iter().any(|sold| kind.ends_with(sold));
        graph.has(node, "offers")
            && graph.types(node).iter().any(is_any)
            && !graph.is_a(node, &LISTS)
            && !is_secondary(graph, node)
    };
    let things: Vec<usize> = graph.nodes().filter(is_sold).take(MAX_PRODUCTS).collect();
    match (&pointed_to(graph, page, &things)[..], &things[..]) {
        ([only], _) => Some(*only),
        (_, [_]) => not_pointed_to(graph, page, &things).first().copied(),
        _ => None,
    }
}

/// Returns the products that are not a part of another one, related to one, or in a list.
pub(super) fn candidates(graph: &Graph) -> impl Iterator<Item = usize> {
    graph
        .nodes()
        .filter(|&node| is_product(graph, node) && !is_secondary(graph, node))
        .take(MAX_PRODUCTS)
}

/// Returns the candidates that the page points to.
fn pointed_to(graph: &Graph, page: &PageIdentity<'_>, candidates: &[usize]) -> Vec<usize> {
    let main_entities: Vec<usize> = graph
        .nodes()
        .flat_map(|node| graph.children(node, "mainEntity"))
        .take(MAX_PRODUCTS)
        .collect();
    let length_in_title =
        |node: usize| graph.text(node, &["name"]).and_then(|name| page.matched_title_length(name));
    let longest = candidates.iter().filter_map(|&node| length_in_title(node)).max();
    let is_pointed_to = |&node: &usize| {
        main_entities.contains(&node)
            || graph.id(node).is_some_and(|id| page.is_linked_by(id))
            || ["url", "mainEntityOfPage"].iter().any(|property| {
                graph.text_or_id(node, property).is_some_and(|link| page.is_linked_by(link))
            })
            || longest.is_some() && length_in_title(node) == longest
    };
    candidates.iter().copied().filter(is_pointed_to).collect()
}

/// Returns the candidates that may be the main product of a page that points to none of them.
fn not_pointed_to(graph: &Graph, page: &PageIdentity<'_>, candidates: &[usize]) -> Vec<usize> {
    let url = |node: usize| graph.text_or_id(node, "url");
    let name = |node: usize| graph.text(node, &["name"]).map(str::trim);
    let is_tile = |node: usize| url(node).is_some_and(|url| page.is_left_by(url));
    let likeness = |node: usize| name(node).map(|name| page.likeness(name));
    if let [only] = *candidates {
        let is_other = likeness(only).is_some_and(|likeness| match is_tile(only) {
            _ if page.is_article => !likeness.is_most(),
            true => !likeness.is_half(),
            false => page.is_home() && likeness.common == 0 && !likeness.is_most(),
        });
        let has_end = url(only).is_some_and(|url| page.has_end_of(url));
        return if is_other && !has_end { Vec::new() } else { vec![only] };
    }
    let own: Vec<usize> = candidates.iter().copied().filter(|&node| !is_tile(node)).collect();
    let named = |is_named: fn(Likeness) -> bool| -> Vec<usize> {
        own.iter().copied().filter(|&node| likeness(node).is_some_and(is_named)).collect()
    };
    let likely = named(Likeness::is_most);
    if !likely.is_empty() {
        return likely;
    }
    // The only one that has anything in common with the titles.
    let (several, any) = (named(|one| one.common > 1), named(|one| one.common > 0));
    if several.len() == 1 && any.len() == 1 {
        return several;
    }
    let is_offered = |node: &&usize| graph.has(**node, "offers") || graph.has(**node, "price");
    let mut names = own.iter().filter(is_offered).filter_map(|&node| name(node));
    let first = names.next();
    if names.any(|other| Some(other) != first) { Vec::new() } else { own }
}

fn is_product(graph: &Graph, node: usize) -> bool {
    graph.is_a(node, &PRODUCTS)
        || graph.is_a(node, &PRODUCTS_WITH_OFFERS) && graph.has(node, "offers")
}

/// Whether a product is a reference, a part of another product, related to one, in a list, or what
/// a text is about.
fn is_secondary(graph: &Graph, node: usize) -> bool {
    graph.is_reference(node)
        || graph.ancestors(node).any(|(property, parent)| {
            RELATIONS.contains(&property)
                || graph.is_a(parent, &LISTS)
                || graph.is_a(parent, &PRODUCTS)
                || property == "about" && graph.is_a(parent, &TEXTS)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_org::json_ld;

    fn chosen(block: &str) -> Option<String> {
        let mut graph = Graph::default();
        json_ld::add_block(block, &mut graph);
        let address = "https://shop.example/p/tea?id=1".parse().unwrap();
        let canonical = Some("https://shop.example/tea".parse().unwrap());
        let titles = vec!["green tea | shop".to_owned()];
        let page = PageIdentity { address: &address, canonical, titles, is_article: false };
        find(&graph, &page).map(|node| graph.text(node, &["sku"]).unwrap_or_default().to_owned())
    }

    #[test]
    fn the_main_product_is_the_one_that_the_page_points_to() {
        for (block, expected) in [
            (
                r#"{"@type":"Product","sku":"a","part":{"@type":"Product","sku":"b",
                    "name":"Green Tea"}}"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"WebPage","about":{"@type":"Product","@id":"#a"}},
                    {"@type":"Product","@id":"#a","sku":"a"}]"##,
                Some("a"),
            ),
            (r#"{"@type":"Product","sku":"a"}"#, Some("a")),
            (r#"[{"@type":"Product","sku":"b"},{"@type":"Product","sku":"a"}]"#, Some("b")),
            (
                r#"[{"@type":"Product","sku":"b"},
                    {"@type":"Product","sku":"a","offers":{"price":1}}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","offers":{"price":1}},
                    {"@type":"Product","sku":"a","url":"/tea/"}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b"},
                    {"@type":"Product","sku":"a","url":"http://www.shop.example/p/tea?id=1#x"}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","url":"/p/tea?id=2"},
                    {"@type":"Product","sku":"a","@id":"/p/tea?id=1#p"}]"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"Product","sku":"a","@id":"#a"},
                    {"@type":"Product","sku":"b","@id":"#b"}]"##,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b"},
                    {"@type":"Product","sku":"a","mainEntityOfPage":{"@id":"/tea"}}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","name":"Kettle"},
                    {"@type":"Product","sku":"a","name":"Green Tea"}]"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"Product","sku":"b"},{"@type":"Product","@id":"#a","sku":"a"},
                    {"@type":"WebPage","mainEntity":{"@id":"#a"}}]"##,
                Some("a"),
            ),
            (
                r#"{"@type":"WebPage","mentions":{"@type":"Product","sku":"b"},
                    "mainEntity":{"@type":"Product","sku":"a"}}"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","name":"Tea"},
                    {"@type":"Product","sku":"a","name":"Green Tea"}]"#,
                Some("a"),
            ),
            (r#"{"@type":"Product","sku":"a","url":"/p/other"}"#, Some("a")),
            (r#"{"@type":"Product","sku":"a","name":"Tea, green","url":"/p/other"}"#, Some("a")),
            (r#"{"@type":"Product","sku":"a","name":"Sencha","url":"/cat/tea"}"#, Some("a")),
            (
                r#"[{"@type":"Product","sku":"b","name":"Kettle","offers":{"price":1}},
                    {"@type":"Product","sku":"a","name":"Green Loose Tea","offers":{"price":1}}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"a","name":"Kettle","offers":{"price":1}},
                    {"@type":"Product","sku":"b","name":"Pot"}]"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"Product","sku":"a","url":"#x"},
                    {"@type":"Product","sku":"b","url":"/b"}]"##,
                Some("a"),
            ),
            (
                r#"[{"@type":"product","sku":"b","inProductGroupWithID":"g"},
                    {"@type":"productgroup","sku":"a","productGroupID":"g"}]"#,
                Some("a"),
            ),
            (r#"{"@type":"Review","itemReviewed":{"@type":"Product","sku":"a"}}"#, Some("a")),
            (
                r#"{"@type":"Offer","itemOffered":{"@type":"Product","sku":"a"},"price":1}"#,
                Some("a"),
            ),
            (r#"{"@type":"Book","sku":"a","offers":{"price":1}}"#, Some("a")),
            (r#"{"@type":"Event","sku":"a","offers":{"price":1}}"#, Some("a")),
            (r#"{"@type":"MusicEvent","sku":"a","offers":[{"price":1}]}"#, Some("a")),
            (r#"{"@type":"Course","sku":"a","offers":{"price":1}}"#, Some("a")),
            (r#"{"@type":"TouristTrip","sku":"a","offers":{"price":1}}"#, Some("a")),
            (
                r#"[{"@type":"Event","sku":"b","offers":{"price":1}},
                    {"@type":"Product","sku":"a"}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Event","sku":"b","url":"/b","offers":{"price":1}},
                    {"@type":"Event","sku":"a","url":"/tea","offers":{"price":1}}]"#,
                Some("a"),
            ),
            (
                r#"{"@type":"Product","isRelatedTo":{"@type":"Product","sku":"b",
                    "name":"Green Tea","offers":{"price":1}},"sku":"a"}"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"Product","isVariantOf":{"@id":"#g"},"offers":{"price":1},"sku":"b"},
                    {"@type":"ProductGroup","@id":"#g","sku":"a"}]"##,
                Some("a"),
            ),
        ] {
            assert_eq!(chosen(block).as_deref(), expected, "{block}");
        }
    }

    #[test]
    fn lists_and_nodes_that_are_not_sold_are_not_products() {
        for block in [
            r#"{"@type":"ItemList","itemListElement":[{"@type":"Product","name":"Green Tea"}]}"#,
            r#"{"@type":"ItemList","itemListElement":[{"@type":"ListItem",
                "item":{"@type":"Product","name":"Green Tea"}}]}"#,
            r#"{"@type":"OfferCatalog","items":[{"@type":"Product","name":"Green Tea"}]}"#,
            r#"{"@type":"Organization","makesOffer":{"@type":"Offer",
                "itemOffered":{"@type":"Product"}}}"#,
            r#"{"@type":"MenuSection","hasMenuItem":{"@type":"MenuItem","name":"Green Tea",
                "offers":{"price":1}}}"#,
            r#"{"@type":"Book","name":"Green Tea"}"#,
            r#"[{"@type":"Product","name":"Chai","url":"/chai"},
                {"@type":"Product","name":"Mate","url":"/mate"}]"#,
            r#"[{"@type":"Product","name":"Chai","offers":{"price":1}},
                {"@type":"Product","name":"Mate","offers":{"price":2}}]"#,
            r#"{"@type":"Product","name":"Kettle","url":"/p/kettle","offers":{"price":1}}"#,
            r#"{"@type":"Article","name":"Green Tea","offers":{"price":1}}"#,
            r#"{"@type":"Event","name":"Green Tea"}"#,
            r#"{"@type":"Event","name":"Jazz","url":"/jazz","offers":{"price":1}}"#,
            r#"{"@type":"QAPage","about":{"@type":"Product","name":"Green Tea"}}"#,
            r#"[{"@type":"Event","name":"a","offers":{"price":1}},
                {"@type":"Event","name":"b","offers":{"price":2}}]"#,
            r#"{"@type":"Organization","name":"Green Tea","offers":{"price":1}}"#,
        ] {
            assert_eq!(chosen(block), None, "{block}");
        }
    }
}
