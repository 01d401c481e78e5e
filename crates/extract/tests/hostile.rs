//! Hostile pages: none makes the extraction panic, overflow the stack, or exceed a column.

use std::thread;

use anyhow::{Result, anyhow};
use fetchline_extract::{
    Content, Extraction, MAX_AVAILABILITY, MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU, MAX_URL,
    Product, Rules, product,
};
use proptest::prelude::*;
use rust_decimal::Decimal;

const RULES: &str = r#"
["shop.example"]
html.name = ["h1", "title"]
html.price = [".price", { selector = "[data-price]", attribute = "data-price" }]
json.name = "/name"
json.price = ["/a/0/price", "/price"]
"#;

/// Pieces that pages are made of.
const PIECES: [&str; 49] = [
    "<div itemscope itemref='a b' itemtype=https://schema.org/Product>",
    "<p id=a itemprop=offers>",
    "<script>window.__STATE__={",
    "<script>self.__next_f.push([1,\"{\\\"@context\\\":",
    "<div itemscope itemtype='https://schema.org/Product'>",
    "<div itemprop=offers itemscope itemtype=schema.org/Offer>",
    "<p itemprop=name>",
    "<span itemprop='price'>",
    "<meta itemprop=price content='",
    "<link itemprop=availability href=https://schema.org/InStock>",
    "<div vocab=https://schema.org/ typeof=Product>",
    "<b property=name>",
    "<i property=price content=5>",
    "<meta property=og:type content=product>",
    "<meta property='product:price:amount' content='1.299,00 €'>",
    "<title>",
    "</title>",
    "<h1>",
    "</h1>",
    "<p class=price>",
    "<a data-price='",
    "</p>",
    "</div>",
    "</span>",
    "<script type='application/ld+json'>",
    "</script>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "{\"@type\":\"Product\",",
    "{\"@type\":[\"ProductGroup\"],\"@id\":\"#a\",",
    "\"name\":\"Tea\",",
    "\"offers\":",
    "\"hasVariant\":[",
    "\"isVariantOf\":{\"@id\":\"#a\"},",
    "{\"price\":\"9,99 €\",\"priceCurrency\":\"EUR\"}",
    "\"price\":1e5,",
    "\"@graph\":[",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'>",
    "\\u00e9\\ud83c",
    "&euro;&#x110000;&#0;&amp",
    "\u{202f}\u{0}ﬁ\u{1f375}",
];

fn extract(content: &Content) -> Result<()> {
    let address = "https://shop.example/p/1".parse()?;
    let rules = Rules::parse("rules.toml", RULES)?;
    check(&product(content, &address, &rules, Some("Tea")));
    check(&product(content, &address, &Rules::default(), None));
    Ok(())
}

fn check(extraction: &Extraction) {
    let Some(product) = extraction.product() else { return };
    let Product {
        name,
        price,
        currency,
        category,
        sku,
        brand,
        availability,
        image,
        canonical_url,
        variants,
    } = product;
    let texts = [
        (name, MAX_NAME),
        (category, MAX_CATEGORY),
        (sku, MAX_SKU),
        (brand, MAX_BRAND),
        (availability, MAX_AVAILABILITY),
        (image, MAX_URL),
        (canonical_url, MAX_URL),
    ];
    for (text, max) in texts.into_iter().filter_map(|(f, max)| Some((&f.as_ref()?.value, max))) {
        assert!(!text.is_empty() && text.trim() == text && text.chars().count() <= max, "{text:?}");
        assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
    }
    assert_eq!(
        price.is_some(),
        matches!(extraction, Extraction::Found(_) | Extraction::Suspect(_))
    );
    assert_eq!(price.is_some(), *variants > 0);
    assert!(price.is_some() || currency.is_none());
    if let Some(price) = price {
        assert!(
            price.value >= Decimal::ZERO
                && price.value.scale() <= 4
                && price.value < Decimal::from(10_i64.pow(15))
        );
    }
}

/// A regular expression for text, with and without tags, entities and brackets.
const TEXT: &str =
    r"\PC{0,200}|(<[a-z]{1,8} ?[a-z=' ]{0,20}>?|&[a-z#0-9]{0,6};?|[{}\[\],:\x22]|\PC){0,60}";

proptest! {
    #[test]
    fn any_text_is_read(text in TEXT) {
        prop_assert!(extract(&Content::Text(text.clone())).is_ok());
        prop_assert!(extract(&Content::Json(text)).is_ok());
    }

    #[test]
    fn any_sequence_of_pieces_is_read(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60),
    ) {
        let text = pieces.concat();
        prop_assert!(extract(&Content::Text(text.clone())).is_ok());
        prop_assert!(extract(&Content::Json(text)).is_ok());
    }

    #[test]
    fn any_file_of_rules_is_parsed_or_its_errors_reported(
        text in r#"([\["a.=*\]{}#,/h1 \n]|html|json|name|price|currency|\PC){0,80}"#,
    ) {
        if let Err(error) = Rules::parse("rules.toml", &text) {
            prop_assert!(error.to_string().starts_with("rules.toml:"));
        }
    }

    #[test]
    fn any_json_is_read(
        name in r#"[^"\\]{0,20}"#,
        price in r#"[-+0-9.eE]{1,12}|"[^"\\]{0,12}"|null|true|\{"amount":[0-9.]{1,5}\}|\[\]"#,
    ) {
        let body = format!(r#"{{"name":"{name}","price":{price},"currency":"EUR"}}"#);
        prop_assert!(extract(&Content::Json(body)).is_ok());
    }
}

#[test]
fn no_page_is_too_deep_or_too_wide() -> Result<()> {
    let block = |json: &str| format!("<script type='application/ld+json'>{json}</script>");
    let nested =
        |open: &str, inner: &str, close: &str, n: usize| open.repeat(n) + inner + &close.repeat(n);
    let thing = "<div itemprop=offers itemscope itemtype=https://schema.org/Product>";
    let pages = [
        nested(thing, "<b itemprop=price>5", "</div>", 10_000),
        nested(thing, "<b itemprop=price>5</b>", "", 10_000),
        nested("<div property=offers typeof=Product>text", "", "</div>", 10_000),
        nested("<p itemprop=name>text", "", "", 10_000).replacen(
            "<p",
            "<p itemscope itemtype=Product",
            1,
        ),
        nested("<h1><b class=price>5", "", "</b></h1>", 10_000),
        "</div>".repeat(500_000),
        format!("<div itemscope {}=product>", "a".repeat(3_000_000)),
        format!("<div itemscope itemtype=Product {}>", "a='b' ".repeat(100_000)),
        format!("<title>{}", "product &amp; ".repeat(100_000)),
        "<meta property=og:type content=product>".repeat(10_000),
        block(r#"{"@type":"Product","name":"Tea"}"#).repeat(5_000),
        block(&nested("[", r#"{"@type":"Product"}"#, "]", 400_000)),
        block(&nested(r#"{"@type":"Product","offers":"#, "1", "}", 30_000)),
        block(&nested(r#"{"@type":"Product","offers":["#, "", "]}", 250)),
        block(&format!(
            r#"{{"@type":"Product","offers":[{}]}}"#,
            r#"{"@type":"Offer","price":1},"#.repeat(30_000)
        )),
        block(&format!(
            "[{}]",
            r##"{"@type":"Product","@id":"#a","offers":{"@id":"#a"},"isVariantOf":{"@id":"#a"}},"##
                .repeat(10_000)
        )),
        block(&format!(r#"{{"@type":"Product",{}"name":"Tea"}}"#, r#""a":1,"#.repeat(10_000))),
        nested("[", "{\"name\":\"product\",\"price\":1}", "]", 400),
        format!("{{\"name\":\"product\",\"price\":\"{}\"}}", "1".repeat(900_000)),
        format!("{{\"name\":\"product\",\"variants\":[{}]}}", "{\"price\":1},".repeat(70_000)),
        "&".repeat(2_000_000) + "product",
    ];
    for (at, page) in pages.into_iter().enumerate() {
        // The default stack of a worker's thread.
        let thread = thread::Builder::new().stack_size(2 * 1024 * 1024);
        let result = thread.spawn(move || extract(&Content::Text(page)))?.join();
        result.map_err(|_| anyhow!("page {at} panicked"))??;
    }
    Ok(())
}

#[test]
fn the_effort_grows_with_the_page_and_not_with_its_square() -> Result<()> {
    let text = "word ".repeat(40);
    let pages = [
        // A key that does not end.
        format!("<script>{}</script>", "rice".repeat(100_000)),
        // Numbers beside a tag that does not start.
        format!(
            r#"<title>T</title><script>x={{"name":"T","price":5}}</script>{}"#,
            r#"">5""#.repeat(500_000)
        ),
        // A long name around many texts.
        format!(
            r#"<h1>Tea</h1><div class="{}">{}5 €"#,
            "a".repeat(1_000_000),
            "<b>x</b>".repeat(20_000)
        ),
        // A long block of many lines, with a number at its end.
        format!(
            "<h1>Tea</h1><p>{}<b>5 €</b></p>",
            format!("<s>{text}</s><b>{text}</b>").repeat(10_000)
        ),
        // Cards with many names, around links that lead back to the page.
        format!(
            "<h1>Tea</h1>{}",
            format!(
                "{}{}x{}{}{}",
                "<div>".repeat(8),
                "<h3>".repeat(90),
                format!("<a href='?{}'></a>", "a".repeat(200)).repeat(200),
                "</h3>".repeat(90),
                format!("<p>{}</p>", "5 €, ".repeat(8)).repeat(10) + &"</div>".repeat(8),
            )
            .repeat(5)
        ),
        // Names around texts that say nothing, nested in each other.
        format!(
            "<title>Tea</title><h2 class=product-title>Tea</h2>{}",
            format!(
                "{}Tea{}{}",
                "<h2 class=product-title>".repeat(500),
                format!("<b>{}</b>", "&nbsp;".repeat(600)).repeat(49),
                "</h2>".repeat(500),
            )
            .repeat(20)
        ) + "5 €",
        // Breadcrumbs behind a long text.
        format!(
            "<title>product</title>{}{}",
            "word ".repeat(2_000_000),
            "<p class=breadcrumb></p>".repeat(200)
        ),
    ];
    pages.into_iter().try_for_each(|page| extract(&Content::Text(page)))
}
