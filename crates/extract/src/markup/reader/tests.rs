use super::*;
use crate::text;

fn read<'a>(html: &'a str, locators: &[(FieldName, Locator)]) -> Markup<'a> {
    super::read(html, locators, |_, _| false)
}

#[test]
fn the_body_is_read_unless_the_head_is_enough() {
    let html = "<title>Tea</title><BODY x><p itemscope><b itemprop=name>Tea</b></p></body>";
    let reads_body = |enough| {
        let markup = super::read(html, &[], |markup, body| {
            assert!(markup.title.as_deref() == Some("Tea") && body.starts_with("<BODY"));
            enough
        });
        format!("{:?}", markup.microdata).contains("Tea")
    };
    assert_eq!((reads_body(true), reads_body(false)), (false, true));
    // A node that starts before the body continues in it.
    let html = html.replace("<p itemscope>", "<p>").replace("<title>", "<html itemscope><title>");
    assert_eq!(super::read(&html, &[], |_, _| true).microdata.text(0, &["name"]), Some("Tea"));
}

#[test]
fn entities_in_texts_and_attributes_are_decoded() {
    let markup = read(
        "<head><title>Salt &amp;\n Pepper</title><link rel='x CANONICAL' href='/p?a=1&amp;b=2'>\
         <base target=x><base href='/b/?&amp;'><base href=/c/>\
         <META NAME=' OG:Type ' CONTENT='a &lt; b'><meta name=viewport content=1>\
         <meta property=og:url></head>\
         <svg><title>icon</title></svg>",
        &[],
    );
    assert_eq!(markup.title.as_deref(), Some("Salt &\n Pepper"));
    assert_eq!(markup.canonical.as_deref(), Some("/p?a=1&b=2"));
    assert_eq!(markup.base.as_deref(), Some("/b/?&"));
    assert_eq!(markup.meta, [("og:type".to_owned(), "a < b".to_owned())]);
}

#[test]
fn a_locator_finds_the_first_element_that_is_not_blank() {
    let locator = |selector: &str, attribute: Option<&str>| {
        let locator = Locator {
            selector: selector.parse().unwrap(),
            attribute: attribute.map(str::to_owned),
            pointer: None,
        };
        (FieldName::Name, locator)
    };
    let locators = [
        locator(".a", None),
        locator(".a", Some("data-x")),
        locator("input", None),
        locator("p", None),
        locator(".none", None),
    ];
    let html = "<i class=a data-x=' '> </i>\
                <b class=a data-x=7>1<s class=a>2</s><script>3</script>4</b>5\
                <input value=v><p>open &euro;";
    let found = read(html, &locators).matches;
    let found: Vec<_> = found
        .iter()
        .map(|f| f.as_ref().map(|f| (f.text.as_str(), f.is_machine_readable)))
        .collect();
    assert_eq!(
        found,
        [Some(("124", false)), Some(("7", true)), Some(("v", true)), Some(("open €", false)), None]
    );
}

#[test]
fn texts_of_blocks_are_separate_and_former_prices_are_left_out() {
    for (html, name, price) in [
        ("<div>12</div><div>2 left</div>", "12 2 left", "12 2 left"),
        ("<p>12</p>2 left", "12 2 left", "12 2 left"),
        ("Green Tea<br>100 g<li>x<li>y", "Green Tea 100 g x y", "Green Tea 100 g x y"),
        ("<tr><td>a<td>b</tr>", "a b", "a b"),
        ("<b>1</b><i>2</i>", "12", "12"),
        ("19<sup>99</sup> &euro;", "19 99 €", "19.99 €"),
        ("<del>20</del> <ins>15</ins>", "20 15", "15"),
        ("<s><b>20<s>1</s></b>2</s>15<strike>3</strike>", "2012153", "15"),
        ("<span class='a screen-reader-text'>was</span>15", "15", "15"),
        ("12<button>Add</button><i class=sr-only>x</i>", "12", "12x"),
        ("<span>12</span><span>95</span> &euro;", "1295 €", "12.95 €"),
        ("<s>20", "20", ""),
    ] {
        let read_at = |field: FieldName| {
            let locator =
                Locator { selector: "h1".parse().unwrap(), attribute: None, pointer: None };
            let found = read(&format!("<h1>{html}</h1>"), &[(field, locator)]).matches.remove(0);
            found.and_then(|found| text::clean_line(&found.text, 100)).unwrap_or_default()
        };
        assert_eq!(
            (read_at(FieldName::Name).as_str(), read_at(FieldName::Price).as_str()),
            (name, price),
            "{html}"
        );
        let value = |property: &str| {
            let graph =
                read(&format!("<i itemscope><b itemprop={property}>{html}</b>"), &[]).microdata;
            text::clean_line(graph.text(0, &[property]).unwrap_or_default(), 100)
                .unwrap_or_default()
        };
        assert_eq!((value("name").as_str(), value("price").as_str()), (name, price), "{html}");
    }
}

#[test]
fn elements_open_at_the_last_property_are_read_to_their_end() {
    let h1 = [(
        FieldName::Name,
        Locator { selector: "h1".parse().unwrap(), attribute: None, pointer: None },
    )];
    for locators in [&[][..], &h1] {
        let html = "<i itemscope><b itemprop=a>1<i itemprop=b>2</i>3</b></i>\
                    <i typeof=x><b property=c>4</b>5<h1>6</h1>";
        let markup = read(html, locators);
        assert_eq!(markup.microdata.text(0, &["a"]), Some("123"));
        assert_eq!(markup.microdata.text(0, &["b"]), Some("2"));
        assert_eq!(markup.rdfa.text(0, &["c"]), Some("4"));
        let found: Vec<_> =
            markup.matches.iter().flatten().map(|found| found.text.as_str()).collect();
        assert_eq!(found, vec!["6"; locators.len()]);
    }
}

#[test]
fn a_price_within_struck_text_is_read() {
    let locator = |selector: &str| {
        (
            FieldName::Price,
            Locator { selector: selector.parse().unwrap(), attribute: None, pointer: None },
        )
    };
    let found =
        read("<p><s>20 <b>5</b></s></p>", &[locator("s"), locator("b"), locator("p")]).matches;
    let found: Vec<_> =
        found.iter().map(|found| found.as_ref().map(|found| found.text.as_str())).collect();
    assert_eq!(found, [Some("20 5"), Some("5"), None]);
}

#[test]
fn blocks_of_json_ld_are_kept_unchanged() {
    let html = "<script type='application/ld+json'>{\"a\":\"<b>&amp;\"}</script>\
                <script>var x</script>\
                <SCRIPT TYPE=\"Application/LD+JSON; charset=utf-8\">{}</SCRIPT>\
                <script type=application/ld+json>{\"cut";
    assert_eq!(read(html, &[]).json_ld, ["{\"a\":\"<b>&amp;\"}", "{}", "{\"cut"]);
}

#[test]
fn the_value_of_a_property_is_an_attribute_or_its_text() {
    for (element, expected) in [
        ("<b itemprop=x>5</b>", "5"),
        ("<b itemprop=x content=6>5</b>", "6"),
        ("<b itemprop=x content=' '>5</b>", "5"),
        ("<b itemprop='y x'>5<script>7</script></b>", "5"),
        ("<b itemprop=http://schema.org/x>5</b>", "5"),
        ("<meta itemprop=x content='&quot;6&quot;'>", "\"6\""),
        ("<link itemprop=x href=/6>", "/6"),
        ("<img itemprop=x src=6 alt=5>", "6"),
        ("<data itemprop=x value=6>5</data>", "6"),
        ("<time itemprop=x datetime=6>5</time>", "6"),
        ("<input itemprop=x value=6>", "6"),
        ("<a itemprop=x href=6>5</a>", "5"),
        ("<a itemprop='url x' href=6>5</a>", "6"),
    ] {
        let microdata =
            read(&format!("<div itemscope itemtype=Thing>{element}</div>"), &[]).microdata;
        assert_eq!(microdata.text(0, &["x"]), Some(expected), "{element}");
    }
}

#[test]
fn opengraph_tags_are_not_properties_of_a_node() {
    let html = "<body vocab=https://schema.org/ typeof=Product>\
                <meta property=og:name content=Shop>\
                <b property=schema:name>Tea</b>";
    assert_eq!(read(html, &[]).rdfa.text(0, &["name"]), Some("Tea"));
}
