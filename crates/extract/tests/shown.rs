//! Prices that pages show to people, each page with the price that counts.

use fetchline_extract::{Content, Extraction, Rules, product};

/// Extracts a page and formats the price and its currency.
fn extract_at(url: &str, html: &str) -> String {
    let Ok(address) = url.parse() else { panic!("{url}") };
    let content = Content::Text(html.to_owned());
    let extraction = product(&content, &address, &Rules::default(), None);
    let price = extraction.product().and_then(|product| Some((product.price?, product.currency)));
    match (&extraction, price) {
        (Extraction::Suspect(_), _) => "suspect".to_owned(),
        (_, Some((price, currency))) => {
            let currency = currency.map_or("-", |currency| currency.value);
            format!("{} {currency}", price.value.normalize())
        }
        (_, None) => "none".to_owned(),
    }
}

/// Checks a table of what follows a heading, and reports all that differ.
fn check(pages: &[(&str, &str)]) {
    check_below("<h1>Walnut Stool</h1>", pages);
}

fn check_below(start: &str, pages: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (html, expected) in pages {
        let page =
            format!("<!doctype html><title>Walnut Stool | Timber</title><body>{start}{html}");
        let found = extract_at("https://timber.example/walnut-stool", &page);
        if found != *expected {
            wrong += &format!("\n{html}\n  is  {found}\n  not {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const BUY: &str = "<button>Add to cart</button>";

#[test]
fn a_named_price_beside_the_title_wins_over_unrelated_amounts() {
    let price = "<p class=price>€ 85,00</p>";
    check(&[
        (&format!("{price}{BUY}<p>Matching cushion: € 19,00</p>"), "85 EUR"),
        (&format!("{price}{BUY}<div>Ab 3 Stück je € 79,00</div>"), "85 EUR"),
        (&format!("{price}{BUY}<ul><li>Oil set € 12,50</li><li>Wax € 9,00</li></ul>"), "85 EUR"),
        (&format!("{price}{BUY}<h3>Goes with it</h3><p class=price>€ 240,00</p>"), "85 EUR"),
        // Two amounts that are both named as a price.
        (&format!("{price}<p class=price>€ 99,00</p>{BUY}"), "none"),
        // Nothing says that it is the page of a product.
        (&format!("{price}<p>Matching cushion: € 19,00</p>"), "none"),
    ]);
}

#[test]
fn an_amount_without_a_name_counts_if_it_is_the_only_one() {
    check(&[
        (&format!("<p>85,00 €</p>{BUY}"), "85 EUR"),
        (&format!("<div><span>CHF 85.00</span></div>{BUY}"), "85 CHF"),
        (&format!("<p>85,00 € inkl. MwSt.</p>{BUY}"), "85 EUR"),
        (&format!("<p>Preis: 85 Euro, im Bausatz 60 Euro</p>{BUY}"), "85 EUR"),
        (&format!("<p>85,00 €</p><p>60,00 €</p>{BUY}"), "none"),
        (&format!("<p>You would pay 85,00 € for less elsewhere in town</p>{BUY}"), "none"),
        ("<p>85,00 €</p>", "none"),
    ]);
}

#[test]
fn an_amount_in_a_sentence_is_not_the_price() {
    const KNOWN: &str = "<meta property=og:type content=product>";
    const SOLD_OUT: &str = "<script type=application/ld+json>{\"@type\":\"Product\",\
        \"name\":\"Walnut Stool\",\"offers\":{\"availability\":\"OutOfStock\"}}</script>";
    let mut pages = Vec::new();
    for sentence in [
        "We plant a tree worth $2 per order",
        "Spend $120 and we wax it for you",
        "Carried up the stairs: $35.00",
        "Last auctioned at $640 in May",
        "Our makers raised $3 million",
        "Aufbau durch unsere Werkstatt 45,00 €",
        "Gagnez 15 € en invitant vos voisins",
        "Wniesienie i montaż 90 zł",
        "組み立てサービス 2,200円",
        "설치 서비스 20,000원",
    ] {
        pages.push((format!("{KNOWN}<p>{sentence}</p>"), "none"));
        pages.push((format!("<p>{sentence}</p>{BUY}"), "none"));
        pages.push((format!("{SOLD_OUT}<p>{sentence}</p>"), "none"));
    }
    pages.push((format!("{KNOWN}<p>$85.00</p>"), "85 USD"));
    // What is sold out needs a price that is named as one.
    pages.push((format!("{SOLD_OUT}<p>$85.00</p>"), "none"));
    pages.push((format!("{KNOWN}<p class=stock>Sold out</p><p>$85.00</p>"), "none"));
    pages.push((format!("{SOLD_OUT}<p class=price>$85.00</p>"), "85 USD"));
    check(&pages.iter().map(|(html, price)| (html.as_str(), *price)).collect::<Vec<_>>());
}

#[test]
fn a_page_that_says_it_is_something_else_needs_more_than_a_price() {
    for start in ["<h1>Meine Wunschliste</h1>", "<h1>Search results</h1>"] {
        let html = format!("<p class=price>85,00 €</p>{BUY}");
        check_below(start, &[(&html, "none")]);
    }
    let titles = "<h2 class=product-title>Walnut Stool</h2><p class=price>€ 85</p>\
        <h2 class=product-title>Oak Stool</h2><p class=price>€ 85</p>";
    check_below("", &[(titles, "none")]);
}

#[test]
fn a_hyphen_in_a_word_divides_no_title() {
    for (title, expected) in [
        ("Picnic-Basket", "85 EUR"),
        ("Kinder-Kasse", "85 EUR"),
        ("Basket - Timber", "none"),
        ("Timber: Basket", "none"),
    ] {
        let page = format!("<title>{title}</title><h1>{title}</h1><p class=price>€ 85,00</p>{BUY}");
        assert_eq!(extract_at("https://timber.example/x", &page), expected, "{title}");
    }
}

#[test]
fn a_box_with_a_linked_name_of_its_own_is_another_product() {
    let card = |start: &str| format!("{start} <span class=price>€ 85,00</span> {BUY}</div>");
    let text = card("<div class=product><a href=/elm>Elm Bench</a>");
    let picture = card("<div class=tile><a href=/elm><img src=e.jpg>Elm Bench</a>");
    let heading = card("<div><h3><a href=/elm>Elm Bench</a></h3>");
    let own = card("<div class=product><a href=/timber>Walnut</a>");
    let maker = card("<div class=summary><a href=/makers/holt>Holt</a>");
    check(&[
        (&text, "none"),
        (&picture, "none"),
        (&heading, "none"),
        (&own, "85 EUR"),
        (&maker, "85 EUR"),
    ]);
    for gone in ["We no longer make this one", "Cet article a disparu", "この品はもうありません"]
    {
        let page = format!("<!doctype html><title>{gone}</title><h1>{gone}</h1>{text}");
        assert_eq!(extract_at("https://timber.example/p/7", &page), "none", "{gone}");
    }
}

#[test]
fn an_amount_below_a_heading_needs_a_sign_of_a_product() {
    let extract = |title: &str, rest: &str| {
        let page = format!("<!doctype html><title>{title}</title><h1>{title}</h1>{rest}");
        extract_at("https://town.example/x", &page)
    };
    for title in ["Your water bill", "Wages of welders", "Cost of a new porch", "Dish of the day"] {
        assert_eq!(extract(title, "<p class=price>$83.10</p>"), "none", "{title}");
        assert_eq!(extract(title, "<p class=cost>$83.10</p><button>Apply</button>"), "none");
    }
    for sign in [BUY, "<button>Setja í körfu</button>", "<p>SKU: W-7</p>", "<p>Art. No. 4-7</p>"]
    {
        let html = format!("<p class=price>$83.10</p>{sign}");
        assert_eq!(extract("Walnut Stool", &html), "83.1 USD", "{sign}");
    }
}

#[test]
fn the_buttons_of_tiles_are_no_sign_of_a_product() {
    let intro = "<p>from <span class=price>$85</span></p>";
    let tile = |tag: &str, name: &str, price: &str| {
        format!("<{tag}>{name} <span class=price>{price}</span>{BUY}</{tag}>")
    };
    let linked = |name: &str| format!("<a href=/{name}><img src={name}.jpg>{name}</a>");
    let headed = |name: &str| format!("<h3>{name}</h3>");
    let pictured = |name: &str| format!("<img src={name}.jpg><i>{name}</i>");
    let tiles = |tag: &str, name: &dyn Fn(&str) -> String, prices: [&str; 2]| {
        tile(tag, &name("Elm"), prices[0]) + &tile(tag, &name("Oak"), prices[1])
    };
    let prices = ["$85", "$95"];
    check(&[
        (&format!("{intro}<ul>{}</ul>", tiles("li", &linked, prices)), "none"),
        (&format!("{intro}<ul>{}</ul>", tiles("li", &headed, prices)), "none"),
        (&format!("{intro}{}", tiles("div", &linked, prices)), "none"),
        // The amount of one of two tiles is not a price.
        (&tiles("div", &pictured, ["Was $85", "$95"]), "none"),
        (&tiles("div", &pictured, ["$5/lb", "$95"]), "none"),
        (&format!("<p class=price>$85</p><ul><li>{BUY}<i>Ships today</i></ul>"), "85 USD"),
        // Boxes within each other are no list.
        (
            &format!(
                "<div class=row><img src=a.jpg><div class=row><img src=b.jpg><i>New</i>\
                 <p class=price>$85</p>{BUY}</div></div>"
            ),
            "85 USD",
        ),
    ]);
}

#[test]
fn the_former_price_is_told_by_marks() {
    check(&[
        (
            &format!("<p class=price>€ 80,00</p><p class=price>€ 60,00</p><b>-25%</b>{BUY}"),
            "60 EUR",
        ),
        (
            &format!("<p class=price>€ 60,00</p><p class=price>€ 80,00</p><b>25 % off</b>{BUY}"),
            "60 EUR",
        ),
        (&format!("<p class=price>€ 80,00</p><p class=price>€ 60,00</p><b>-50%</b>{BUY}"), "none"),
        (
            &format!("<p class=price>€ 61,02</p><p class=price>€ 80</p><b>(23.73% off)</b>{BUY}"),
            "61.02 EUR",
        ),
        (
            &format!("<p class=price>80 ₺</p><p class=price>60 ₺</p><b>%25 indirim</b>{BUY}"),
            "60 TRY",
        ),
        (
            &format!("<p class=price>€ 60,00</p><p class=price data-strike=true>€ 80,00</p>{BUY}"),
            "60 EUR",
        ),
        (&format!("<p class=price>$60.00 <span>reg <i>$80.00</i></span></p>{BUY}"), "60 USD"),
    ]);
}

#[test]
fn what_is_said_of_a_price_holds_for_its_copy_for_screen_readers() {
    let copy = |text: &str| format!("<span class=screen-reader-text>{text}</span>");
    let html = format!(
        "<p class=price><del>349,90 ₺</del> {} <ins>249,90 ₺</ins> {}</p>{BUY}",
        copy("Eskiden böyleydi: 349,90 ₺."),
        copy("Şimdi: 249,90 ₺.")
    );
    check(&[(&html, "249.9 TRY")]);
}

#[test]
fn a_discount_for_a_way_of_payment_leaves_the_price() {
    for (price, discounted) in [
        ("R$ 90,00", "<b>R$ 81,00</b> no Pix <i>(10% de desconto)</i>"),
        ("R$ 90,00", "ou R$ 81,00 à vista com 10% de desconto"),
        ("90,00 €", "Bei Vorkasse: 87,30 € <i>(3% Skonto)</i>"),
        ("90,00 TL", "Havale ile 87,30 TL <i>(%3 indirim)</i>"),
        ("90 ₽", "81 ₽ с картой магазина <i>-10%</i>"),
    ] {
        let html = format!("<div class=price>{price}</div><div>{discounted}</div>{BUY}");
        let named = html.replace("<div>", "<div class=discount-price>");
        let code = if price.starts_with('R') { "90 BRL" } else { "90 EUR" };
        let code = if price.ends_with("TL") { "90 TRY" } else { code };
        let code = if price.ends_with('₽') { "90 RUB" } else { code };
        check(&[(&html, code), (&named, code)]);
    }
    let alone = "<p class=price>R$ 90,00 à vista</p><p>ou 10x de R$ 9,00</p>";
    check(&[(&format!("{alone}{BUY}"), "90 BRL")]);
    // The number for machines is not that of a discount that they do not know of.
    let html = "<p class=price data-price=90>€ 90</p><p class=price>€ 81</p><b>-10%</b>";
    check(&[(&format!("{html}{BUY}"), "90 EUR")]);
}

#[test]
fn rates_and_prices_with_a_code_are_not_the_price() {
    for other in [
        "or $10/week",
        "ή 3 άτοκες δόσεις από 28,33 €",
        "Оплата частинами 417 ₴/міс",
        "nuo 3,52 €/mėn.",
        "75,00 € mit Code SOMMER",
        "Kaina kitur 99,00 €",
        "Az elmúlt 30 nap legalacsonyabb ára: 79,00 €",
        "30 päivän alin hinta: 79,00 €",
        "Socios: 76,50 €",
        "Case of 6: 480,00 €",
        "Оптова ціна: 79,00 €",
    ] {
        check(&[(&format!("<div class=prices><p>€ 85,00</p><p>{other}</p></div>{BUY}"), "85 EUR")]);
    }
}

#[test]
fn a_price_above_a_regular_one_is_the_former_one() {
    for name in ["price-normal", "price-regular", "pdp-price_type_normal"] {
        let normal = format!("<span class={name}>€ 60,00</span>");
        for other in ["price-x", "price"] {
            let other = format!("<span class={other}>€ 80,00</span>");
            check(&[
                (&format!("{normal} {other}{BUY}"), "60 EUR"),
                (&format!("{other} {normal}{BUY}"), "60 EUR"),
            ]);
        }
        let sale = "<span class=price-sale>€ 40,00</span>";
        check(&[
            (&format!("{normal} {sale}{BUY}"), "40 EUR"),
            (&format!("{normal}{BUY}"), "60 EUR"),
        ]);
    }
    let deleted = "<p class=price>€ 60,00</p><p class=price_type_deleted>€ 80,00</p>";
    check(&[(&format!("{deleted}{BUY}"), "60 EUR")]);
}

#[test]
fn the_page_shows_which_of_two_prices_of_an_offer_is_the_former_one() {
    let page = |prices: &str| {
        format!(
            "<div itemscope itemtype=https://schema.org/Product><b itemprop=name>Walnut Stool</b>\
             <div itemprop=offers itemscope itemtype=https://schema.org/Offer>\
             <meta itemprop=priceCurrency content=EUR>{prices}</div></div>{BUY}"
        )
    };
    check(&[
        (
            &page(
                "<span class=old-price itemprop=price>80,00 €</span>\
                 <span class=price itemprop=price>60,00 €</span>",
            ),
            "60 EUR",
        ),
        (
            &page(
                "<span class=list-price itemprop=price content=80>80,00 €</span>\
                 <span class=price itemprop=price content=60>60,00 €</span>",
            ),
            "60 EUR",
        ),
        (
            &page(
                "<span class=price itemprop=price>60,00 €</span>\
                 <meta itemprop=price content=60.00>",
            ),
            "60 EUR",
        ),
    ]);
}

#[test]
fn unit_and_net_prices_do_not_count_beside_the_price() {
    check(&[
        (&format!("<p class=price>€ 8,00</p><p class=price>€ 16,00/100 ml</p>{BUY}"), "8 EUR"),
        (&format!("<p class=price>€ 8,00</p><p class=price>per 100 g: € 16,00</p>{BUY}"), "8 EUR"),
        (&format!("<p class=price>$ 8.000</p><p>$ 16 por gramo</p>{BUY}"), "8000 USD"),
        (
            &format!("<p class=price>£50.00 ex VAT</p><p class=price>£60.00 inc VAT</p>{BUY}"),
            "60 GBP",
        ),
        (
            &format!("<p class=price>50,00 €</p><p class=price>59,50 € inkl. MwSt.</p>{BUY}"),
            "59.5 EUR",
        ),
        (&format!("<p class=price>2,000円 (税込2,200円)</p>{BUY}"), "2200 JPY"),
        (
            &format!(
                "<p class=price>50,00 € <i>exkl. MwSt.</i></p>\
                 <p class=price>59,50 € <i>inkl. 19% MwSt.</i></p>{BUY}"
            ),
            "59.5 EUR",
        ),
    ]);
}

#[test]
fn numbers_in_pieces_are_joined() {
    check(&[
        (
            &format!(
                "<div class=price><span>€</span><span class=whole>85</span>\
                 <span class=visually-hidden>,</span><span class=cents>49</span></div>{BUY}"
            ),
            "85.49 EUR",
        ),
        (&format!("<p><span>Stool 12</span> <span class=price>$85.00</span></p>{BUY}"), "85 USD"),
        // Only the whole number is a block of its own.
        (
            &format!(
                "<div>Now <span class=price><i>€</i><div>85</div><sup>49</sup></span></div>{BUY}"
            ),
            "85.49 EUR",
        ),
    ]);
}

#[test]
fn a_whole_part_with_its_separator_goes_on() {
    for (pieces, expected) in [
        ("<i class=price-whole>85<b>,</b></i><i class=cents>49</i><i>€</i>", "85.49 EUR"),
        ("<b class=price-int>85<i>.</i></b><sup>49</sup><i>€</i>", "85.49 EUR"),
        ("<b class=price-main>1 285<i>,</i></b><i>00</i> <i>zł</i>", "1285 PLN"),
        ("<i>€</i><i class=price-whole>85<b>,</b></i><i class=cents>49</i>", "85.49 EUR"),
    ] {
        check(&[(&format!("<span class=price>{pieces}</span>{BUY}"), expected)]);
    }
}

#[test]
fn the_number_of_a_product_is_no_amount() {
    for number in [
        "<span class=product-identifier__value>48211</span>",
        "<div class=sku><b>Code</b> <i>48211</i></div>",
        "<span class=ean>4006381333931</span>",
    ] {
        check(&[
            (&format!("<div class=prices>{number} <b>$85.00</b></div>{BUY}"), "85 USD"),
            (&format!("{number}<p class=price>$85.00</p>{BUY}"), "85 USD"),
        ]);
    }
    check(&[(&format!("<div class=sku><b class=price>$85.00</b></div>{BUY}"), "85 USD")]);
}

#[test]
fn a_label_in_another_cell_says_what_a_price_is() {
    let row = |label: &str, amount: &str| {
        format!("<tr><th>{label}</th><td><div><b class=price>{amount}</b></div></td></tr>")
    };
    for (label, amount, other, charge, expected) in [
        ("판매가", "32,000원", "배송비", "3,000원", "32000 KRW"),
        ("Preis", "85,00 €", "Versand", "6,90 €", "85 EUR"),
        ("Price", "£85.00", "Was", "£99.00", "85 GBP"),
    ] {
        let rows = format!("<table>{}{}</table>{BUY}", row(label, amount), row(other, charge));
        check(&[(&rows, expected)]);
    }
}

#[test]
fn the_name_of_a_price_is_not_that_of_its_box() {
    for name in [
        "price-and-rating",
        "product__price-and-reviews",
        "product-card-price",
        "productCardPrice",
        "product-tile__price",
    ] {
        check(&[(&format!("<div class={name}><b>€ 85,00</b></div>{BUY}"), "85 EUR")]);
    }
    check(&[(&format!("<div class=product-card><b class=price>€ 85</b></div>{BUY}"), "none")]);
}

#[test]
fn what_one_has_to_spend_is_no_price() {
    for promotion in ["Min. spend $150.00", "Spend $200.00, get a brush", "Min. belanja $300.00"] {
        for name in ["price-normal", "price"] {
            let html = format!("<p class={name}>$85.00</p><p>{promotion}</p>{BUY}");
            check(&[(&html, "85 USD")]);
        }
    }
}

#[test]
fn an_amount_without_a_name_does_not_displace_a_named_one() {
    for name in ["price-regular", "member-price", "price--withoutTax", "used-price"] {
        for other in ["<p>€ 9,00</p>", "<p>€ 90,00</p>"] {
            let html = format!("<p class={name}>€ 85,00</p>{other}{BUY}");
            check(&[(&html, "none")]);
        }
    }
}

#[test]
fn the_word_before_an_amount_names_it_as_the_price() {
    check(&[
        (&format!("<p>販売価格：<b>9,900円</b></p><p>送料 880円</p>{BUY}"), "9900 JPY"),
        (&format!("<p>판매가 <b>9,900원</b></p><p>2,000원 쿠폰</p><p>500원</p>{BUY}"), "9900 KRW"),
        (&format!("<p class=pvp>PVP: 27,50 € (IVA incl.)</p><p>9,00 €</p>{BUY}"), "none"),
        (&format!("<p class=pvp>PVP: 27,50 € (IVA incl.)</p>{BUY}"), "27.5 EUR"),
        (&format!("<b id=price>$36.00</b> <small>Ships for $6.95</small>{BUY}"), "36 USD"),
    ]);
}

#[test]
fn a_price_without_tax_counts_alone() {
    let net = "<p class='price price--withoutTax'>£60.00</p>";
    check(&[
        (&format!("{net}{BUY}"), "60 GBP"),
        (&format!("{net}<p class=price>£72.00</p>{BUY}"), "72 GBP"),
        (
            &format!(
                "<p class=price>£72.00</p><p data-price-type=basePrice>£60.00 ex VAT</p>{BUY}"
            ),
            "72 GBP",
        ),
    ]);
}

#[test]
fn a_price_in_the_range_of_an_offer_counts_where_the_page_shows_it() {
    let page = |tags: &str, shown: &str| {
        format!(
            "<meta property=og:type content=product>{tags}\
             <script type=application/ld+json>{{\"@type\":\"Product\",\
             \"name\":\"Walnut Stool\",\"offers\":{{\"@type\":\"AggregateOffer\",\
             \"lowPrice\":\"60.00\",\"highPrice\":\"120.00\",\"offerCount\":6,\
             \"priceCurrency\":\"EUR\"}}}}</script><p class=price>{shown}</p>{BUY}"
        )
    };
    let tag = |price: &str| {
        format!(
            "<meta property=product:price:amount content={price}>\
             <meta property=product:price:currency content=EUR>"
        )
    };
    check(&[
        (&page(&tag("85.00"), "85,00 €"), "85 EUR"),
        (&page(&tag("85.00"), "60,00 €"), "60 EUR"),
        (&page(&tag("85.00"), "60,00 € – 120,00 €"), "60 EUR"),
        (&page(&tag("250.00"), "250,00 €"), "60 EUR"),
        (&page("", "85,00 €"), "60 EUR"),
    ]);
}

#[test]
fn currencies_of_arabic_and_serbian_shops_are_known() {
    for (price, expected) in [
        ("85,00 рсд", "85 RSD"),
        ("850,000 ریال", "850000 IRR"),
        ("85.00 ر.ق", "85 QAR"),
        ("85.00 د.ج", "85 DZD"),
        ("85.00 د.م.", "85 MAD"),
    ] {
        check(&[(&format!("<p class=price>{price}</p>{BUY}"), expected)]);
    }
}

#[test]
fn a_list_of_one_product_is_a_list() {
    let data = "<div itemscope itemtype=https://schema.org/Product><b itemprop=name>Elm Bench</b>\
        <i itemprop=offers itemscope itemtype=https://schema.org/Offer>\
        <b itemprop=price content=85>85 €</b><b itemprop=priceCurrency content=EUR></b></i></div>";
    let page = |class: &str, title: &str| {
        let html = format!("<title>{title} | Timber</title><body class='{class}'><h1>{title}</h1>");
        extract_at("https://timber.example/x", &format!("<!doctype html>{html}{data}{BUY}"))
    };
    for class in ["catalog-category-view", "template-collection", "archive tax-product_cat"] {
        assert_eq!(page(class, "Garden"), "none", "{class}");
        assert_eq!(page(class, "Elm Bench"), "85 EUR", "{class}");
    }
    assert_eq!(page("product-page", "Garden"), "85 EUR");
}

#[test]
fn a_plainly_wrong_price_for_machines_is_corrected() {
    let page = |price: &str, html: &str| {
        format!(
            "<script type=application/ld+json>{{\"@type\":\"Product\",\"name\":\"Walnut Stool\",\
             \"offers\":{{\"price\":\"{price}\",\"priceCurrency\":\"EUR\"}}}}</script>{html}{BUY}"
        )
    };
    check(&[
        (&page("2.450", "<p class=price>2.450,00 €</p>"), "2450 EUR"),
        (&page("3495", "<p class=price>34,95 €</p>"), "34.95 EUR"),
        (&page("3495", "<p class=price>3.495 €</p>"), "3495 EUR"),
        (&page("0", "<p class=price>34,95 €</p>"), "34.95 EUR"),
        (&page("0", ""), "0 EUR"),
        (&page("80", "<p class=price><del>80,00 €</del> <b>60,00 €</b></p>"), "60 EUR"),
        (&page("60", "<p class=price><del>80,00 €</del> <b>60,00 €</b></p>"), "60 EUR"),
        (&page("100", "<p class=price>119,00 € inkl. MwSt.</p><p>100,00 € netto</p>"), "119 EUR"),
        // What the page shows is not known to be wrong or right.
        (&page("70", "<p class=price><del>80,00 €</del> <b>60,00 €</b></p>"), "70 EUR"),
    ]);
}

#[test]
fn the_price_of_every_variant_is_not_replaced_by_that_of_an_addition() {
    let variant = "<li><label><input type=radio name=size> Large</label> <b>€1,299.00</b></li>";
    let html = format!(
        "<script type=application/ld+json>{{\"@type\":\"Product\",\"name\":\"Walnut Stool\",\
         \"offers\":{{\"price\":\"1299.00\",\"priceCurrency\":\"EUR\"}}}}</script>\
         <ul>{}</ul>{BUY}<p>Care kit</p><p class=price data-price=49.00>€49.00</p>",
        variant.repeat(3)
    );
    check(&[(&html, "1299 EUR")]);
}

#[test]
fn the_url_selects_an_offer() {
    let html = "<script type=application/ld+json>{\"@type\":\"Product\",\"name\":\"Stool\",\
        \"offers\":[{\"sku\":\"ST-45\",\"price\":45,\"priceCurrency\":\"EUR\",\"url\":\"/p?v=1\"},\
        {\"sku\":\"ST-65\",\"price\":65,\"priceCurrency\":\"EUR\",\"url\":\"/p?v=2\"}]}</script>";
    for (query, expected) in [
        ("", "45 EUR"),
        ("?v=1", "45 EUR"),
        ("?v=2", "65 EUR"),
        ("?utm_source=mail&v=2", "65 EUR"),
        ("?v=3", "45 EUR"),
        ("?item=st-65", "65 EUR"),
    ] {
        assert_eq!(
            extract_at(&format!("https://timber.example/p{query}"), html),
            expected,
            "{query}"
        );
    }
}

#[test]
fn a_category_that_calls_itself_a_product_is_a_list() {
    let data = "<script type=application/ld+json>{\"@type\":\"Product\",\"name\":\"Stools\",\
        \"offers\":{\"@type\":\"AggregateOffer\",\"lowPrice\":15,\"offerCount\":32,\
        \"priceCurrency\":\"EUR\"}}</script>";
    let card = |name: &str, price: &str| {
        format!("<li class=card><a href=/{name}>{name}</a><span class=price>{price} €</span></li>")
    };
    let cards = [card("oak", "15"), card("ash", "25"), card("elm", "35"), card("fir", "45")];
    let list = format!("{data}<h1>Stools</h1><ul>{}</ul>", cards.concat());
    assert_eq!(extract_at("https://timber.example/stools", &list), "none");
    let product = format!("{data}<h1>Stools</h1><p class=price>15 €</p>{BUY}");
    assert_eq!(extract_at("https://timber.example/stools", &product), "15 EUR");
}
