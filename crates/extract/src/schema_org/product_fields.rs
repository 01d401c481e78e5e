//! Reads the fields of a product in the vocabulary of schema.org.

use url::Url;

use super::{graph::Graph, offers};
use crate::finding::{Finding, RawTexts};

/// Properties for the SKU, in order of preference.
const SKUS: [&str; 11] = [
    "sku",
    "gtin13",
    "gtin14",
    "gtin12",
    "gtin8",
    "gtin",
    "isbn",
    "mpn",
    "productID",
    "productId",
    "productGroupID",
];

/// Reads a product. Without a SKU of its own it has that of its best offer or variant.
pub(crate) fn read(graph: &Graph, product: usize, base: &Url) -> Finding {
    let offer = offers::best(graph, product, base);
    let texts = RawTexts {
        name: graph.text(product, &["name"]),
        category: graph.text(product, &["category"]),
        sku: graph
            .text(product, &SKUS[..1])
            .or(offer.sku)
            .or_else(|| graph.text(product, &SKUS[1..])),
        brand: graph.text(product, &["brand", "manufacturer"]),
        availability: offer.availability.or_else(|| graph.text_or_id(product, "availability")),
        image: image(graph, product),
        url: graph.text_or_id(product, "url"),
    };
    Finding {
        price: offer.amount.map(|amount| amount.value),
        currency: offer.amount.and_then(|amount| amount.currency),
        variants: offer.count,
        alternatives: offer.others,
        is_ambiguous: offer.is_ambiguous,
        ..Finding::from_texts(texts, base)
    }
}

fn image(graph: &Graph, product: usize) -> Option<&str> {
    let of_object = |object: usize| {
        ["url", "contentUrl"].iter().find_map(|property| graph.text_or_id(object, property))
    };
    graph
        .children(product, "image")
        .find_map(of_object)
        .or_else(|| graph.text_or_id(product, "image"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_org::json_ld;

    #[test]
    fn fields_are_read_from_each_of_their_forms() {
        let address = "https://shop.example/p/1".parse().unwrap();
        let read = |fields: &str| {
            let mut graph = Graph::default();
            json_ld::add_block(&format!(r#"{{"@type":"Product",{fields}}}"#), &mut graph);
            read(&graph, 0, &address)
        };
        for (fields, expected) in [
            (r#""sku":"a","gtin13":"b""#, "a"),
            (r#""gtin13":"4006381333931","mpn":"b""#, "4006381333931"),
            (r#""isbn":9780140328721"#, "9780140328721"),
            (r#""mpn":"m","offers":{"sku":"o"}"#, "o"),
            (
                r#""productGroupID":"g","hasVariant":[
                    {"sku":"v2","offers":{"price":2}},{"sku":"v1","offers":{"price":1}}]"#,
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
            assert_eq!(
                read(fields).image.as_deref(),
                Some("https://shop.example/i.jpg"),
                "{fields}"
            );
        }
    }
}
