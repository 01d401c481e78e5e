//! Chooses the price of a product among its offers and those of its variants.

use std::{borrow::Cow, collections::HashSet};

use rust_decimal::Decimal;
use url::Url;

use super::{
    LOOSE_OFFERS,
    graph::{Graph, Value},
    price_specification as specification,
    standing::{self, Standing},
};
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

/// Other amounts of a product that are kept.
const MAX_OTHERS: usize = 20;

/// The shortest SKU that selects a variant in the query of a URL. Shorter ones may be quantities.
const MIN_SKU: usize = 4;

/// Properties by which a node is an offer itself.
const OWN_PRICES: [&str; 3] = ["price", "lowPrice", "priceSpecification"];

const OFFERS: [&str; 3] = ["Offer", "AggregateOffer", "OfferForPurchase"];

/// An offer of a product, or an aggregate of offers.
#[derive(Debug, Default)]
pub(super) struct Offer<'a> {
    pub(super) amount: Option<Amount>,
    pub(super) availability: Option<&'a str>,
    pub(super) sku: Option<&'a str>,
    /// The number of prices that this one is the lowest of.
    pub(super) count: u32,
    pub(super) standing: Standing,
    /// Whether the URL of the page selects it, as `?variant=17` does.
    is_selected: bool,
    /// Other amounts that the product is offered for, as well as for this one.
    pub(super) others: Vec<Amount>,
    /// Whether the text of the price has several amounts.
    pub(super) is_ambiguous: bool,
}

impl Offer<'_> {
    fn value(&self) -> Option<Decimal> {
        self.amount.map(|amount| amount.value)
    }

    fn is_in_stock(&self) -> bool {
        self.availability.is_some_and(|text| availability::normalize(text) == Some("InStock"))
    }
}

/// Returns the best offer of a product and its variants: the lowest one of those with the best
/// [`Standing`]. It is in stock if any offer of its condition is.
///
/// Offers in another currency than the first one are left out, since their amounts do not compare.
/// Without any price, the first offer is returned. `address` is the page, whose country decides
/// what `$` means.
pub(super) fn best<'a>(graph: &'a Graph, product: usize, address: &Url) -> Offer<'a> {
    best_within(graph, product, address, &mut VisitBudget::default())
}

/// Like [`best`], within a shared budget.
pub(super) fn best_within<'a>(
    graph: &'a Graph,
    product: usize,
    address: &Url,
    budget: &mut VisitBudget,
) -> Offer<'a> {
    let visited = HashSet::new();
    let mut search = Search { graph, product, address, budget, visited, found: Vec::new() };
    search.add_variants();
    if search.has_no_price() {
        search.add_offers(product, MAX_DEPTH);
    }
    if search.has_no_price() {
        search.add_offers_naming();
    }
    if search.has_no_price() {
        for offer in graph.children(product, LOOSE_OFFERS) {
            search.add_offer(offer, MAX_DEPTH);
        }
    }
    if search.has_no_price() && OWN_PRICES.iter().any(|price| graph.has(product, price)) {
        search.add_offer(product, MAX_DEPTH);
    }
    choose(search.found)
}

fn choose(offers: Vec<Offer<'_>>) -> Offer<'_> {
    let currency = offers.iter().find_map(|offer| offer.amount?.currency);
    let is_comparable = |offer: &&Offer<'_>| {
        offer.amount.is_some_and(|amount| amount.currency.is_none_or(|c| Some(c) == currency))
    };
    let rank = |offer: &&Offer<'_>| {
        let is_selected = offer.is_selected && offer.amount.is_some();
        (!is_selected, offer.standing, offer.value(), !offer.is_in_stock())
    };
    let best = offers.iter().filter(is_comparable).min_by_key(rank);
    let Some(best) = best.or_else(|| offers.iter().min_by_key(rank)) else {
        return Offer::default();
    };
    let alike = || offers.iter().filter(|offer| offer.standing.is_alike(best.standing));
    let count = alike()
        .filter(|offer| is_comparable(offer) && (best.is_selected || offer.value() >= best.value()))
        .fold(0_u32, |sum, offer| sum.saturating_add(offer.count));
    let in_stock = alike().find(|offer| offer.is_in_stock());
    let completed = |amount: Amount| Amount { currency: amount.currency.or(currency), ..amount };
    let amount = best.amount.map(completed);
    let mut others = Vec::new();
    if !best.is_selected {
        let equal = offers.iter().filter(|offer| offer.standing == best.standing);
        for other in equal.flat_map(|offer| offer.amount.iter().chain(&offer.others)) {
            add_other(&mut others, completed(*other), amount);
        }
    }
    Offer {
        amount,
        others,
        is_ambiguous: best.is_ambiguous,
        availability: in_stock.map_or(best.availability, |offer| offer.availability),
        sku: best.sku,
        count,
        standing: best.standing,
        is_selected: best.is_selected,
    }
}

/// Adds another amount than the price to those that are known.
fn add_other(others: &mut Vec<Amount>, other: Amount, price: Option<Amount>) {
    let is_new = Some(other) != price && !others.contains(&other) && !other.value.is_zero();
    if is_new && others.len() < MAX_OTHERS {
        others.push(other);
    }
}

/// Whether the lowest price of an aggregate is not that of its best offers: they cost more, and an
/// offer of this price is of a used thing, or out of stock.
fn is_inferior(lowest: Amount, offers: &[Offer<'_>]) -> bool {
    let best =
        offers.iter().filter(|offer| offer.amount.is_some()).map(|offer| offer.standing).min();
    let mut alike = offers.iter().filter(|offer| offer.value() == Some(lowest.value));
    let is_of_best = |offer: &Offer<'_>| Some(offer.standing) == best;
    lowest.value.is_zero() && best.is_some()
        || alike.clone().next().is_some() && !alike.any(is_of_best)
}

/// Whether a node is an offer.
pub(super) fn is_offer(graph: &Graph, node: usize) -> bool {
    graph.is_a(node, &OFFERS)
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
    product: usize,
    address: &'v Url,
    budget: &'v mut VisitBudget,
    /// Nodes may refer to each other in cycles, or many of them to one.
    visited: HashSet<usize>,
    found: Vec<Offer<'a>>,
}

impl<'a> Search<'a, '_> {
    fn has_no_price(&self) -> bool {
        self.found.iter().all(|offer| offer.amount.is_none())
    }

    fn add_variants(&mut self) {
        let graph = self.graph;
        for variant in graph.children(self.product, "hasVariant") {
            self.add_offers(variant, MAX_DEPTH);
        }
        if graph.is_a(self.product, &["ProductGroup"]) {
            for variant in graph.variants(self.product) {
                self.add_offers(variant, MAX_DEPTH);
            }
        }
    }

    /// Adds the offers of a product. They have its SKU and its condition unless they have their
    /// own.
    fn add_offers(&mut self, product: usize, levels: usize) {
        let before = self.found.len();
        for offer in self.graph.children(product, "offers") {
            self.add_offer(offer, levels);
        }
        let sku = self.graph.text(product, &["sku"]);
        let condition = standing::condition(self.graph, product);
        let is_selected = self.is_selected(product);
        let is_special =
            product != self.product && standing::is_special(self.graph, product, self.product);
        for offer in &mut self.found[before..] {
            offer.sku = offer.sku.or(sku);
            offer.standing.condition = offer.standing.condition.or(condition);
            offer.is_selected |= is_selected;
            offer.standing.is_limited |= is_special;
        }
    }

    /// Adds the offers elsewhere in the graph that name the product as theirs.
    fn add_offers_naming(&mut self) {
        let (graph, product) = (self.graph, self.product);
        let offered =
            |node: usize| graph.children(node, "itemOffered").any(|offered| offered == product);
        for offer in graph.nodes().filter(|&node| graph.is_a(node, &OFFERS) && offered(node)) {
            self.add_offer(offer, MAX_DEPTH);
        }
    }

    fn add_offer(&mut self, offer: usize, levels: usize) {
        let Some(levels) = self.descend(offer, levels) else { return };
        let graph = self.graph;
        if !standing::counts(graph, offer) {
            return;
        }
        let amount = self
            .amount(offer, &["lowPrice", "price"], levels)
            .filter(|amount| !amount.value.is_zero() || !self.has_high_price(offer, levels))
            .or_else(|| self.specified_amount(offer, levels));
        let availability = graph.text_or_id(offer, "availability");
        let before = self.found.len();
        for nested in graph.children(offer, "offers") {
            self.add_offer(nested, levels);
        }
        let nested = &self.found[before..];
        if !nested.is_empty() && amount.is_none_or(|amount| is_inferior(amount, nested)) {
            return;
        }
        // The count of an aggregate takes precedence: it may list only some of its offers.
        let nested = self.found.split_off(before);
        let listed = u32::try_from(nested.len()).unwrap_or(u32::MAX);
        let counted =
            graph.text(offer, &["offerCount"]).and_then(|count| count.trim().parse().ok());
        let count = counted.unwrap_or(listed).max(1);
        let of_nested = nested.iter().find(|offer| offer.is_in_stock()).or(nested.first());
        let availability = availability.or_else(|| of_nested?.availability);
        let of_nested = nested.iter().map(|offer| offer.standing).min();
        let mut standing =
            of_nested.unwrap_or_else(|| standing::of(graph, offer, availability, amount));
        standing.is_limited |= standing::is_special(graph, offer, self.product);
        let written = self.written_amounts(offer);
        let mut others = Vec::new();
        let equal = nested.iter().filter(|offer| offer.standing == standing);
        let listed = equal.filter_map(|offer| offer.amount);
        let high = self.amount(offer, &["highPrice"], levels);
        for other in written.iter().copied().chain(listed).chain(high) {
            add_other(&mut others, other, amount);
        }
        // Shops without a price for a thing that is sold out often say that it costs nothing.
        let amount = amount.filter(|_| !(standing.is_zero && standing.is_unavailable));
        let sku = graph.text(offer, &["sku"]);
        let is_selected = self.is_selected(offer);
        let is_ambiguous = written.iter().any(|other| other.value != written[0].value);
        self.found.push(Offer {
            amount,
            availability,
            sku,
            count,
            standing,
            is_selected,
            others,
            is_ambiguous,
        });
    }

    /// Returns the amounts of a price, if it is text for people, or if there are several values.
    fn written_amounts(&self, offer: usize) -> Vec<Amount> {
        let of = |name: &str| self.graph.values(offer, name).take(MAX_OTHERS).collect::<Vec<_>>();
        let values = Some(of("lowPrice")).filter(|low| !low.is_empty());
        let values = values.unwrap_or_else(|| of("price"));
        let currency = self.graph.text(offer, &["priceCurrency", "currency"]);
        let currency = currency.and_then(currency::parse);
        let is_several = values.len() > 1;
        let truncate = |text: &'a str| &text[..text.floor_char_boundary(MAX_PRICE)];
        let amounts = values.into_iter().flat_map(|value| match value {
            Value::Human(text) => price::parse_all(truncate(text), currency),
            Value::Machine(text) if is_several => {
                price::parse_machine(truncate(text), currency).into_iter().collect()
            }
            Value::Machine(_) | Value::Node(_) => Vec::new(),
        });
        amounts.collect()
    }

    /// Whether the query of the page's URL has the SKU of an offer or a variant, or all of the
    /// query of its URL.
    fn is_selected(&self, node: usize) -> bool {
        let address = self.address;
        if address.query().is_none_or(str::is_empty) {
            return false;
        }
        let has =
            |pair: &(Cow<'_, str>, Cow<'_, str>)| address.query_pairs().any(|own| own == *pair);
        let url = self.graph.text_or_id(node, "url").and_then(|url| address.join(url).ok());
        let is_of_url = url.is_some_and(|url| {
            let mut pairs = url.query_pairs().peekable();
            pairs.peek().is_some() && url.path() == address.path() && pairs.all(|pair| has(&pair))
        });
        let sku = self.graph.text(node, &["sku"]).filter(|sku| sku.len() >= MIN_SKU);
        is_of_url
            || sku.is_some_and(|sku| {
                address.query_pairs().any(|(_, value)| value.eq_ignore_ascii_case(sku.trim()))
            })
    }

    fn has_high_price(&mut self, offer: usize, levels: usize) -> bool {
        self.amount(offer, &["highPrice"], levels).is_some_and(|high| !high.value.is_zero())
    }

    /// Returns the first price among the properties of a node.
    fn amount(&mut self, node: usize, properties: &[&str], levels: usize) -> Option<Amount> {
        let (graph, address) = (self.graph, self.address);
        let currency = graph.text(node, &["priceCurrency", "currency"]).and_then(currency::parse);
        let truncate = |text: &'a str| &text[..text.floor_char_boundary(MAX_PRICE)];
        let mut of_value = |value: &'a Value| {
            self.budget.spend()?;
            match value {
                Value::Machine(text) => {
                    let found = price::parse_machine(truncate(text), currency)?;
                    Some(price::localize(found, text, address))
                }
                Value::Human(text) => {
                    let found = price::parse_human(truncate(text), currency)?;
                    Some(price::localize(found, text, address))
                }
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

    /// Returns the price of an offer with price specifications: the first one that customers pay.
    fn specified_amount(&mut self, offer: usize, levels: usize) -> Option<Amount> {
        let graph = self.graph;
        let currency = graph.text(offer, &["priceCurrency"]).and_then(currency::parse);
        let specifications = specification::in_order(graph, offer, self.product);
        specifications.into_iter().find_map(|specification| {
            let levels = self.descend(specification, levels)?;
            let found = self.amount(specification, &["price", "minPrice"], levels)?;
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
mod tests;
