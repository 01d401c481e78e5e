//! How an offer compares with others of the same product, whatever its amount.

use rust_decimal::Decimal;
use time::{OffsetDateTime, macros::format_description};

use super::graph::{Graph, local_name};
use crate::{availability, price::Amount};

/// What is said of things that are not new, as a part of a word in lower case.
const REFURBISHED: [&str; 8] = [
    "refurb",
    "renewed",
    "recondition",
    "ricondiz",
    "reacondic",
    "generalüberholt",
    "odnowion",
    "восстановлен",
];
const USED: [&str; 15] = [
    "used",
    "openbox",
    "open-box",
    "open box",
    "preowned",
    "pre-owned",
    "secondhand",
    "second hand",
    "damaged",
    "gebraucht",
    "b-ware",
    "occasion",
    "usato",
    "używan",
    "segunda mano",
];

/// What is said of a part of a product that is sold to try it.
const SAMPLES: &str = "sample samples swatch swatches tester stoffmuster farbmuster musterstück \
    materialmuster musterkarte gratismuster échantillon échantillons campione muestra amostra \
    próbka vzorek kleurstaal stofstaal varuprov tygprov prøve stofprøve";

/// What is said of an offer that is paid and delivered again and again.
const SUBSCRIPTIONS: &str = "subscribe subscription abo abonnement abonnemang autoship suscripción \
    suscríbete assinatura abbonamento subskrypcja předplatné";

/// Phrases for such an offer.
const DELIVERIES: [&str; 11] = [
    "every month",
    "every week",
    "every 2 weeks",
    "every 4 weeks",
    "delivered every",
    "delivery every",
    "auto-ship",
    "auto-delivery",
    "im abo",
    "jeden monat",
    "chaque mois",
];

/// Units of a price that is paid again and again.
const PERIODS: [&str; 4] = ["MON", "ANN", "WEE", "DAY"];

/// Properties of a price specification of such a price.
const BILLING: [&str; 3] = ["billingDuration", "billingIncrement", "billingStart"];

/// Customers who are not consumers, in the vocabulary of GoodRelations.
const BUSINESSES: [&str; 3] = ["business", "reseller", "publicinstitution"];

/// The condition of a thing, the best one first.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Condition {
    /// New, or nothing else is said.
    #[default]
    New,
    Refurbished,
    Used,
}

impl Condition {
    /// Returns the other condition if this one says nothing.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::New { other } else { self }
    }
}

/// Orders offers, the best one first.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Standing {
    /// Expired, not yet valid, or only for members, businesses or large quantities; a sample of the
    /// product, or a subscription.
    pub(super) is_limited: bool,
    pub(super) condition: Condition,
    pub(super) is_unavailable: bool,
    pub(super) is_zero: bool,
}

impl Standing {
    /// Whether the offers are for the same customers and of things of the same condition.
    pub(super) fn is_alike(self, other: Self) -> bool {
        (self.is_limited, self.condition) == (other.is_limited, other.condition)
    }
}

/// Returns the standing of an offer.
pub(super) fn of(
    graph: &Graph,
    offer: usize,
    availability: Option<&str>,
    amount: Option<Amount>,
) -> Standing {
    Standing {
        is_limited: is_limited(graph, offer),
        condition: condition(graph, offer),
        is_unavailable: availability
            .and_then(availability::normalize)
            .is_some_and(availability::is_unavailable),
        is_zero: amount.is_some_and(|amount| amount.value.is_zero()),
    }
}

/// Whether an offer is to sell a thing, unlike to lease it, to buy it, or to sell it for
/// instalments.
pub(super) fn counts(graph: &Graph, offer: usize) -> bool {
    let function = graph.text_or_id(offer, "businessFunction").map(local_name).unwrap_or_default();
    !["LeaseOut", "Buy"].iter().any(|other| other.eq_ignore_ascii_case(function))
        && !graph.has(offer, "billingDuration")
}

/// Whether an offer or a variant of a product is a sample of it, or a subscription: its name says
/// so, and that of the product does not, or it is paid by periods.
pub(super) fn is_special(graph: &Graph, node: usize, product: usize) -> bool {
    let is_periodic = |one: usize| {
        BILLING.iter().any(|property| graph.has(one, property))
            || graph.text(one, &["unitCode"]).is_some_and(|unit| PERIODS.contains(&unit.trim()))
    };
    if graph.children(node, "priceSpecification").any(is_periodic) {
        return true;
    }
    let Some(name) = graph.text(node, &["name"]).filter(|_| node != product) else { return false };
    let own = graph.text(product, &["name"]).unwrap_or_default().to_lowercase();
    let name = name.to_lowercase();
    let is_new = |phrase: &str| !own.contains(phrase);
    let mut words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| is_new(word));
    let is_listed =
        |word: &str| [SAMPLES, SUBSCRIPTIONS].iter().any(|list| list.split(' ').any(|w| w == word));
    words.any(|word| !word.is_empty() && is_listed(word))
        || DELIVERIES.iter().any(|phrase| name.contains(phrase) && is_new(phrase))
}

/// Returns the condition that an offer or a product states.
pub(super) fn condition(graph: &Graph, node: usize) -> Condition {
    let texts = [
        graph.text_or_id(node, "itemCondition").map(local_name),
        graph.text(node, &["name"]).filter(|_| graph.is_a(node, &["Offer"])),
    ];
    let text = texts.into_iter().flatten().collect::<Vec<_>>().join(" ").to_lowercase();
    let says_any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says_any(&REFURBISHED) {
        Condition::Refurbished
    } else if says_any(&USED) && !text.contains("unused") {
        Condition::Used
    } else {
        Condition::New
    }
}

/// Whether an offer or a price specification is not for everybody who buys one piece today.
pub(super) fn is_limited(graph: &Graph, node: usize) -> bool {
    let customers: Vec<String> = graph
        .values(node, "eligibleCustomerType")
        .filter_map(|value| graph.text_of(value))
        .map(|customer| local_name(customer).to_ascii_lowercase())
        .collect();
    let is_for_businesses = !customers.is_empty()
        && customers.iter().all(|customer| BUSINESSES.contains(&customer.as_str()));
    let is_bulk = graph.children(node, "eligibleQuantity").any(|quantity| {
        let least = graph.text(quantity, &["minValue", "value"]);
        least.and_then(|least| least.trim().parse().ok()).is_some_and(|n: Decimal| n > Decimal::ONE)
    });
    is_for_businesses
        || is_bulk
        || graph.has(node, "eligibleTransactionVolume")
        || graph.has(node, "validForMemberTier")
        || is_out_of_date(graph, node)
}

/// Whether an offer has expired or has not begun.
fn is_out_of_date(graph: &Graph, node: usize) -> bool {
    let ends = ["priceValidUntil", "validThrough", "availabilityEnds"];
    let starts = ["validFrom", "availabilityStarts"];
    let date = |property: &&str| {
        // A date of ISO 8601 compares as text.
        let date = graph.text(node, &[property])?.trim().get(..10)?;
        let is_date = date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        is_date.then_some(date)
    };
    let (end, start) = (ends.iter().find_map(date), starts.iter().find_map(date));
    if end.is_none() && start.is_none() {
        return false;
    }
    let today = OffsetDateTime::now_utc().date();
    let Ok(today) = today.format(format_description!("[year]-[month]-[day]")) else { return false };
    // It may be a day later at the page's place.
    end.is_some_and(|end| end < today.as_str()) || start.is_some_and(|start| start > today.as_str())
}
