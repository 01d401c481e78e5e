//! What a rule finds in a page or in a JSON body.

use url::Url;

use crate::{
    currency,
    finding::{Finding, Texts},
    handlers::Selected,
    price::{self, Amount},
    rules::{Rule, Target},
};

/// What a rule says about a product.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ruled {
    pub(crate) finding: Finding,
    /// Whether the page is that of a product: its name, its number, or the place of its price was found.
    pub(crate) is_product: bool,
    /// Fields that the rule names, found or not.
    named: Vec<Target>,
}

impl Ruled {
    /// Whether the rule alone decides on a field.
    pub(crate) fn names(&self, target: Target) -> bool {
        self.named.contains(&target)
    }

    /// Takes what was found at the places that the rule `names`, in their order.
    pub(crate) fn of(rule: &Rule, mut named: Vec<Target>, found: &[(Target, Selected)], address: &Url) -> Self {
        let all = |target: Target| found.iter().filter(move |(t, _)| *t == target).map(|(_, selected)| selected);
        let text =
            |target: Target| all(target).map(|selected| selected.text.as_str()).find(|text| !text.trim().is_empty());
        let currency = text(Target::Currency).and_then(currency::of_field).or(rule.currency);
        let amount: Option<Amount> = all(Target::Price).find_map(|Selected { text, exact }| {
            if *exact { price::exact(text, currency) } else { price::shown(text, currency) }
        });
        let texts = Texts {
            name: text(Target::Name),
            category: text(Target::Category).or(rule.category.as_deref()),
            sku: text(Target::Sku),
            brand: text(Target::Brand),
            availability: text(Target::Availability),
            image: text(Target::Image),
            url: text(Target::Url),
        };
        let finding = Finding {
            price: amount.map(|amount| amount.value),
            currency: amount.map_or(currency, |amount| amount.currency),
            variants: u32::from(amount.is_some()),
            ..Finding::of(texts, address)
        };
        let fixed = [(Target::Category, rule.category.is_some()), (Target::Currency, rule.currency.is_some())];
        named.extend(fixed.into_iter().filter(|(_, is_fixed)| *is_fixed).map(|(target, _)| target));
        Self {
            is_product: finding.name.is_some() || finding.sku.is_some() || all(Target::Price).next().is_some(),
            finding,
            named,
        }
    }
}
