use super::*;

fn faults(text: &str) -> Vec<String> {
    let error =
        Rules::parse("r.toml", text).err().map(|error| error.to_string()).unwrap_or_default();
    error.lines().map(str::to_owned).collect()
}

#[test]
fn a_valid_file_is_parsed() {
    let rules = Rules::parse(
        "r.toml",
        r##"
        ["shop.example"]
        category = " Green  tea "
        currency = "eur"
        html.name = "h1.title"
        html.image = "img.main"
        html.url = { selector = "a.self", attribute = "href" }
        html.price = [".sale", { selector = "#price", attribute = "DATA-price" }]

        ["*.api.example"]
        json.price = ["/a/0/b~1c", "/d"]
        "##,
    )
    .unwrap();
    let shop = &rules.by_host["shop.example"];
    assert_eq!((shop.category.as_deref(), shop.currency), (Some("Green tea"), Some("EUR")));
    let html: Vec<_> =
        shop.html.iter().map(|(field, locator)| (*field, locator.attribute.as_deref())).collect();
    let expected = [
        (FieldName::Name, None),
        (FieldName::Image, None),
        (FieldName::Url, Some("href")),
        (FieldName::Price, None),
        (FieldName::Price, Some("data-price")),
    ];
    assert_eq!(html, expected);
    let api = &rules.by_host["*.api.example"];
    assert_eq!(
        api.json,
        [(FieldName::Price, "/a/0/b~1c".to_owned()), (FieldName::Price, "/d".to_owned())]
    );
    assert!(Rules::parse("r.toml", "").unwrap().by_host.is_empty());
}

#[test]
fn every_error_is_reported_with_its_line_and_rule() {
    let text = r#"
top = "level"
["shop.example"]
colour = "red"
category = " "
currency = "EURO5"
html.name = "h1 +"
html.size = ".size"
html.price = { selector = "h1", attr = "x" }
html.sku = { attribute = "x" }
html.brand = []
json.name = "name"
json.price = ["/a~2", 5]
json.sku = { pointer = "/sku" }
["*shop.example"]
currency = "EUR"
["a.example"]
html = "h1"
[b]
["SHOP.example"]
currency = "EUR"
["a.example".json]
cost = "/cost"
["c.example"]
html = {}
["c.example".json]
["d.example"]
html.sku = { selector = "p", attribute = " " }
["e.example"]
script.json = { selector = "p", pointer = "x" }
script.xml = { selector = "p" }
["f.example"]
script = {}
"#;
    let faults = faults(text);
    for (line, (rule, message)) in [
        (2, ("top", "expected a table, found string")),
        (
            4,
            (
                "shop.example",
                "unknown key `colour`; expected category, currency, html, json or script",
            ),
        ),
        (5, ("shop.example", "`category` is empty")),
        (6, ("shop.example", "`EURO5` is not a currency; write its ISO 4217 code, such as EUR")),
        (7, ("shop.example", "`h1 +` is not a supported selector: ")),
        (8, ("shop.example", "unknown key `html.size`; expected one of name, price, currency, ")),
        (9, ("shop.example", "unknown key `attr`; expected selector, attribute or pointer")),
        (10, ("shop.example", "`selector` is missing")),
        (11, ("shop.example", "`html.brand` is empty")),
        (12, ("shop.example", "`name` is not a JSON pointer; write one such as /product/price")),
        (13, ("shop.example", "`/a~2` is not a JSON pointer; write one such as /product/price")),
        (13, ("shop.example", "expected a string, found integer")),
        (14, ("shop.example", "expected a string, found table")),
        (15, ("*shop.example", "not a host; ")),
        (18, ("a.example", "expected a table, found string")),
        (19, ("b", "the rule is empty")),
        (20, ("SHOP.example", "the host already has a rule")),
        (23, ("a.example", "unknown key `json.cost`")),
        (25, ("c.example", "`html` is empty")),
        (26, ("c.example", "`json` is empty")),
        (28, ("d.example", "`attribute` is empty")),
        (30, ("e.example", "`x` is not a JSON pointer; write one such as /product/price")),
        (31, ("e.example", "unknown key `script.xml`; expected json")),
        (33, ("f.example", "`script` is empty")),
    ] {
        let expected = format!("r.toml:{line}: rule \"{rule}\": {message}");
        assert!(
            faults.iter().any(|fault| fault.starts_with(&expected)),
            "{expected}\nin {faults:#?}"
        );
    }
    let lines: Vec<usize> =
        faults.iter().map(|fault| fault.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert!(lines.is_sorted(), "{faults:#?}");
}

#[test]
fn every_syntax_error_is_reported_with_its_line_and_the_rule_above() {
    let faults = faults(
        "a = b\n[\"a.example\"]\ncurrency = EUR\n[ \"b.example\" . html ] # c\n\n\
         name = \"h1\nprice = \"b\"\n[c..example]\nsku = d\n",
    );
    let rules =
        [(1, ""), (3, "rule \"a.example\": "), (6, "rule \"b.example\": "), (8, ""), (9, "")];
    for (line, rule) in rules {
        let expected = format!("r.toml:{line}: {rule}");
        let fault = faults.iter().find(|fault| fault.starts_with(&format!("r.toml:{line}: ")));
        assert!(
            fault
                .is_some_and(|fault| fault.starts_with(&expected)
                    && fault.contains("rule") != rule.is_empty()),
            "{expected}\nin {faults:#?}"
        );
    }
}
