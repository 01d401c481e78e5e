//! Which of the products that a page tells is the one that the page is about.
//!
//! A product that is part of another one (a variant, an accessory), that is related to another one, or that stands in a
//! list of things is not. Of the rest, those count that the page points to: as its `mainEntity`, by its own address or
//! canonical URL, or with its title, which holds their name, the longest where it holds several. Where it points to none
//! of several, those count whose `url` does not lead to another page, as that of a tile does. Of these the page is about
//! the first one with a price, since reviews and ratings often tell the product once more, without; else about the first
//! one. A variant that belongs to a group told beside it gives way to the group.

use url::Url;

use crate::{
    items::Items,
    offers::{self, Visits},
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

/// Types of things that are products where they are offered.
const OFFERED: [&str; 9] = [
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

/// Properties that lead to products beside the main one.
const BESIDE: [&str; 8] = [
    "isRelatedTo",
    "isSimilarTo",
    "isAccessoryOrSparePartFor",
    "isConsumableFor",
    "itemListElement",
    "makesOffer",
    "hasOfferCatalog",
    "mentions",
];

/// Lists of things.
const LISTS: [&str; 3] = ["ItemList", "OfferCatalog", "CollectionPage"];

/// How many products of a page are compared.
const MAX_PRODUCTS: usize = 50;

/// The page that products are told by.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) address: &'a Url,
    pub(crate) canonical: Option<Url>,
    /// Its titles in small letters.
    pub(crate) titles: Vec<String>,
}

impl Page<'_> {
    /// Whether a link leads to this page itself. Scheme, `www.`, fragment and a slash at the end make no difference.
    pub(crate) fn is_at(&self, link: &str) -> bool {
        let link = link.trim();
        if link.is_empty() || link.starts_with('#') {
            return false;
        }
        self.address.join(link).is_ok_and(|url| self.is(&url))
    }

    /// Whether a link leads to another page.
    fn is_left_by(&self, link: &str) -> bool {
        self.address.join(link.trim()).is_ok_and(|url| !self.is(&url))
    }

    fn is(&self, url: &Url) -> bool {
        let same = |other: &Url| place(other) == place(url);
        same(self.address) || self.canonical.as_ref().is_some_and(same)
    }

    /// How many characters of its titles are a name. None, where it is too short to mean anything.
    fn in_title(&self, name: &str) -> Option<usize> {
        let name = name.trim().to_lowercase();
        let length = name.chars().count();
        (length >= 3 && self.titles.iter().any(|title| title.contains(&name))).then_some(length)
    }
}

fn place(url: &Url) -> (&str, &str, Option<&str>) {
    let host = url.host_str().unwrap_or_default();
    (host.strip_prefix("www.").unwrap_or(host), url.path().trim_end_matches('/'), url.query())
}

/// The product that the page is about.
pub(crate) fn main_product(items: &Items, page: &Page<'_>) -> Option<usize> {
    let candidates: Vec<usize> =
        items.all().filter(|&item| is_product(items, item) && !is_beside(items, item)).take(MAX_PRODUCTS).collect();
    let main: Vec<usize> = items.all().flat_map(|item| items.children(item, "mainEntity")).take(MAX_PRODUCTS).collect();
    let in_title = |item: usize| items.text(item, &["name"]).and_then(|name| page.in_title(name));
    let longest = candidates.iter().filter_map(|&item| in_title(item)).max();
    let pointed_to = |&&item: &&usize| {
        main.contains(&item)
            || items.id(item).is_some_and(|id| page.is_at(id))
            || ["url", "mainEntityOfPage"]
                .iter()
                .any(|link| items.text_or_id(item, link).is_some_and(|l| page.is_at(l)))
            || longest.is_some() && in_title(item) == longest
    };
    let mut those: Vec<usize> = candidates.iter().filter(pointed_to).copied().collect();
    if those.is_empty() {
        let is_tile = |item: usize| items.text_or_id(item, "url").is_some_and(|url| page.is_left_by(url));
        those = candidates.iter().copied().filter(|&item| candidates.len() == 1 || !is_tile(item)).collect();
    }
    let mut visits = Visits::default();
    let has_price = |&&item: &&usize| offers::lowest_within(items, item, &mut visits).amount.is_some();
    let chosen = if those.len() > 1 { those.iter().find(has_price) } else { None };
    let chosen = *chosen.or(those.first())?;
    let group = candidates.iter().find(|&&group| items.variants(group).any(|variant| variant == chosen));
    Some(*group.unwrap_or(&chosen))
}

fn is_product(items: &Items, item: usize) -> bool {
    items.is_a(item, &PRODUCTS) || items.is_a(item, &OFFERED) && items.has(item, "offers")
}

fn is_beside(items: &Items, item: usize) -> bool {
    items.is_reference(item)
        || items.ancestors(item).any(|(property, parent)| {
            BESIDE.contains(&property) || items.is_a(parent, &LISTS) || items.is_a(parent, &PRODUCTS)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_ld;

    fn chosen(block: &str) -> Option<String> {
        let mut items = Items::default();
        json_ld::add(block, &mut items);
        let address = "https://shop.example/p/tea?id=1".parse().unwrap();
        let canonical = Some("https://shop.example/tea".parse().unwrap());
        let page = Page { address: &address, canonical, titles: vec!["green tea | shop".to_owned()] };
        main_product(&items, &page).map(|item| items.text(item, &["sku"]).unwrap_or_default().to_owned())
    }

    #[test]
    fn the_main_product_is_the_one_that_the_page_points_to() {
        for (block, expected) in [
            (r#"{"@type":"Product","sku":"a","part":{"@type":"Product","sku":"b","name":"Green Tea"}}"#, Some("a")),
            (
                r##"[{"@type":"WebPage","about":{"@type":"Product","@id":"#a"}},{"@type":"Product","@id":"#a","sku":"a"}]"##,
                Some("a"),
            ),
            (r#"{"@type":"Product","sku":"a"}"#, Some("a")),
            (r#"[{"@type":"Product","sku":"b"},{"@type":"Product","sku":"a"}]"#, Some("b")),
            (r#"[{"@type":"Product","sku":"b"},{"@type":"Product","sku":"a","offers":{"price":1}}]"#, Some("a")),
            (
                r#"[{"@type":"Product","sku":"b","offers":{"price":1}},{"@type":"Product","sku":"a","url":"/tea/"}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b"},{"@type":"Product","sku":"a","url":"http://www.shop.example/p/tea?id=1#x"}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","url":"/p/tea?id=2"},{"@type":"Product","sku":"a","@id":"/p/tea?id=1#p"}]"#,
                Some("a"),
            ),
            (r##"[{"@type":"Product","sku":"a","@id":"#a"},{"@type":"Product","sku":"b","@id":"#b"}]"##, Some("a")),
            (
                r#"[{"@type":"Product","sku":"b"},{"@type":"Product","sku":"a","mainEntityOfPage":{"@id":"/tea"}}]"#,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","name":"Kettle"},{"@type":"Product","sku":"a","name":"Green Tea"}]"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"Product","sku":"b"},{"@type":"Product","@id":"#a","sku":"a"},{"@type":"WebPage","mainEntity":{"@id":"#a"}}]"##,
                Some("a"),
            ),
            (
                r#"{"@type":"WebPage","mentions":{"@type":"Product","sku":"b"},"mainEntity":{"@type":"Product","sku":"a"}}"#,
                Some("a"),
            ),
            (r#"{"@type":"Product","sku":"a","part":{"@type":"Product","sku":"b","name":"Green Tea"}}"#, Some("a")),
            (
                r##"[{"@type":"WebPage","about":{"@type":"Product","@id":"#a"}},{"@type":"Product","@id":"#a","sku":"a"}]"##,
                Some("a"),
            ),
            (
                r#"[{"@type":"Product","sku":"b","name":"Tea"},{"@type":"Product","sku":"a","name":"Green Tea"}]"#,
                Some("a"),
            ),
            (r#"{"@type":"Product","sku":"a","url":"/p/other"}"#, Some("a")),
            (r##"[{"@type":"Product","sku":"a","url":"#x"},{"@type":"Product","sku":"b","url":"/b"}]"##, Some("a")),
            (
                r#"[{"@type":"product","sku":"b","inProductGroupWithID":"g"},{"@type":"productgroup","sku":"a","productGroupID":"g"}]"#,
                Some("a"),
            ),
            (r#"{"@type":"Review","itemReviewed":{"@type":"Product","sku":"a"}}"#, Some("a")),
            (r#"{"@type":"Offer","itemOffered":{"@type":"Product","sku":"a"},"price":1}"#, Some("a")),
            (r#"{"@type":"Book","sku":"a","offers":{"price":1}}"#, Some("a")),
            (
                r#"{"@type":"Product","isRelatedTo":{"@type":"Product","sku":"b","name":"Green Tea","offers":{"price":1}},"sku":"a"}"#,
                Some("a"),
            ),
            (
                r##"[{"@type":"Product","isVariantOf":{"@id":"#g"},"offers":{"price":1},"sku":"b"},{"@type":"ProductGroup","@id":"#g","sku":"a"}]"##,
                Some("a"),
            ),
        ] {
            assert_eq!(chosen(block).as_deref(), expected, "{block}");
        }
    }

    #[test]
    fn lists_and_things_that_are_not_sold_are_no_product() {
        for block in [
            r#"{"@type":"ItemList","itemListElement":[{"@type":"Product","name":"Green Tea"}]}"#,
            r#"{"@type":"ItemList","itemListElement":[{"@type":"ListItem","item":{"@type":"Product","name":"Green Tea"}}]}"#,
            r#"{"@type":"OfferCatalog","items":[{"@type":"Product","name":"Green Tea"}]}"#,
            r#"{"@type":"Organization","makesOffer":{"@type":"Offer","itemOffered":{"@type":"Product"}}}"#,
            r#"{"@type":"Book","name":"Green Tea"}"#,
            r#"[{"@type":"Product","name":"Chai","url":"/chai"},{"@type":"Product","name":"Mate","url":"/mate"}]"#,
            r#"{"@type":"Article","name":"Green Tea","offers":{"price":1}}"#,
        ] {
            assert_eq!(chosen(block), None, "{block}");
        }
    }
}
