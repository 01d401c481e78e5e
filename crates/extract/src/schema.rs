//! The fields of a product in schema.org's vocabulary.

use url::Url;

use crate::{
    choose::Page,
    finding::{self, Finding, Texts},
    items::Items,
    offers,
};

/// Where a product's number is looked for, in this order.
const NUMBERS: [&str; 11] =
    ["sku", "gtin13", "gtin14", "gtin12", "gtin8", "gtin", "isbn", "mpn", "productID", "productId", "productGroupID"];

/// How many breadcrumbs are looked at.
const MAX_CRUMBS: usize = 20;

/// Reads a product's fields. The number of a variant stands in where the product has none.
pub(crate) fn finding(items: &Items, product: usize, address: &Url) -> Finding {
    let deal = offers::lowest(items, product);
    let texts = Texts {
        name: items.text(product, &["name"]),
        category: items.text(product, &["category"]),
        sku: items.text(product, &NUMBERS[..1]).or(deal.sku).or_else(|| items.text(product, &NUMBERS[1..])),
        brand: items.text(product, &["brand", "manufacturer"]),
        availability: deal.availability.or_else(|| items.text_or_id(product, "availability")),
        image: image(items, product),
        url: items.text_or_id(product, "url"),
    };
    Finding {
        price: deal.amount.map(|amount| amount.value),
        currency: deal.amount.and_then(|amount| amount.currency),
        variants: deal.count,
        ..Finding::of(texts, address)
    }
}

fn image(items: &Items, product: usize) -> Option<&str> {
    let of_object =
        |object: usize| ["url", "contentUrl"].iter().find_map(|property| items.text_or_id(object, property));
    items.children(product, "image").find_map(of_object).or_else(|| items.text_or_id(product, "image"))
}

/// The category by the page's breadcrumbs: the last one that is neither the site's root nor the page itself, told by its
/// link or by the product's name.
pub(crate) fn breadcrumb(items: &Items, name: Option<&str>, page: &Page<'_>) -> Option<String> {
    let list = items.all().find(|&item| items.is_a(item, &["BreadcrumbList"]))?;
    let mut crumbs: Vec<usize> = items.children(list, "itemListElement").take(MAX_CRUMBS).collect();
    let position = |crumb: usize| items.text(crumb, &["position"]).and_then(|text| text.trim().parse::<u32>().ok());
    crumbs.sort_by_key(|&crumb| position(crumb));
    let name = name.map(str::to_lowercase);
    crumbs.into_iter().rev().find_map(|crumb| {
        let of_thing = || items.children(crumb, "item").find_map(|thing| items.text(thing, &["name"]));
        let category = finding::category(items.text(crumb, &["name"]).or_else(of_thing)?)?;
        let link = link(items, crumb);
        let is_root = link.is_some_and(|link| page.address.join(link).is_ok_and(|url| url.path() == "/"));
        let is_page = link.is_some_and(|link| page.is_at(link)) || name.as_ref() == Some(&category.to_lowercase());
        (!is_root && !is_page).then_some(category)
    })
}

fn link(items: &Items, crumb: usize) -> Option<&str> {
    let of_thing = |thing: usize| items.id(thing).or_else(|| items.text_or_id(thing, "url"));
    let item = items.children(crumb, "item").find_map(of_thing);
    item.or_else(|| items.text_or_id(crumb, "item")).or_else(|| items.text_or_id(crumb, "url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_ld;

    fn things(block: &str) -> Items {
        let mut items = Items::default();
        json_ld::add(block, &mut items);
        items
    }

    #[test]
    fn fields_are_read_from_each_of_their_forms() {
        let address = "https://shop.example/p/1".parse().unwrap();
        let read = |fields: &str| finding(&things(&format!(r#"{{"@type":"Product",{fields}}}"#)), 0, &address);
        for (fields, expected) in [
            (r#""sku":"a","gtin13":"b""#, "a"),
            (r#""gtin13":"4006381333931","mpn":"b""#, "4006381333931"),
            (r#""isbn":9780140328721"#, "9780140328721"),
            (r#""mpn":"m","offers":{"sku":"o"}"#, "o"),
            (
                r#""productGroupID":"g","hasVariant":[{"sku":"v2","offers":{"price":2}},{"sku":"v1","offers":{"price":1}}]"#,
                "v1",
            ),
        ] {
            assert_eq!(read(fields).sku.as_deref(), Some(expected), "{fields}");
        }
        for fields in [
            r#""brand":"Chai & Co""#,
            r#""brand":{"@type":"Brand","name":"Chai &amp; Co"}"#,
            r#""brand":[{"name":"Chai & Co"}]"#,
            r#""brand":"","manufacturer":{"name":"Chai & Co"}"#,
        ] {
            assert_eq!(read(fields).brand.as_deref(), Some("Chai & Co"), "{fields}");
        }
        for fields in [
            r#""image":"/i.jpg""#,
            r#""image":["/i.jpg","/j.jpg"]"#,
            r#""image":{"@type":"ImageObject","url":"/i.jpg"}"#,
            r#""image":{"contentUrl":"https://shop.example/i.jpg","name":"Tea"}"#,
            r#""image":{"@id":"/i.jpg"}"#,
        ] {
            assert_eq!(read(fields).image.as_deref(), Some("https://shop.example/i.jpg"), "{fields}");
        }
    }

    #[test]
    fn the_category_is_the_last_breadcrumb_that_is_not_the_page() {
        let address = "https://shop.example/p/1".parse().unwrap();
        let page = Page { address: &address, canonical: None, titles: Vec::new() };
        for (crumbs, expected) in [
            (r#"{"position":2,"name":"Tea"},{"position":1,"name":"All","item":"/all"}"#, Some("Tea")),
            (r#"{"position":1,"name":"Home","item":"/"},{"position":2,"name":"Tea","item":"/c/tea"}"#, Some("Tea")),
            (
                r#"{"position":3,"name":"Sencha"},{"position":1,"name":"Home","item":"/"},{"position":2,"name":"Tea"}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":1,"name":"Tea","item":"/c"},{"position":2,"name":"Other name","item":"/p/1"}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":1,"item":{"@id":"/c","name":"Tea"}},{"position":2,"item":{"@id":"/p/1","name":"X"}}"#,
                Some("Tea"),
            ),
            (r#"{"position":1,"name":"Home","item":"https://shop.example"},{"position":2,"name":"SENCHA"}"#, None),
            (r#"{"position":1,"item":"/c/tea"}"#, None),
            ("", None),
            (&(r#"{"name":"Tea","item":"/c"},"#.to_owned() + &r#"{"item":"/"},"#.repeat(20)), Some("Tea")),
            (&(r#"{"item":"/"},"#.repeat(20) + r#"{"name":"Tea","item":"/c"}"#), None),
        ] {
            let block = format!(r#"{{"@type":"BreadcrumbList","itemListElement":[{crumbs}]}}"#);
            assert_eq!(breadcrumb(&things(&block), Some("Sencha"), &page).as_deref(), expected, "{crumbs}");
        }
    }
}
