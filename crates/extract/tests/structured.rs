//! Structured data as broken as that of real shops, each piece with the product that it contains.

use fetchline_extract::{Content, Extraction, Rules, product};

/// Extracts a page and formats name, price, currency, SKU and availability.
fn extract_at(url: &str, html: &str, rules: &str) -> String {
    let (Ok(rules), Ok(address)) = (Rules::parse("rules.toml", rules), url.parse()) else {
        panic!("{url}: {rules}");
    };
    let content = Content::Text(html.to_owned());
    let extraction = product(&content, &address, &rules, None);
    let Some(found) = extraction.product() else { return "none".to_owned() };
    let price = match &extraction {
        Extraction::Found(_) => format!(
            "{} {}",
            found.price.map_or_else(String::new, |price| price.value.normalize().to_string()),
            found.currency.map_or("-", |currency| currency.value)
        ),
        _ => "no price".to_owned(),
    };
    let texts = [&found.name, &found.sku, &found.availability];
    let texts = texts.map(|text| text.as_ref().map_or("-", |text| text.value.as_str()));
    format!("{} | {price} | {} | {}", texts[0], texts[1], texts[2])
}

fn extract(html: &str) -> String {
    extract_at("https://shop.example/p/1", html, "")
}

/// Checks a table of pages, and reports all that differ.
fn check(pages: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (html, expected) in pages {
        let page = format!("<!doctype html><title>Oak Desk | Shop</title><body>{html}");
        let found = extract(&page);
        if found != *expected {
            wrong += &format!("\n{html}\n  is  {found}\n  not {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const OFFER: &str = "<i itemprop=offers itemscope itemtype=https://schema.org/Offer>\
    <b itemprop=price content=19.99></b><b itemprop=priceCurrency content=EUR></b></i>";

#[test]
fn broken_microdata_is_completed() {
    let bare_offer = OFFER.replace(" itemprop=offers", "");
    let product = "<div itemscope itemtype=https://schema.org/Product>";
    check(&[
        // The name and the offer are in two products.
        (
            &format!("{product}<h1 itemprop=name>Oak Desk</h1></div>{product}{OFFER}</div>"),
            "Oak Desk | 19.99 EUR | - | -",
        ),
        (
            &format!("{product}{OFFER}</div>{product}<h1 itemprop=name>Oak Desk</h1></div>"),
            "Oak Desk | 19.99 EUR | - | -",
        ),
        (
            &format!(
                "{product}<h1 itemprop=name>Oak Desk</h1></div>\
                 {product}<b itemprop=name>oak desk</b><b itemprop=sku>7</b>{OFFER}</div>"
            ),
            "oak desk | 19.99 EUR | 7 | -",
        ),
        // An offer in the product that is not said to be its offer.
        (
            &format!("{product}<h1 itemprop=name>Oak Desk</h1>{bare_offer}</div>"),
            "Oak Desk | 19.99 EUR | - | -",
        ),
        // An offer elsewhere.
        (
            &format!("{product}<h1 itemprop=name>Oak Desk</h1></div>{bare_offer}"),
            "Oak Desk | 19.99 EUR | - | -",
        ),
        (&bare_offer, "Oak Desk | Shop | 19.99 EUR | - | -"),
        (
            &format!("<h1 itemprop=name>Oak Desk</h1>{bare_offer}"),
            "Oak Desk | Shop | 19.99 EUR | - | -",
        ),
        // A price that belongs to nothing.
        (
            "<h1 itemprop=name>Oak Desk</h1><span itemprop=price content=1299>€ 1.299</span>",
            "Oak Desk | 1299 EUR | - | -",
        ),
        (
            "<span itemprop=price>€ 1.299,00</span><link itemprop=availability href=InStock>",
            "Oak Desk | Shop | 1299 EUR | - | InStock",
        ),
        (
            &format!("{product}<h1 itemprop=name>Oak Desk</h1></div><b itemprop=price>5 €</b>"),
            "Oak Desk | 5 EUR | - | -",
        ),
        (
            "<div itemscope itemtype=https://schema.org/WebPage></div><b itemprop=price>5 €</b>",
            "Oak Desk | Shop | 5 EUR | - | -",
        ),
        // Names in lower case.
        (
            "<div itemscope itemtype=http://schema.org/product><h1 itemprop=Name>Oak Desk</h1>\
             <i itemprop=Offers itemscope itemtype=http://schema.org/offer>\
             <b itemprop=Price>19,99</b><meta itemprop=pricecurrency content=eur>\
             <a itemprop=Availability href=//schema.org/InStock></a></i></div>",
            "Oak Desk | 19.99 EUR | - | InStock",
        ),
    ]);
}

#[test]
fn parts_of_several_products_are_not_joined() {
    let product = "<div itemscope itemtype=https://schema.org/Product>";
    let bare_offer = OFFER.replace(" itemprop=offers", "");
    check(&[
        (&bare_offer.repeat(2), "none"),
        ("<b itemprop=price>5 €</b><b itemprop=price>6 €</b>", "none"),
        (
            "<b itemprop=name>Desk</b><b itemprop=price>5 €</b>\
             <b itemprop=name>Chair</b><b itemprop=price>5 €</b>",
            "none",
        ),
        ("<b itemprop=price>5 €</b><i itemprop=price>5 €</i>", "Oak Desk | Shop | 5 EUR | - | -"),
        (
            &format!("{product}<h1 itemprop=name>Oak Desk</h1></div>{}", bare_offer.repeat(2)),
            "Oak Desk | no price | - | -",
        ),
        (
            &format!(
                "{product}<h1 itemprop=name>Oak Desk</h1></div>\
                 {product}<b itemprop=name>Chair</b>{OFFER}</div>"
            ),
            "Oak Desk | no price | - | -",
        ),
        (
            &format!(
                "{product}<h1 itemprop=name>Oak Desk</h1>\
                 <i itemprop=offers itemscope><b itemprop=price>on request</b></i></div>\
                 {bare_offer}"
            ),
            "Oak Desk | no price | - | -",
        ),
        (
            &format!(
                "{product}<h1 itemprop=name>Oak Desk</h1><i itemprop=isRelatedTo itemscope \
                 itemtype=https://schema.org/Product><b itemprop=name>Chair</b>{OFFER}</i></div>"
            ),
            "Oak Desk | no price | - | -",
        ),
    ]);
}

#[test]
fn elements_that_itemref_names_belong_to_the_node() {
    let product = "<div itemscope itemtype=https://schema.org/Product itemref='a b'>\
                   <h1 itemprop=name>Anvil</h1></div>";
    check(&[
        (
            &format!("{product}<p id=a><b itemprop=sku>A7</b></p><p id=b>{OFFER}</p>"),
            "Anvil | 19.99 EUR | A7 | -",
        ),
        // The elements come first.
        (
            &format!("<p id=a><b itemprop=sku>A7</b></p><p id=b>{OFFER}</p>{product}"),
            "Anvil | 19.99 EUR | A7 | -",
        ),
        // The element is the node or the property itself.
        (
            &format!("{product}<b id=a itemprop=sku>A7</b>{}", OFFER.replace("<i ", "<i id=b ")),
            "Anvil | 19.99 EUR | A7 | -",
        ),
        // A related product within keeps its own properties.
        (
            &format!(
                "{product}<p id=a><i itemprop=isRelatedTo itemscope \
                 itemtype=https://schema.org/Product><b itemprop=name>Hammer</b>\
                 <i itemprop=offers itemscope itemtype=https://schema.org/Offer>\
                 <b itemprop=price content=9></b></i></i></p><p id=b>{OFFER}</p>"
            ),
            "Anvil | 19.99 EUR | - | -",
        ),
        // Circles, missing ids, and an element within its own node.
        (
            &format!(
                "<div id=a itemscope itemtype=https://schema.org/Product itemref='a x b'>\
                 <h1 itemprop=name>Anvil</h1><p id=b>{OFFER}</p></div>"
            ),
            "Anvil | 19.99 EUR | - | -",
        ),
    ]);
}

#[test]
fn hidden_text_and_buttons_are_not_part_of_a_name() {
    let page = |name: &str| {
        format!(
            "<div itemscope itemtype=https://schema.org/Product><h1 itemprop=name>{name}</h1>{OFFER}</div>"
        )
    };
    for name in [
        "<span class=g-hdn>Details about &nbsp;</span>Oak Desk",
        "Details about &nbsp;Oak Desk",
        "Oak Desk <button>Add to wishlist</button>",
        "<span class=visually-hidden>Product:</span> Oak Desk",
        "Oak Desk<select><option>Small<option>Large</select>",
    ] {
        check(&[(&page(name), "Oak Desk | 19.99 EUR | - | -")]);
    }
}

#[test]
fn a_price_in_two_elements_is_one_number() {
    let rules = "[\"shop.example\"]\nhtml.name = \"h1\"\nhtml.price = \".price\"";
    for (price, expected) in [
        ("<i>$</i><i>1327</i><i>49</i><i> /each</i>", "1327.49 USD"),
        ("<div>1327</div><div>49</div> €", "1327.49 EUR"),
        ("<b>12</b><i>€</i><small>95</small>", "12.95 EUR"),
        ("<b>12 </b><i>€</i> <small>95</small>", "12.95 EUR"),
        ("<b>1</b><b>2</b><b>9</b> €", "129 EUR"),
        ("<b>1</b><b>299</b> €", "1299 EUR"),
        ("173<sup>34</sup> €", "173.34 EUR"),
        ("Now only 99¢", "0.99 USD"),
        ("85p", "0.85 GBP"),
        ("<span>od 202 Kč měsíčně</span> <strong>6 290 Kč</strong>", "6290 CZK"),
        ("<span>ab 12,50 €/Monat</span> <strong>299,00 €</strong>", "299 EUR"),
        ("<span>UVP 29,99 €</span><b>19,99 €</b>", "19.99 EUR"),
        ("<span>Qty 1</span><span>15 €</span>", "15 EUR"),
        ("<b>19</b><i>99 €</i>", "19.99 EUR"),
        ("Was: <del>$30</del> $20", "20 USD"),
        ("UVP: <s>29,99 €</s> <b>19,99 €</b>", "19.99 EUR"),
        ("Old price <strike>30</strike> 20 €", "20 EUR"),
    ] {
        let html = format!("<h1>Oak Desk</h1><p><span class=price>{price}</span>");
        let found = extract_at("https://shop.example/p/1", &html, rules);
        assert_eq!(found, format!("Oak Desk | {expected} | - | -"), "{price}");
    }
}

#[test]
fn long_json_is_read_in_parts() {
    let filler = format!("[{}0]", r#"{"name":"Chair","price":[1,2]},"#.repeat(20_000));
    let product = r#""name":"Oak Desk","price":"19.90","currency":"EUR","sku":"7""#;
    let node = r#"{"@type":"Product","name":"Oak Desk","sku":"7",
        "offers":{"price":19.90,"priceCurrency":"EUR","availability":"InStock"}}"#;
    for (json, expected) in [
        (format!(r#"{{"related":{filler},{product}}}"#), "Oak Desk | 19.9 EUR | 7 | -"),
        (
            format!(r#"{{"related":{filler},"product":{{{product}}}}}"#),
            "Oak Desk | 19.9 EUR | 7 | -",
        ),
        (
            format!(r#"{{"data":{{"related":{filler},"product":{{{product},"x":{filler}}}}}}}"#),
            "Oak Desk | 19.9 EUR | 7 | -",
        ),
        (format!(r#"[{{"x":{filler},{product}}}]"#), "Oak Desk | 19.9 EUR | 7 | -"),
        (format!(r#"{{"x":{filler},"@graph":[{node}]}}"#), "Oak Desk | 19.9 EUR | 7 | InStock"),
        (filler.clone(), "none"),
        (format!(r#"{{"related":{filler},{product}"#), "none"),
    ] {
        let found = extract_at("https://shop.example/p/1", &json, "");
        assert_eq!(found, expected, "{}", &json[..40]);
    }
    let rules = "[\"shop.example\"]\njson.name = \"/a/b\"\njson.price = \"/a/c/0/d\"";
    let json = format!(r#"{{"x":{filler},"a":{{"b":"Oak Desk","c":[{{"d":12.990}}]}}}}"#);
    let found = extract_at("https://shop.example/p/1", &json, rules);
    assert_eq!(found, "Oak Desk | 12.99 - | - | -");
    let block = format!(
        "<script type=application/ld+json>{{\"@graph\":[{{\"@type\":\"ItemPage\",\"x\":{filler}}},\
         {node}]}}</script>"
    );
    check(&[(&block, "Oak Desk | 19.9 EUR | 7 | InStock")]);
}

#[test]
fn quotes_and_numbers_of_templates_are_repaired() {
    let block = |fields: &str| {
        format!(
            "<script type='application/ld+json'>{{\"@type\":\"Product\",{fields}\"offers\":\
             {{\"@type\":\"Offer\",\"priceCurrency\":\"USD\",\"price\":1,299.00,\
             \"availability\":\"InStock\"}}}}</script>"
        )
    };
    check(&[
        (&block("\"name\":\"Oak Desk\","), "Oak Desk | 1299 USD | - | InStock"),
        (&block("\"name\":\"27\" Desk\",\"sku\":\"a\","), "27\" Desk | 1299 USD | a | InStock"),
        (
            &block("\"name\":\"The \"Oak\" Desk\",\"x\":\"a \"b\", c\","),
            "The \"Oak\" Desk | 1299 USD | - | InStock",
        ),
    ]);
}

#[test]
fn products_in_scripts_are_read() {
    let node = r#"{"@context":"https://schema.org","@type":"Product","name":"Oak Desk","sku":"7","offers":{"@type":"Offer","price":"19.90","priceCurrency":"EUR"}}"#;
    let escaped = |text: &str| serde_json::to_string(text).unwrap();
    let element = format!(
        r#"["$","script",null,{{"type":"application/ld+json","dangerouslySetInnerHTML":{{"__html":{}}}}}]"#,
        escaped(node)
    );
    let state = r#"{"page":{"related":[{"name":"Chair","price":5.50}],"current":{"name":"Oak Desk",
        "price":19.90,"currency":"EUR","sku":"7"}}}"#;
    let of_node = "Oak Desk | 19.9 EUR | 7 | -";
    check(&[
        (&format!("<script>self.__next_f.push([1,{}])</script>", escaped(node)), of_node),
        (
            &format!(
                "<script>self.__next_f.push([1,{}])</script>",
                escaped(&format!("7:{element}\n"))
            ),
            of_node,
        ),
        (
            &format!(
                "<script>self.__next_f.push([1,{}])</script>",
                escaped(&format!("3:{{\"price\":null}}\n2:T9f,{node}4:[\"x\"]\n"))
            ),
            of_node,
        ),
        (
            &format!(
                "<script id=__NEXT_DATA__ type='application/json'>{{\"props\":{{\"ld\":{}}}}}</script>",
                escaped(node)
            ),
            of_node,
        ),
        (&format!("<script>window.__STATE__ = {{\"ld\":{node}}};</script>"), of_node),
        (&format!("<script id=__NEXT_DATA__ type='application/json'>{state}</script>"), of_node),
        (&format!("<script>window.__STATE__={state};f({{a:1}})</script>"), of_node),
        (&format!("<script>var a = 1;\nwindow.__INITIAL_STATE__ = {state}</script>"), of_node),
        (
            &format!(
                "<script>self.__next_f.push([1,{}])</script>",
                escaped(&format!("5:{state}\n"))
            ),
            of_node,
        ),
        // A whole number may be in cents, unless the page shows it.
        (&format!("<script>window.__STATE__={}</script>", state.replace("19.90", "1990")), "none"),
        (
            &format!(
                "<script>window.__STATE__={}</script><p>1.990 €</p>",
                state.replace("19.90", "1990")
            ),
            "Oak Desk | 1990 EUR | 7 | -",
        ),
        (
            &format!(
                "<script>window.__STATE__={}</script><p>€ <b>1 990,-</b></p>",
                state.replace("19.90", "1990")
            ),
            "Oak Desk | 1990 EUR | 7 | -",
        ),
        // Other products, or several prices.
        (
            &format!("<script>window.__STATE__={}</script>", state.replace("Oak Desk", "Table")),
            "none",
        ),
        (
            &format!("<script>window.__STATE__={}</script>", state.replace("Chair", "Oak Desk")),
            "none",
        ),
    ]);
}

#[test]
fn a_rule_leads_into_the_json_of_a_page() {
    let state = r#"{"props":{"product":{"title":"Oak Desk","price":{"amount":12.990},"code":7,
        "currency":"EUR","sku":"7"}}}"#;
    let page = format!(
        "<title>x</title><script id=__NEXT_DATA__ type='application/json'>{state}</script>\
         <script id=state>window.X = {state}; f()</script>\
         <p id=app data-item='{{&quot;sku&quot;:&quot;A7&quot;,&quot;p&quot;:\"{}\"}}'>5 €</p>",
        "x".repeat(10_000)
    )
    .replace("\"xxx", "&quot;xxx")
    .replace("xxx\"", "xxx&quot;");
    let script = "script.json = { selector = \"#__NEXT_DATA__\", pointer = \"/props/product\" }";
    for (rule, expected) in [
        (
            format!("{script}\njson.name = \"/title\"\njson.price = \"/price/amount\""),
            "Oak Desk | 12.99 - | - | -",
        ),
        (script.to_owned(), "Oak Desk | 12.99 EUR | 7 | -"),
        (
            "script.json = { selector = \"#state\" }\njson.price = \"/props/product/price/amount\""
                .to_owned(),
            "x | 12.99 - | - | -",
        ),
        (
            "html.price = { selector = \"#state\", pointer = \"/props/product/price/amount\" }\n\
             html.sku = { selector = \"#app\", attribute = \"data-item\", pointer = \"/sku\" }"
                .to_owned(),
            "x | 12.99 - | A7 | -",
        ),
        (
            format!("{script}\njson.price = \"/none\"\nhtml.name = \"title\""),
            "x | no price | - | -",
        ),
        ("script.json = { selector = \"#none\" }\njson.price = \"/a\"".to_owned(), "none"),
    ] {
        let rules = format!("[\"shop.example\"]\n{rule}");
        let found = extract_at("https://shop.example/p/1", &page, &rules);
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn a_product_that_a_home_page_or_a_text_shows_is_that_of_another_page() {
    let page = |url: &str, title: &str, kind: &str, data: &str| {
        let html = format!(
            "<!doctype html><title>{title}</title><meta property=og:type content={kind}>\
             <script type=application/ld+json>{data}</script><h1>{title}</h1>"
        );
        extract_at(&format!("https://shop.example{url}"), &html, "")
    };
    let offers = "\"offers\":{\"price\":29,\"priceCurrency\":\"EUR\"}";
    let product = format!("{{\"@type\":\"Product\",\"name\":\"Felt Beret 5\",{offers}}}");
    let event =
        format!("{{\"@type\":\"Event\",\"name\":\"Advent Choir\",\"url\":\"/e/choir\",{offers}}}");
    let about = format!("{{\"@type\":\"QAPage\",\"about\":{product}}}");
    for (url, title, kind, data, expected) in [
        ("/", "Fine Hats", "website", &product, "none"),
        ("/blog/felt", "How to wash felt", "article", &product, "none"),
        ("/q/1", "How do I wash my Felt Beret 5?", "website", &about, "none"),
        ("/whats-on", "What's on", "website", &event, "none"),
        ("/whats-on", "Advent Choir", "website", &event, "Advent Choir | 29 EUR | - | -"),
        ("/p/7", "Felt Beret 5", "article", &product, "Felt Beret 5 | 29 EUR | - | -"),
        ("/p/7", "Beret, grey", "website", &product, "Felt Beret 5 | 29 EUR | - | -"),
    ] {
        assert_eq!(page(url, title, kind, data), expected, "{title}: {data}");
    }
}
