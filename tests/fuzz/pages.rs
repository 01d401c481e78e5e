//! Bodies of pages, whatever they say they are.

use fetchline_extract::{
    Content, Extraction, MAX_AVAILABILITY, MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU, Rules,
    canonical_url, explain, product, read,
};
use proptest::prelude::*;
use url::Url;

use crate::input;

const PIECES: &[&str] = &[
    "<",
    ">",
    "</",
    "<!--",
    "-->",
    "<![CDATA[",
    "<script type=application/ld+json>",
    "</script>",
    "<meta charset=utf-16>",
    "<meta charset=shift_jis>",
    "<?xml encoding='koi8-r'?>",
    "\u{feff}",
    "<div itemscope itemtype=https://schema.org/Product>",
    "<p itemprop=price content=",
    "<h1>",
    "<p class=price>",
    "<del>",
    "</del>",
    "€",
    "$",
    "1.299,00 €",
    "1,299.00",
    "12x de R$ 99,90",
    "99¢",
    "1 327 49 €",
    "1e400",
    "-5",
    "0",
    "\u{a0}",
    "\u{202f}",
    "٣٤٫٥٠ ر.س",
    "円",
    "USD",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud83d",
    ",",
    ":",
    "'",
    "&amp;",
    "&#0;",
    "&#x110000;",
    "\"@type\":\"Product\"",
    "\"offers\":",
    "\"price\":",
    "\"priceCurrency\":\"EUR\"",
    "\"@graph\":[",
    "<template>",
    "<svg>",
    "<plaintext>",
    "<table><tr><td>",
    "<a href=//[>",
    "<base href=x:>",
    "<link rel=canonical href='",
    "data-price=",
    "--",
    "=",
    "\0",
    "\r",
];

const TYPES: [Option<&str>; 8] = [
    Some("text/html"),
    Some("text/html; charset=utf-8"),
    Some("text/html; charset=gb18030"),
    Some("application/json"),
    Some("application/xhtml+xml; charset=utf-16be"),
    Some("text/plain"),
    Some("\u{1}; charset=\"\\"),
    None,
];

fn characters(field: Option<&String>) -> usize {
    field.map_or(0, |text| text.chars().count())
}

fn check_extraction(found: &Extraction) -> Result<(), TestCaseError> {
    let has_price = found.product().is_some_and(|product| product.price.is_some());
    prop_assert_eq!(has_price, matches!(found, Extraction::Found(_) | Extraction::Suspect(_)));
    let Some(product) = found.product() else { return Ok(()) };
    if let Some(price) = &product.price {
        prop_assert!(
            !price.value.is_sign_negative() && price.value.scale() <= 4,
            "{}",
            price.value
        );
    }
    for (field, most) in [
        (&product.name, MAX_NAME),
        (&product.category, MAX_CATEGORY),
        (&product.sku, MAX_SKU),
        (&product.brand, MAX_BRAND),
        (&product.availability, MAX_AVAILABILITY),
    ] {
        let characters = characters(field.as_ref().map(|field| &field.value));
        prop_assert!(characters <= most, "{} of {} characters", characters, most);
    }
    Ok(())
}

#[test]
fn any_body_is_stored_and_read_and_nothing_exceeds_its_column() -> anyhow::Result<()> {
    let address = Url::parse("https://shop.example/p/1").unwrap();
    let rules = Rules::default();
    input::check("crates/extract/tests/corpus", PIECES, |input| {
        for content_type in TYPES {
            let content = read(content_type, input.to_vec());
            if let Content::Json(text) = &content {
                let value = serde_json::from_str::<serde::de::IgnoredAny>(text);
                prop_assert!(value.is_ok(), "{:?} is not JSON", content_type);
            }
            let found = product(&content, &address, &rules, None);
            check_extraction(&found)?;
            let again = product(&content, &address, &rules, None);
            prop_assert_eq!(format!("{found:?}"), format!("{again:?}"));
        }
        // What explains a price is read another way.
        let content = read(Some("text/html"), input.to_vec());
        explain(&content, &address, &rules);
        if let Some(canonical) = canonical_url(&content, &address) {
            prop_assert!(canonical.scheme().starts_with("http"), "{}", canonical);
        }
        Ok(())
    })
}
