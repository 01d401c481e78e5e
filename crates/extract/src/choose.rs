//! Which of the products that a page tells is the one that the page is about.
//!
//! A product that is part of another one (a variant, an accessory), that is related to another one, or that stands in a
//! list of things is not. Of the rest, those count that the page points to: as its `mainEntity`, by its own address or
//! canonical URL, or with its title, which holds their name; where it points to none, all of them. Of these the page is
//! about the first one with a price, since reviews and ratings often tell the product once more, without; else about the
//! first one. A variant that belongs to a group told beside it gives way to the group.

use url::Url;

use crate::{items::Items, offers};

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
        self.address.join(link).is_ok_and(|url| {
            let same = |other: &Url| place(other) == place(&url);
            same(self.address) || self.canonical.as_ref().is_some_and(same)
        })
    }

    fn has_in_title(&self, name: &str) -> bool {
        let name = name.trim().to_lowercase();
        name.chars().count() >= 3 && self.titles.iter().any(|title| title.contains(&name))
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
    let pointed_to = |&&item: &&usize| {
        main.contains(&item)
            || items.id(item).is_some_and(|id| page.is_at(id))
            || ["url", "mainEntityOfPage"]
                .iter()
                .any(|link| items.text_or_id(item, link).is_some_and(|l| page.is_at(l)))
            || items.text(item, &["name"]).is_some_and(|name| page.has_in_title(name))
    };
    let named: Vec<usize> = candidates.iter().filter(pointed_to).copied().collect();
    let those = if named.is_empty() { &candidates } else { &named };
    let has_price = |&&item: &&usize| offers::lowest(items, item).amount.is_some();
    let chosen = if those.len() > 1 { those.iter().find(has_price) } else { None };
    let chosen = *chosen.or(those.first())?;
    let group = items.children(chosen, "isVariantOf").find(|group| candidates.contains(group));
    Some(group.unwrap_or(chosen))
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
            r#"{"@type":"Article","name":"Green Tea","offers":{"price":1}}"#,
        ] {
            assert_eq!(chosen(block), None, "{block}");
        }
    }
}
