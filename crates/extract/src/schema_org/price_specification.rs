//! Chooses among the price specifications of an offer.

use rust_decimal::Decimal;

use super::{
    graph::{Graph, local_name},
    standing,
};

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

/// Parts of what customers pay.
const COMPONENTS: [&str; 7] = [
    "ActivationFee",
    "CleaningFee",
    "DistanceFee",
    "DownPayment",
    "Downpayment",
    "Installment",
    "Subscription",
];

/// Properties of a price for members, and of one that is paid several times.
const SPECIAL_PRICES: [&str; 3] = ["validForMemberTier", "billingDuration", "billingIncrement"];

/// Units of a quantity that mean a piece.
const PIECES: [&str; 8] = ["c62", "ea", "h87", "nmb", "pc", "pcs", "piece", "unit"];

/// Properties of a product or an offer with the size of what is sold.
const SIZES: [&str; 5] = ["eligibleQuantity", "weight", "size", "hasMeasurement", "netContent"];

/// Returns the specifications of prices that customers pay for the whole, the likeliest first:
/// those for everybody, with tax, and of a sale.
pub(super) fn in_order(graph: &Graph, offer: usize, product: usize) -> Vec<usize> {
    let mut specifications: Vec<usize> = graph
        .children(offer, "priceSpecification")
        .filter(|&one| is_paid(graph, one) && is_for_whole(graph, one, &[offer, product]))
        .collect();
    specifications.sort_by_key(|&one| {
        let is_net = graph
            .text(one, &["valueAddedTaxIncluded"])
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("false"));
        let is_sale = kind(graph, one, "priceType") == Some("SalePrice");
        (standing::is_limited(graph, one), is_net, !is_sale)
    });
    specifications
}

fn is_paid(graph: &Graph, one: usize) -> bool {
    let is_any = |property: &str, kinds: &[&str]| {
        kind(graph, one, property).is_some_and(|kind| kinds.contains(&kind))
    };
    !graph.is_a(one, &CHARGES)
        && !SPECIAL_PRICES.iter().any(|property| graph.has(one, property))
        && !is_any("priceType", &REFERENCE_PRICES)
        && !is_any("priceComponentType", &COMPONENTS)
}

fn kind<'a>(graph: &'a Graph, one: usize, property: &str) -> Option<&'a str> {
    graph.text_or_id(one, property).map(local_name)
}

/// Whether a price is for the whole pack, not for a unit of measure.
///
/// In Google's form, `referenceQuantity` is the pack, and its `valueReference` the unit of measure.
/// Otherwise it is the unit of measure, unless it has the size of the pack.
fn is_for_whole(graph: &Graph, one: usize, sold: &[usize]) -> bool {
    let Some(reference) = graph.children(one, "referenceQuantity").next() else {
        return !graph.has(one, "referenceQuantity");
    };
    let quantity = quantity(graph, reference);
    if let Some(unit) = graph.children(reference, "valueReference").next() {
        return quantity.0.is_some() && quantity != self::quantity(graph, unit);
    }
    let is_piece = quantity.1.as_deref().is_some_and(|unit| PIECES.contains(&unit));
    let is_pack = |node: &usize| {
        SIZES
            .iter()
            .flat_map(|property| graph.children(*node, property))
            .any(|size| quantity.0.is_some() && self::quantity(graph, size) == quantity)
    };
    is_piece && quantity.0.is_none_or(|value| value == Decimal::ONE) || sold.iter().any(is_pack)
}

/// Returns the value of a quantity and its unit in lower case.
fn quantity(graph: &Graph, node: usize) -> (Option<Decimal>, Option<String>) {
    let value = graph.text(node, &["value"]).and_then(|value| value.trim().parse::<Decimal>().ok());
    let unit = graph.text(node, &["unitCode", "unitText"]);
    (value.map(|value| value.normalize()), unit.map(|unit| unit.trim().to_ascii_lowercase()))
}
