//! What a rule finds in a page or in a JSON body.

use url::Url;

use crate::{
    availability,
    finding::{Finding, RawTexts},
    price::{self, Amount, currency},
    product::MAX_AVAILABILITY,
    rules::{FieldName, Rule, RuleMatch},
    text,
};

/// A finding that is the only source of the fields that the rule names.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleFinding {
    pub(super) finding: Finding,
    /// Whether the page contains a product: the rule found a name, a SKU, or the place of the
    /// price.
    pub(super) is_product: bool,
    /// Fields that the rule names, found or not.
    named: Vec<FieldName>,
}

impl RuleFinding {
    /// Reads what was found for the fields that the rule names, in their order.
    pub(super) fn new(
        rule: &Rule,
        mut named: Vec<FieldName>,
        found: &[(FieldName, RuleMatch)],
        base: &Url,
    ) -> Self {
        let all = |field: FieldName| found.iter().filter(move |(f, _)| *f == field).map(|(_, m)| m);
        let first = |field: FieldName| {
            all(field).map(|found| found.text.as_str()).find(|text| !text.trim().is_empty())
        };
        let currency = first(FieldName::Currency).and_then(currency::parse).or(rule.currency);
        let amount: Option<Amount> =
            all(FieldName::Price).find_map(|RuleMatch { text, is_machine_readable }| {
                let amount = match is_machine_readable {
                    true => price::parse_machine(text, currency),
                    false => price::parse_human(text, currency),
                };
                Some(price::localize(amount?, text, base))
            });
        let texts = RawTexts {
            name: first(FieldName::Name),
            category: first(FieldName::Category).or(rule.category.as_deref()),
            sku: first(FieldName::Sku),
            brand: first(FieldName::Brand),
            availability: None,
            image: first(FieldName::Image),
            url: first(FieldName::Url),
        };
        let finding = Finding {
            availability: first(FieldName::Availability).and_then(availability),
            price: amount.map(|amount| amount.value),
            currency: amount.map_or(currency, |amount| amount.currency),
            variants: u32::from(amount.is_some()),
            ..Finding::from_texts(texts, base)
        };
        named.extend(rule.category.is_some().then_some(FieldName::Category));
        named.extend(rule.currency.is_some().then_some(FieldName::Currency));
        Self {
            is_product: finding.name.is_some()
                || finding.sku.is_some()
                || all(FieldName::Price).next().is_some(),
            finding,
            named,
        }
    }

    /// Whether the rule is the only source of a field.
    pub(super) fn names(&self, field: FieldName) -> bool {
        self.named.contains(&field)
    }
}

/// Returns the name of schema.org for an availability, or else its text, since the rule says that
/// it is one.
fn availability(text: &str) -> Option<String> {
    let name = availability::normalize(text).map(str::to_owned);
    name.or_else(|| text::clean_line(text, MAX_AVAILABILITY))
}
