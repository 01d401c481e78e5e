//! Chooses the price of a product among its offers and those of its variants.

use std::collections::HashSet;

use super::graph::{Graph, Value, local_name};
use crate::{
    availability,
    price::{self, Amount, currency},
};

/// Levels of nested offers and price specifications.
const MAX_DEPTH: usize = 4;

/// Nodes and values that are visited for all products of a page together. A product has one offer,
/// or one for each variant.
const MAX_VISITS: usize = 2_000;

/// Bytes of a value that are searched for a price.
const MAX_PRICE: usize = 1024;

/// Charges in addition to a price.
const CHARGES: [&str; 2] = ["DeliveryChargeSpecification", "PaymentChargeSpecification"];

/// Types of prices that customers do not pay.
const REFERENCE_PRICES: [&str; 7] = [
    "ListPrice",
    "StrikethroughPrice",
    "RegularPrice",
    "MSRP",
    "SRP",
    "MinimumAdvertisedPrice",
    "InvoicePrice",
];

/// Properties of a unit price or of a price for members.
const SPECIAL_PRICES: [&str; 2] = ["referenceQuantity", "validForMemberTier"];

const OFFERS: [&str; 3] = ["Offer", "AggregateOffer", "OfferForPurchase"];

/// An offer of a product, or an aggregate of offers.
#[derive(Debug, Default)]
pub(super) struct Offer<'a> {
    pub(super) amount: Option<Amount>,
    pub(super) availability: Option<&'a str>,
    pub(super) sku: Option<&'a str>,
    /// The number of prices that this one is the lowest of.
    pub(super) count: u32,
}

/// Returns the offer with the lowest price, of all offers of a product and its variants.
///
/// Offers in another currency than the first one are left out, since their amounts do not compare.
/// Of equal prices, one in stock is preferred. Without any price, the first offer is returned.
pub(super) fn lowest(graph: &Graph, product: usize) -> Offer<'_> {
    lowest_within(graph, product, &mut VisitBudget::default())
}

/// Like [`lowest`], within a shared budget.
pub(super) fn lowest_within<'a>(
    graph: &'a Graph,
    product: usize,
    budget: &mut VisitBudget,
) -> Offer<'a> {
    let mut search = Search { graph, budget, visited: HashSet::new(), found: Vec::new() };
    search.add_variants(product);
    if search.has_no_price() {
        search.add_offers(product, MAX_DEPTH);
    }
    if search.has_no_price() {
        search.add_offers_naming(product);
    }
    if search.has_no_price() && graph.has(product, "price") {
        search.add_offer(product, MAX_DEPTH);
    }
    let offers = search.found;
    let currency = offers.iter().find_map(|offer| offer.amount?.currency);
    let comparable = |offer: &&Offer<'_>| {
        offer.amount.is_some_and(|amount| amount.currency.is_none_or(|c| Some(c) == currency))
    };
    let count =
        offers.iter().filter(comparable).fold(0_u32, |sum, offer| sum.saturating_add(offer.count));
    let rank = |offer: &&Offer<'_>| {
        let in_stock =
            offer.availability.is_some_and(|text| availability::normalize(text) == "InStock");
        (offer.amount.map(|amount| amount.value), !in_stock)
    };
    let chosen = offers.iter().filter(comparable).min_by_key(rank).or(offers.first());
    let Some(chosen) = chosen else { return Offer::default() };
    let amount =
        chosen.amount.map(|amount| Amount { currency: amount.currency.or(currency), ..amount });
    Offer { amount, availability: chosen.availability, sku: chosen.sku, count }
}

/// How many more nodes and values may be visited.
#[derive(Debug)]
pub(super) struct VisitBudget(usize);

impl Default for VisitBudget {
    fn default() -> Self {
        Self(MAX_VISITS)
    }
}

impl VisitBudget {
    fn spend(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

struct Search<'a, 'v> {
    graph: &'a Graph,
    budget: &'v mut VisitBudget,
    /// Nodes may refer to each other in cycles, or many of them to one.
    visited: HashSet<usize>,
    found: Vec<Offer<'a>>,
}

impl<'a> Search<'a, '_> {
    fn has_no_price(&self) -> bool {
        self.found.iter().all(|offer| offer.amount.is_none())
    }

    fn add_variants(&mut self, product: usize) {
        let graph = self.graph;
        for variant in graph.children(product, "hasVariant") {
            self.add_offers(variant, MAX_DEPTH);
        }
        if graph.is_a(product, &["ProductGroup"]) {
            for variant in graph.variants(product) {
                self.add_offers(variant, MAX_DEPTH);
            }
        }
    }

    /// Adds the offers of a product. They have its SKU unless they have their own.
    fn add_offers(&mut self, product: usize, levels: usize) {
        let before = self.found.len();
        for offer in self.graph.children(product, "offers") {
            self.add_offer(offer, levels);
        }
        let sku = self.graph.text(product, &["sku"]);
        for offer in &mut self.found[before..] {
            offer.sku = offer.sku.or(sku);
        }
    }

    /// Adds the offers elsewhere in the graph that name the product as theirs.
    fn add_offers_naming(&mut self, product: usize) {
        let graph = self.graph;
        let offered =
            |node: usize| graph.children(node, "itemOffered").any(|offered| offered == product);
        for offer in graph.nodes().filter(|&node| graph.is_a(node, &OFFERS) && offered(node)) {
            self.add_offer(offer, MAX_DEPTH);
        }
    }

    fn add_offer(&mut self, offer: usize, levels: usize) {
        let Some(levels) = self.descend(offer, levels) else { return };
        let graph = self.graph;
        let amount = self
            .amount(offer, &["lowPrice", "price"], levels)
            .or_else(|| self.specified_amount(offer, levels));
        let availability = graph.text_or_id(offer, "availability");
        let before = self.found.len();
        for nested in graph.children(offer, "offers") {
            self.add_offer(nested, levels);
        }
        if amount.is_none() && self.found.len() > before {
            return;
        }
        // The count of an aggregate takes precedence: it may list only some of its offers.
        let nested = self.found.split_off(before);
        let listed = u32::try_from(nested.len()).unwrap_or(u32::MAX);
        let counted =
            graph.text(offer, &["offerCount"]).and_then(|count| count.trim().parse().ok());
        let availability =
            availability.or_else(|| nested.iter().find_map(|offer| offer.availability));
        let count = counted.unwrap_or(listed).max(1);
        self.found.push(Offer { amount, availability, sku: graph.text(offer, &["sku"]), count });
    }

    /// Returns the first price among the properties of a node.
    fn amount(&mut self, node: usize, properties: &[&str], levels: usize) -> Option<Amount> {
        let graph = self.graph;
        let currency = graph.text(node, &["priceCurrency", "currency"]).and_then(currency::parse);
        let truncate = |text: &'a str| &text[..text.floor_char_boundary(MAX_PRICE)];
        let mut of_value = |value: &'a Value| {
            self.budget.spend()?;
            match value {
                Value::Machine(text) => price::parse_machine(truncate(text), currency),
                Value::Human(text) => price::parse_human(truncate(text), currency),
                Value::Node(inner) => {
                    let inner = graph.resolve(*inner);
                    let levels = self.descend(inner, levels)?;
                    let found = self.amount(inner, &["price", "value", "minPrice"], levels)?;
                    Some(Amount { currency: found.currency.or(currency), ..found })
                }
            }
        };
        properties.iter().find_map(|property| graph.values(node, property).find_map(&mut of_value))
    }

    /// Returns the price of an offer with price specifications: that of a sale, or else the first
    /// one that customers pay.
    fn specified_amount(&mut self, offer: usize, levels: usize) -> Option<Amount> {
        let graph = self.graph;
        let kind = |spec: usize| graph.text_or_id(spec, "priceType").map(local_name);
        let specs: Vec<usize> = graph
            .children(offer, "priceSpecification")
            .filter(|&spec| {
                !graph.is_a(spec, &CHARGES)
                    && !SPECIAL_PRICES.iter().any(|property| graph.has(spec, property))
                    && !kind(spec).is_some_and(|kind| REFERENCE_PRICES.contains(&kind))
            })
            .collect();
        let sale = specs.iter().find(|&&spec| kind(spec) == Some("SalePrice"));
        let currency = graph.text(offer, &["priceCurrency"]).and_then(currency::parse);
        sale.into_iter().chain(&specs).find_map(|&spec| {
            let levels = self.descend(spec, levels)?;
            let found = self.amount(spec, &["price", "minPrice"], levels)?;
            Some(Amount { currency: found.currency.or(currency), ..found })
        })
    }

    /// Visits a node one level deeper. Returns `None` if it was visited before, or at a limit.
    fn descend(&mut self, node: usize, levels: usize) -> Option<usize> {
        let levels = levels.checked_sub(1)?;
        self.budget.spend()?;
        self.visited.insert(node).then_some(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_org::json_ld;

    /// Formats amount, currency, availability and count of the first node of a block.
    fn format_lowest(block: &str) -> String {
        let mut graph = Graph::default();
        json_ld::add_block(block, &mut graph);
        let Offer { amount, availability, count, .. } = lowest(&graph, 0);
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
            (
                r#"{"price":{"@type":"MonetaryAmount","value":12.5,"currency":"CHF"}}"#,
                "12.5 CHF - 1",
            ),
            (r#"{"price":"","availability":"SoldOut"}"#, "none SoldOut 0"),
            (r#"{"price":"on request"}"#, "none - 0"),
            (r#"{"price":-1}"#, "none - 0"),
            (r#"{"price":0}"#, "0 - - 1"),
            (r#"[]"#, "none - 0"),
        ] {
            let block = format!(r#"{{"@type":"Product","offers":{offers}}}"#);
            assert_eq!(format_lowest(&block), expected, "{offers}");
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
            assert_eq!(format_lowest(block), expected, "{block}");
        }
    }

    #[test]
    fn cyclic_offers_terminate() {
        let block = r#"[{"@type":"Product","offers":{"@id":"a"}},{"@id":"a","offers":{"@id":"b"}},
            {"@id":"b","offers":{"@id":"a"},"price":{"@id":"b"}}]"#;
        assert_eq!(format_lowest(block), "none - 0");
        let many = r#"{"@id":"a"},"#.repeat(4_000);
        let block = format!(
            r#"[{{"@type":"Product","offers":{{"@id":"a"}}}},{{"@id":"a","offers":[{many}],
                "price":[{many}]}}]"#
        );
        assert_eq!(format_lowest(&block), "none - 0");
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
        assert_eq!(lowest_within(&graph, 0, &mut budget).amount, None);
        // The 201 nodes, the references to them, and the values.
        assert!(MAX_VISITS - budget.0 < 550, "{}", budget.0);
        for _ in 0..50 {
            lowest_within(&graph, 0, &mut budget);
        }
        assert_eq!(budget.0, 0);
        assert_eq!(lowest_within(&graph, 0, &mut budget).amount, None);
    }
}
