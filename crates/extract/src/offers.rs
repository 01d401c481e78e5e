//! Which of a product's offers its price is.

use std::collections::HashSet;

use crate::{
    availability, currency,
    items::{Items, Value, last_part},
    price::{self, Amount},
};

/// How deep offers, and the things that tell a price, may lie in one another.
const MAX_DEPTH: usize = 4;

/// How many things and values are looked at on the way, for all products of a page that are compared. A product has one
/// offer, or one for each of its variants.
const MAX_VISITS: usize = 2_000;

/// Bytes of a value in which a price is looked for.
const MAX_PRICE: usize = 1024;

/// Charges that come on top of a price.
const CHARGES: [&str; 2] = ["DeliveryChargeSpecification", "PaymentChargeSpecification"];

/// Prices that are told beside the one to be paid.
const NOT_TO_BE_PAID: [&str; 7] =
    ["ListPrice", "StrikethroughPrice", "RegularPrice", "MSRP", "SRP", "MinimumAdvertisedPrice", "InvoicePrice"];

/// What tells that a price is that of a kilogram, or for members.
const NOT_FOR_ALL: [&str; 2] = ["referenceQuantity", "validForMemberTier"];

const OFFERS: [&str; 3] = ["Offer", "AggregateOffer", "OfferForPurchase"];

/// What a product is to be had for.
#[derive(Debug, Default)]
pub(crate) struct Deal<'a> {
    pub(crate) amount: Option<Amount>,
    pub(crate) availability: Option<&'a str>,
    pub(crate) sku: Option<&'a str>,
    /// How many prices this one is the lowest of.
    pub(crate) count: u32,
}

/// The lowest price of all offers of a product and of its variants. Those in another currency than the first one are
/// left out: amounts of two currencies do not compare. Of equal prices one that is in stock wins. Where nothing has a
/// price, what the first offer tells.
pub(crate) fn lowest(items: &Items, product: usize) -> Deal<'_> {
    lowest_within(items, product, &mut Visits::default())
}

/// The same with as many visits as are left.
pub(crate) fn lowest_within<'a>(items: &'a Items, product: usize, visits: &mut Visits) -> Deal<'a> {
    let mut search = Search { items, visits, seen: HashSet::new(), deals: Vec::new() };
    search.variants(product);
    if search.has_no_price() {
        search.offers(product, MAX_DEPTH);
    }
    if search.has_no_price() {
        search.offers_that_name(product);
    }
    if search.has_no_price() && items.has(product, "price") {
        search.offer(product, MAX_DEPTH);
    }
    let deals = search.deals;
    let currency = deals.iter().find_map(|deal| deal.amount?.currency);
    let comparable =
        |deal: &&Deal<'_>| deal.amount.is_some_and(|amount| amount.currency.is_none_or(|c| Some(c) == currency));
    let count = deals.iter().filter(comparable).fold(0_u32, |sum, deal| sum.saturating_add(deal.count));
    let rank = |deal: &&Deal<'_>| {
        let in_stock = deal.availability.is_some_and(|text| availability::named(text) == "InStock");
        (deal.amount.map(|amount| amount.value), !in_stock)
    };
    let chosen = deals.iter().filter(comparable).min_by_key(rank).or(deals.first());
    let Some(chosen) = chosen else { return Deal::default() };
    let amount = chosen.amount.map(|amount| Amount { currency: amount.currency.or(currency), ..amount });
    Deal { amount, availability: chosen.availability, sku: chosen.sku, count }
}

/// How many more things and values may be looked at.
#[derive(Debug)]
pub(crate) struct Visits(usize);

impl Default for Visits {
    fn default() -> Self {
        Self(MAX_VISITS)
    }
}

impl Visits {
    fn take(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

struct Search<'a, 'v> {
    items: &'a Items,
    visits: &'v mut Visits,
    /// Things that were visited. They may refer to each other in circles, or many of them to one.
    seen: HashSet<usize>,
    deals: Vec<Deal<'a>>,
}

impl<'a> Search<'a, '_> {
    fn has_no_price(&self) -> bool {
        self.deals.iter().all(|deal| deal.amount.is_none())
    }

    fn variants(&mut self, product: usize) {
        let items = self.items;
        for variant in items.children(product, "hasVariant") {
            self.offers(variant, MAX_DEPTH);
        }
        if items.is_a(product, &["ProductGroup"]) {
            for variant in items.variants(product) {
                self.offers(variant, MAX_DEPTH);
            }
        }
    }

    fn offers(&mut self, product: usize, levels: usize) {
        let before = self.deals.len();
        for offer in self.items.children(product, "offers") {
            self.offer(offer, levels);
        }
        let sku = self.items.text(product, &["sku"]);
        for deal in &mut self.deals[before..] {
            deal.sku = deal.sku.or(sku);
        }
    }

    fn offers_that_name(&mut self, product: usize) {
        let items = self.items;
        let offered = |item: usize| items.children(item, "itemOffered").any(|offered| offered == product);
        for offer in items.all().filter(|&item| items.is_a(item, &OFFERS) && offered(item)) {
            self.offer(offer, MAX_DEPTH);
        }
    }

    fn offer(&mut self, offer: usize, levels: usize) {
        let Some(levels) = self.descend(offer, levels) else { return };
        let items = self.items;
        let amount = self.amount(offer, &["lowPrice", "price"], levels).or_else(|| self.specified(offer, levels));
        let availability = items.text_or_id(offer, "availability");
        let before = self.deals.len();
        for nested in items.children(offer, "offers") {
            self.offer(nested, levels);
        }
        if amount.is_none() && self.deals.len() > before {
            return;
        }
        // An aggregate counts its offers itself, and those that it lists may be but some of them.
        let nested = self.deals.split_off(before);
        let listed = u32::try_from(nested.len()).unwrap_or(u32::MAX);
        let counted = items.text(offer, &["offerCount"]).and_then(|count| count.trim().parse().ok());
        let availability = availability.or_else(|| nested.iter().find_map(|deal| deal.availability));
        let count = counted.unwrap_or(listed).max(1);
        self.deals.push(Deal { amount, availability, sku: items.text(offer, &["sku"]), count });
    }

    /// The first price among the properties of a thing.
    fn amount(&mut self, item: usize, properties: &[&str], levels: usize) -> Option<Amount> {
        let items = self.items;
        let currency = items.text(item, &["priceCurrency", "currency"]).and_then(currency::of_field);
        let beginning = |text: &'a str| &text[..text.floor_char_boundary(MAX_PRICE)];
        let mut of_value = |value: &'a Value| {
            self.visits.take()?;
            match value {
                Value::Exact(text) => price::exact(beginning(text), currency),
                Value::Shown(text) => price::shown(beginning(text), currency),
                Value::Item(inner) => {
                    let inner = items.resolve(*inner);
                    let levels = self.descend(inner, levels)?;
                    let found = self.amount(inner, &["price", "value", "minPrice"], levels)?;
                    Some(Amount { currency: found.currency.or(currency), ..found })
                }
            }
        };
        properties.iter().find_map(|property| items.values(item, property).find_map(&mut of_value))
    }

    /// The price of an offer that tells it by specifications: a sale's, else the first that is to be paid.
    fn specified(&mut self, offer: usize, levels: usize) -> Option<Amount> {
        let items = self.items;
        let kind = |spec: usize| items.text_or_id(spec, "priceType").map(last_part);
        let specs: Vec<usize> = items
            .children(offer, "priceSpecification")
            .filter(|&spec| {
                !items.is_a(spec, &CHARGES)
                    && !NOT_FOR_ALL.iter().any(|property| items.has(spec, property))
                    && !kind(spec).is_some_and(|kind| NOT_TO_BE_PAID.contains(&kind))
            })
            .collect();
        let sale = specs.iter().find(|&&spec| kind(spec) == Some("SalePrice"));
        let currency = items.text(offer, &["priceCurrency"]).and_then(currency::of_field);
        sale.into_iter().chain(&specs).find_map(|&spec| {
            let levels = self.descend(spec, levels)?;
            let found = self.amount(spec, &["price", "minPrice"], levels)?;
            Some(Amount { currency: found.currency.or(currency), ..found })
        })
    }

    /// Goes one level deeper, to a thing that was not visited yet.
    fn descend(&mut self, thing: usize, levels: usize) -> Option<usize> {
        let levels = levels.checked_sub(1)?;
        self.visits.take()?;
        self.seen.insert(thing).then_some(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_ld;

    /// Amount, currency, availability and count of the first thing of a block.
    fn told(block: &str) -> String {
        let mut items = Items::default();
        json_ld::add(block, &mut items);
        let Deal { amount, availability, count, .. } = lowest(&items, 0);
        let amount = amount
            .map_or("none".to_owned(), |Amount { value, currency }| format!("{value} {}", currency.unwrap_or("-")));
        format!("{amount} {} {count}", availability.unwrap_or("-"))
    }

    #[test]
    fn the_lowest_price_to_be_paid_is_told() {
        for (offers, expected) in [
            (r#"{"@type":"Offer","price":"19.99","priceCurrency":"EUR"}"#, "19.99 EUR - 1"),
            (r#"{"price":19.90,"priceCurrency":"EUR","availability":{"@id":"x/InStock"}}"#, "19.90 EUR x/InStock 1"),
            (r#"[{"price":3},{"price":2},{"price":"4"}]"#, "2 - - 3"),
            (r#"[{"price":2,"availability":"a"},{"price":2,"availability":"InStock"}]"#, "2 - InStock 2"),
            (r#"[{"price":3,"priceCurrency":"EUR"},{"price":2,"priceCurrency":"USD"},{"price":4}]"#, "3 EUR - 2"),
            (
                r#"{"@type":"AggregateOffer","lowPrice":5,"highPrice":9,"priceCurrency":"GBP","offerCount":"7"}"#,
                "5 GBP - 7",
            ),
            (
                r#"{"@type":"AggregateOffer","lowPrice":5,"offers":[{"price":5,"availability":"a"},{"price":9}]}"#,
                "5 - a 2",
            ),
            (r#"{"@type":"AggregateOffer","offers":[{"price":7},{"price":6}]}"#, "6 - - 2"),
            (r#"{"priceSpecification":{"price":"8","priceCurrency":"EUR"}}"#, "8 EUR - 1"),
            (
                r#"{"priceCurrency":"EUR","priceSpecification":[{"price":"9","priceType":"https://schema.org/ListPrice"},{"price":"8"}]}"#,
                "8 EUR - 1",
            ),
            (
                r#"{"priceSpecification":[{"@type":"DeliveryChargeSpecification","price":1},{"price":9},{"price":8,"priceType":"SalePrice"}]}"#,
                "8 - - 1",
            ),
            (r#"{"priceSpecification":[{"@type":"DeliveryChargeSpecification","price":1},{"price":9}]}"#, "9 - - 1"),
            (
                r#"{"priceSpecification":[{"price":1,"referenceQuantity":{"value":1}},{"price":2,"validForMemberTier":"x"},{"price":9}]}"#,
                "9 - - 1",
            ),
            (r#"{"priceSpecification":{"price":1,"referenceQuantity":{"value":1,"unitCode":"KGM"}}}"#, "none - 0"),
            (r#"{"price":{"@type":"MonetaryAmount","value":12.5,"currency":"CHF"}}"#, "12.5 CHF - 1"),
            (r#"{"price":"","availability":"SoldOut"}"#, "none SoldOut 0"),
            (r#"{"price":"on request"}"#, "none - 0"),
            (r#"{"price":-1}"#, "none - 0"),
            (r#"{"price":0}"#, "0 - - 1"),
            (r#"[]"#, "none - 0"),
        ] {
            let block = format!(r#"{{"@type":"Product","offers":{offers}}}"#);
            assert_eq!(told(&block), expected, "{offers}");
        }
    }

    #[test]
    fn variants_and_offers_that_stand_apart_are_found() {
        for (block, expected) in [
            (r#"{"@type":"ProductGroup","hasVariant":[{"offers":{"price":3}},{"offers":{"price":2}}]}"#, "2 - - 2"),
            (
                r#"[{"@type":"ProductGroup","@id":"g","name":"Tea"},{"@type":"Product","isVariantOf":{"@id":"g"},"offers":{"price":3}}]"#,
                "3 - - 1",
            ),
            (
                r#"[{"@type":"ProductGroup","productGroupID":"g"},{"inProductGroupWithID":"g","offers":{"price":3}},{"inProductGroupWithID":"g","offers":{"price":2}},{"inProductGroupWithID":"h","offers":{"price":1}}]"#,
                "2 - - 2",
            ),
            (
                r#"{"@type":"ProductGroup","hasVariant":[{"offers":{"price":3}}],"offers":{"lowPrice":3,"offerCount":1}}"#,
                "3 - - 1",
            ),
            (
                r#"[{"@type":"Product","@id":"p","name":"Tea"},{"@type":"Offer","itemOffered":{"@id":"p"},"price":4}]"#,
                "4 - - 1",
            ),
            (r#"[{"@type":"Product","offers":{"@id":"o"}},{"@type":"Offer","@id":"o","price":4}]"#, "4 - - 1"),
            (r#"{"@type":"Product","price":"5 €"}"#, "5 EUR - 1"),
        ] {
            assert_eq!(told(block), expected, "{block}");
        }
    }

    #[test]
    fn offers_that_contain_each_other_come_to_an_end() {
        let block = r#"[{"@type":"Product","offers":{"@id":"a"}},{"@id":"a","offers":{"@id":"b"}},{"@id":"b","offers":{"@id":"a"},"price":{"@id":"b"}}]"#;
        assert_eq!(told(block), "none - 0");
        let many = r#"{"@id":"a"},"#.repeat(4_000);
        let block = format!(
            r#"[{{"@type":"Product","offers":{{"@id":"a"}}}},{{"@id":"a","offers":[{many}],"price":[{many}]}}]"#
        );
        assert_eq!(told(&block), "none - 0");
    }

    #[test]
    fn what_many_refer_to_is_looked_at_once() {
        let offers = r#"{"@id":"o"},{"price":{"@id":"p"}},"#.repeat(100);
        let block = format!(
            r#"[{{"@type":"Product","offers":[{offers}]}},{{"@id":"o","price":{{"@id":"p"}}}},{{"@id":"p","price":"x"}}]"#
        );
        let mut items = Items::default();
        json_ld::add(&block, &mut items);
        let mut visits = Visits::default();
        assert_eq!(lowest_within(&items, 0, &mut visits).amount, None);
        // The 201 things, each of the references to them, and the values.
        assert!(MAX_VISITS - visits.0 < 550, "{}", visits.0);
        for _ in 0..50 {
            lowest_within(&items, 0, &mut visits);
        }
        assert_eq!(visits.0, 0);
        assert_eq!(lowest_within(&items, 0, &mut visits).amount, None);
    }
}
