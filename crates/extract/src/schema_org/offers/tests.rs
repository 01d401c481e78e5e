use super::*;
use crate::schema_org::json_ld;

fn address() -> Url {
    "https://shop.example/p/1".parse().unwrap()
}

/// Formats amount, currency, availability and count of the first node of a block.
fn format_best(block: &str) -> String {
    let mut graph = Graph::default();
    json_ld::add_block(block, &mut graph);
    let Offer { amount, availability, count, .. } = best(&graph, 0, &address());
    let amount = amount.map_or("none".to_owned(), |Amount { value, currency }| {
        format!("{value} {}", currency.unwrap_or("-"))
    });
    format!("{amount} {} {count}", availability.unwrap_or("-"))
}

#[test]
fn the_lowest_price_that_customers_pay_is_chosen() {
    for (offers, expected) in [
        (r#"{"@type":"Offer","price":"19.99","priceCurrency":"EUR"}"#, "19.99 EUR - 1"),
        (
            r#"{"price":19.90,"priceCurrency":"EUR","availability":{"@id":"x/InStock"}}"#,
            "19.90 EUR x/InStock 1",
        ),
        (r#"[{"price":3},{"price":2},{"price":"4"}]"#, "2 - - 3"),
        (
            r#"[{"price":2,"availability":"a"},{"price":2,"availability":"InStock"}]"#,
            "2 - InStock 2",
        ),
        (
            r#"[{"price":3,"priceCurrency":"EUR"},{"price":2,"priceCurrency":"USD"},
                {"price":4}]"#,
            "3 EUR - 2",
        ),
        (
            r#"{"@type":"AggregateOffer","lowPrice":5,"highPrice":9,"priceCurrency":"GBP",
                "offerCount":"7"}"#,
            "5 GBP - 7",
        ),
        (
            r#"{"@type":"AggregateOffer","lowPrice":5,"offers":[{"price":5,"availability":"a"},
                {"price":9}]}"#,
            "5 - a 2",
        ),
        (r#"{"@type":"AggregateOffer","offers":[{"price":7},{"price":6}]}"#, "6 - - 2"),
        (r#"{"priceSpecification":{"price":"8","priceCurrency":"EUR"}}"#, "8 EUR - 1"),
        (
            r#"{"priceCurrency":"EUR","priceSpecification":[{"price":"9",
                "priceType":"https://schema.org/ListPrice"},{"price":"8"}]}"#,
            "8 EUR - 1",
        ),
        (
            r#"{"priceSpecification":[{"@type":"DeliveryChargeSpecification","price":1},
                {"price":9},{"price":8,"priceType":"SalePrice"}]}"#,
            "8 - - 1",
        ),
        (
            r#"{"priceSpecification":[{"@type":"DeliveryChargeSpecification","price":1},
                {"price":9}]}"#,
            "9 - - 1",
        ),
        (
            r#"{"priceSpecification":[{"price":1,"referenceQuantity":{"value":1}},
                {"price":2,"validForMemberTier":"x"},{"price":9}]}"#,
            "9 - - 1",
        ),
        (
            r#"{"priceSpecification":{"price":1,"referenceQuantity":{"value":1,
                "unitCode":"KGM"}}}"#,
            "none - 0",
        ),
        (r#"{"price":{"@type":"MonetaryAmount","value":12.5,"currency":"CHF"}}"#, "12.5 CHF - 1"),
        (r#"{"price":"","availability":"SoldOut"}"#, "none SoldOut 0"),
        (r#"{"price":"on request"}"#, "none - 0"),
        (r#"{"price":-1}"#, "none - 0"),
        (r#"{"price":0}"#, "0 - - 1"),
        (r#"[]"#, "none - 0"),
    ] {
        let block = format!(r#"{{"@type":"Product","offers":{offers}}}"#);
        assert_eq!(format_best(&block), expected, "{offers}");
    }
}

#[test]
fn samples_and_subscriptions_count_after_the_other_offers() {
    for (offers, expected) in [
        (r#"[{"@type":"Offer","name":"Sample","price":3},{"price":89}]"#, "89 - - 1"),
        (r#"[{"@type":"Offer","name":"Stoffmuster","price":3},{"price":89}]"#, "89 - - 1"),
        (
            r#"[{"@type":"Offer","name":"Tea, delivered every month","price":3},{"price":9}]"#,
            "9 - - 1",
        ),
        (
            r#"[{"price":3,"priceSpecification":{"price":3,"unitCode":"MON"}},{"price":9}]"#,
            "9 - - 1",
        ),
        (r#"[{"@type":"Offer","name":"Sampler box","price":3},{"price":9}]"#, "3 - - 2"),
        (r#"{"@type":"Offer","name":"Subscription","price":3}"#, "3 - - 1"),
    ] {
        let block = format!(r#"{{"@type":"Product","offers":{offers}}}"#);
        assert_eq!(format_best(&block), expected, "{offers}");
    }
}

#[test]
fn variants_and_separate_offers_are_found() {
    for (block, expected) in [
        (
            r#"{"@type":"ProductGroup","hasVariant":[{"offers":{"price":3}},
                {"offers":{"price":2}}]}"#,
            "2 - - 2",
        ),
        (
            r#"[{"@type":"ProductGroup","@id":"g","name":"Tea"},
                {"@type":"Product","isVariantOf":{"@id":"g"},"offers":{"price":3}}]"#,
            "3 - - 1",
        ),
        (
            r#"[{"@type":"ProductGroup","productGroupID":"g"},
                {"inProductGroupWithID":"g","offers":{"price":3}},
                {"inProductGroupWithID":"g","offers":{"price":2}},
                {"inProductGroupWithID":"h","offers":{"price":1}}]"#,
            "2 - - 2",
        ),
        (
            r#"{"@type":"ProductGroup","hasVariant":[{"offers":{"price":3}}],
                "offers":{"lowPrice":3,"offerCount":1}}"#,
            "3 - - 1",
        ),
        (
            r#"[{"@type":"Product","@id":"p","name":"Tea"},
                {"@type":"Offer","itemOffered":{"@id":"p"},"price":4}]"#,
            "4 - - 1",
        ),
        (
            r#"[{"@type":"Product","offers":{"@id":"o"}},
                {"@type":"Offer","@id":"o","price":4}]"#,
            "4 - - 1",
        ),
        (r#"{"@type":"Product","price":"5 €"}"#, "5 EUR - 1"),
    ] {
        assert_eq!(format_best(block), expected, "{block}");
    }
}

#[test]
fn cyclic_offers_terminate() {
    let block = r#"[{"@type":"Product","offers":{"@id":"a"}},{"@id":"a","offers":{"@id":"b"}},
        {"@id":"b","offers":{"@id":"a"},"price":{"@id":"b"}}]"#;
    assert_eq!(format_best(block), "none - 0");
    let many = r#"{"@id":"a"},"#.repeat(4_000);
    let block = format!(
        r#"[{{"@type":"Product","offers":{{"@id":"a"}}}},{{"@id":"a","offers":[{many}],
            "price":[{many}]}}]"#
    );
    assert_eq!(format_best(&block), "none - 0");
}

#[test]
fn a_shared_node_is_visited_once() {
    let offers = r#"{"@id":"o"},{"price":{"@id":"p"}},"#.repeat(100);
    let block = format!(
        r#"[{{"@type":"Product","offers":[{offers}]}},{{"@id":"o","price":{{"@id":"p"}}}},
            {{"@id":"p","price":"x"}}]"#
    );
    let mut graph = Graph::default();
    json_ld::add_block(&block, &mut graph);
    let mut budget = VisitBudget::default();
    assert_eq!(best_within(&graph, 0, &address(), &mut budget).amount, None);
    // The 201 nodes, the references to them, and the values.
    assert!(MAX_VISITS - budget.0 < 550, "{}", budget.0);
    for _ in 0..50 {
        best_within(&graph, 0, &address(), &mut budget);
    }
    assert_eq!(budget.0, 0);
    assert_eq!(best_within(&graph, 0, &address(), &mut budget).amount, None);
}

#[test]
fn the_best_offer_is_new_in_stock_and_not_for_nothing() {
    const USED: &str = r#""itemCondition":"https://schema.org/UsedCondition""#;
    let soon = r#""validFrom":"2999-01-01""#;
    let over = r#""priceValidUntil":"2001-01-01T00:00:00Z""#;
    for (offers, expected) in [
        (
            format!(
                r#"[{{"price":999,"availability":"InStock"}},
                {{"price":812,{USED}}}]"#
            ),
            "999 - InStock 1",
        ),
        (format!(r#"[{{"price":812,{USED},"availability":"InStock"}}]"#), "812 - InStock 1"),
        (
            format!(
                r#"[{{"price":5,{USED}}},
                {{"price":7,"itemCondition":"refurbished"}}]"#
            ),
            "7 - - 1",
        ),
        (
            r#"[{"@type":"Offer","name":"Open-Box","price":5},
                {"@type":"Offer","price":7}]"#
                .to_owned(),
            "7 - - 1",
        ),
        (
            r#"[{"price":5,"availability":"//schema.org/OutOfStock"},
                {"price":7,"availability":"InStock"},{"price":9,"availability":"InStock"}]"#
                .to_owned(),
            "7 - InStock 2",
        ),
        (r#"[{"price":5},{"price":7,"availability":"InStock"}]"#.to_owned(), "5 - InStock 2"),
        (
            r#"[{"price":5,"availability":"OutOfStock"},{"price":7,"availability":"SoldOut"}]"#
                .to_owned(),
            "5 - OutOfStock 2",
        ),
        (r#"[{"price":0},{"price":7}]"#.to_owned(), "7 - - 1"),
        (r#"{"price":0,"availability":"InStock"}"#.to_owned(), "0 - InStock 1"),
        (r#"{"price":"0.00","availability":"OutOfStock"}"#.to_owned(), "none OutOfStock 0"),
        (
            r#"{"price":0,"availability":"http://schema.org/SoldOut"}"#.to_owned(),
            "none http://schema.org/SoldOut 0",
        ),
        (format!(r#"[{{"price":5,{over}}},{{"price":7}}]"#), "7 - - 1"),
        (format!(r#"[{{"price":5,{soon}}},{{"price":7}}]"#), "7 - - 1"),
        (format!(r#"{{"price":5,{over}}}"#), "5 - - 1"),
        (r#"[{"price":5,"validThrough":"2999-01-01"},{"price":7}]"#.to_owned(), "5 - - 2"),
        (
            r#"[{"price":5,"businessFunction":"http://purl.org/goodrelations/v1#LeaseOut"},
                {"price":7}]"#
                .to_owned(),
            "7 - - 1",
        ),
        (r#"{"price":5,"businessFunction":"LeaseOut"}"#.to_owned(), "none - 0"),
        (
            r#"[{"price":5,"businessFunction":{"@id":"http://purl.org/goodrelations/v1#Buy"}},
                {"price":7}]"#
                .to_owned(),
            "7 - - 1",
        ),
        (
            r#"[{"price":5,"businessFunction":"http://purl.org/goodrelations/v1#Sell"},
                {"price":7}]"#
                .to_owned(),
            "5 - - 2",
        ),
        (
            r#"[{"price":5,"eligibleCustomerType":"http://purl.org/goodrelations/v1#Business"},
                {"price":7}]"#
                .to_owned(),
            "7 - - 1",
        ),
        (
            r#"[{"price":5,"eligibleCustomerType":["Business","Enduser"]},{"price":7}]"#.to_owned(),
            "5 - - 2",
        ),
        (r#"[{"price":5,"eligibleQuantity":{"minValue":10}},{"price":7}]"#.to_owned(), "7 - - 1"),
        (r#"[{"price":5,"eligibleQuantity":{"value":1}},{"price":7}]"#.to_owned(), "5 - - 2"),
        (r#"[{"price":5,"validForMemberTier":{"name":"Gold"}},{"price":7}]"#.to_owned(), "7 - - 1"),
        (r#"{"price":7,"addOn":{"price":1}}"#.to_owned(), "7 - - 1"),
        (
            format!(
                r#"{{"@type":"AggregateOffer","lowPrice":5,
                "offers":[{{"price":5,{USED}}},{{"price":7}}]}}"#
            ),
            "7 - - 1",
        ),
        (
            r#"{"@type":"AggregateOffer","lowPrice":0,"highPrice":9,
                "offers":[{"price":0},{"price":9}]}"#
                .to_owned(),
            "9 - - 1",
        ),
        (r#"{"@type":"AggregateOffer","lowPrice":0,"highPrice":9}"#.to_owned(), "none - 0"),
    ] {
        let block = format!(r#"{{"@type":"Product","offers":{offers}}}"#);
        assert_eq!(format_best(&block), expected, "{offers}");
    }
}

#[test]
fn instalments_net_prices_and_parts_are_not_the_price() {
    for (specifications, expected) in [
        (r#"[{"price":202,"billingDuration":36,"unitCode":"MON"},{"price":6290}]"#, "6290 - - 1"),
        (r#"[{"price":202,"billingDuration":36,"unitCode":"MON"}]"#, "none - 0"),
        (
            r#"[{"price":99,"priceComponentType":"https://schema.org/DownPayment"},{"price":999}]"#,
            "999 - - 1",
        ),
        (r#"[{"price":35,"priceComponentType":"ActivationFee"},{"price":99}]"#, "99 - - 1"),
        (
            r#"[{"price":10,"valueAddedTaxIncluded":false},
                {"price":12,"valueAddedTaxIncluded":true}]"#,
            "12 - - 1",
        ),
        (r#"[{"price":10,"valueAddedTaxIncluded":"false"}]"#, "10 - - 1"),
        (
            r#"[{"price":5,"priceType":"SalePrice","validThrough":"2001-01-01"},{"price":7}]"#,
            "7 - - 1",
        ),
        (
            r#"[{"price":81,"referenceQuantity":{"value":"4.5","unitCode":"LTR",
                "valueReference":{"value":1,"unitCode":"LTR"}}}]"#,
            "81 - - 1",
        ),
        (
            r#"[{"price":18,"referenceQuantity":{"value":"1","unitCode":"LTR",
                "valueReference":{"value":"1","unitCode":"LTR"}}}]"#,
            "none - 0",
        ),
        (r#"[{"price":18,"referenceQuantity":{"value":100,"unitCode":"GRM"}}]"#, "none - 0"),
        (r#"[{"price":18,"referenceQuantity":{"value":500,"unitCode":"grm"}}]"#, "18 - - 1"),
        (r#"[{"price":18,"referenceQuantity":{"value":1,"unitCode":"C62"}}]"#, "18 - - 1"),
    ] {
        let block = format!(
            r#"{{"@type":"Product","weight":{{"value":"500.0","unitCode":"GRM"}},
                "offers":{{"priceSpecification":{specifications}}}}}"#
        );
        assert_eq!(format_best(&block), expected, "{specifications}");
    }
}
