//! Merges what all sources find, field by field.

use rust_decimal::Decimal;
use url::Url;

use super::rule::RuleFinding;
use crate::{
    availability,
    finding::{self, Finding},
    price::Amount,
    product::{Confidence, Extraction, Field, Method, Product},
    rules::FieldName,
};

/// All findings of a page.
///
/// Each field is taken from the first finding that has it, except that the URL is taken from the
/// last one. Fields that a rule names are taken from the rule alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merger {
    task_category: Option<String>,
    rule: Option<RuleFinding>,
    /// Sorted by method, which is the order of precedence.
    findings: Vec<(Method, Finding)>,
    /// The category by breadcrumbs, which counts after those of all findings.
    breadcrumb: Option<Field<String>>,
    is_product: bool,
    /// Whether the text of the page shows a product.
    is_shown: bool,
    /// Which of several prices the page shows, if the sources disagree.
    shown_price: Option<Decimal>,
    /// Whether a field for machines confirms a price of [`Method::Shown`].
    is_shown_confirmed: bool,
    /// The main heading of the page, if its text was read.
    heading: Option<String>,
    /// Whether the page shows which of several amounts of one text is the price.
    is_settled: bool,
    /// Whether the titles of the page have no word of the name of the product.
    is_unlike_titles: bool,
}

/// Offers that few products have, and that lists have.
const MANY_OFFERS: u32 = 3;

/// What the text of a page could add to its structured sources.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Gap {
    /// They have no price.
    NoPrice,
    /// They have different prices.
    Disagreement(Vec<Decimal>),
}

impl Merger {
    pub(crate) fn new(task_category: Option<&str>) -> Self {
        let task_category = task_category.and_then(finding::clean_category);
        Self { task_category, ..Self::default() }
    }

    pub(super) fn set_rule(&mut self, rule: RuleFinding) {
        self.is_product |= rule.is_product;
        self.rule = Some(rule);
    }

    /// Adds a product.
    pub(super) fn add(&mut self, method: Method, finding: Finding) {
        self.is_product = true;
        self.add_detail(method, finding);
    }

    /// Adds a product unless it differs from that of the first finding. Otherwise a page whose
    /// product is available on request would have the price of another product. If the first
    /// finding has no offer, a different product with a price replaces all findings.
    pub(super) fn add_if_same(&mut self, method: Method, finding: Finding) {
        let first = self.findings.first().map(|(_, first)| first);
        if first.is_none_or(|first| first.may_match(&finding)) {
            self.add(method, finding);
        } else if first.is_some_and(|first| !first.has_offer()) && finding.price.is_some() {
            self.findings.clear();
            self.add(method, finding);
        }
    }

    /// Adds fields that complete a product, and do not make the page a product page.
    pub(super) fn add_detail(&mut self, method: Method, finding: Finding) {
        let index = self.findings.partition_point(|(other, _)| *other <= method);
        self.findings.insert(index, (method, finding));
    }

    /// Sets the category by the breadcrumbs of the page.
    pub(super) fn set_breadcrumb(&mut self, breadcrumb: Option<Field<String>>) {
        self.breadcrumb = breadcrumb;
    }

    /// Whether a rule names a field.
    fn is_ruled(&self, field: FieldName) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.names(field))
    }

    /// Whether no source has a price, and none of higher precedence decides on it. A source that
    /// says that the product is not sold is believed.
    pub(super) fn lacks_price(&self) -> bool {
        !self.is_ruled(FieldName::Price)
            && self.findings.iter().all(|(_, finding)| finding.price.is_none())
    }

    /// Returns the first name of the product.
    pub(super) fn name(&self) -> Option<&str> {
        self.findings.iter().find_map(|(_, finding)| finding.name.as_deref())
    }

    /// Whether no source has a category, and none of higher precedence decides on it.
    pub(super) fn lacks_category(&self) -> bool {
        self.task_category.is_none()
            && !self.is_ruled(FieldName::Category)
            && self.breadcrumb.is_none()
            && self.findings.iter().all(|(_, finding)| finding.category.is_none())
    }

    /// Returns what the text of the page could add. A rule that names the price needs nothing.
    pub(super) fn gap(&self) -> Option<Gap> {
        if self.is_ruled(FieldName::Price) {
            return None;
        }
        let prices = self.different_prices();
        match prices.len() {
            0 => Some(Gap::NoPrice),
            1 => None,
            _ => Some(Gap::Disagreement(prices)),
        }
    }

    /// Returns the different prices of the sources above 0, in order of precedence. Prices in
    /// different currencies do not contradict each other, and neither do those of several variants.
    fn different_prices(&self) -> Vec<Decimal> {
        let mut prices: Vec<Decimal> = Vec::new();
        let mut first: Option<&Finding> = None;
        for (_, finding) in &self.findings {
            let Some(price) = finding.price.filter(|price| !price.is_zero()) else { continue };
            let first = *first.get_or_insert(finding);
            let is_comparable = finding.variants <= 1
                && first.variants <= 1
                && (finding.currency == first.currency
                    || finding.currency.is_none()
                    || first.currency.is_none());
            if prices.is_empty() || is_comparable && !prices.contains(&price) {
                prices.push(price);
            }
        }
        prices
    }

    /// Adds the product that the page shows.
    pub(super) fn add_shown(&mut self, finding: Finding, is_confirmed: bool) {
        self.is_shown = true;
        self.is_shown_confirmed = is_confirmed;
        self.add_detail(Method::Shown, finding);
    }

    /// Sets which of the different prices the page shows.
    pub(super) fn set_shown_price(&mut self, price: Option<Decimal>) {
        self.shown_price = price;
    }

    /// Returns the price that the sources agree on, if it is that of one offer.
    pub(super) fn agreed_price(&self) -> Option<(Decimal, Option<&'static str>)> {
        let is_agreed = !self.is_ruled(FieldName::Price) && self.gap().is_none();
        let (_, first) = self.priced().filter(|_| is_agreed)?;
        Some((first.price.filter(|_| first.variants <= 1)?, first.currency))
    }

    /// Returns the price of the first source, and the other amounts that it has, if there are any:
    /// those that it names, and the prices of other sources that are in its range.
    pub(super) fn offered(&self) -> Option<(Amount, Vec<Amount>)> {
        let (_, first) = self.priced().filter(|_| !self.is_ruled(FieldName::Price))?;
        let price = Amount { value: first.price?, currency: first.currency };
        let mut others = first.alternatives.clone();
        if others.is_empty() {
            return None;
        }
        let alike = others.iter().filter(|other| other.currency == price.currency);
        let highest = alike.map(|other| other.value).max();
        let amount = |finding: &Finding| {
            let currency = finding.currency.or(price.currency);
            finding.price.map(|value| Amount { value, currency })
        };
        let within = self.findings.iter().filter_map(|(_, finding)| amount(finding));
        others.extend(within.filter(|other| {
            other.currency == price.currency
                && price.value < other.value
                && Some(other.value) < highest
        }));
        Some((price, others))
    }

    /// Whether the price of the first source is one of several that have little in common: in
    /// different currencies, much higher ones, one that another source has, or in one text.
    pub(super) fn is_one_of_many(&self) -> bool {
        let Some((price, others)) = self.offered() else { return false };
        let is_ambiguous = self.priced().is_some_and(|(_, first)| first.is_ambiguous);
        is_ambiguous
            || others.iter().any(|other| {
                let mut findings = self.findings.iter();
                other.currency != price.currency
                    || other.value >= price.value * Decimal::TWO
                    || other.value != price.value
                        && findings.any(|(_, finding)| finding.price == Some(other.value))
            })
    }

    fn priced(&self) -> Option<&(Method, Finding)> {
        self.findings.iter().find(|(_, finding)| finding.price.is_some())
    }

    /// Sets which of the amounts of the first source the page shows.
    pub(super) fn settle(&mut self, amount: Amount) {
        let first = self.findings.iter_mut().find(|(_, finding)| finding.price.is_some());
        if let Some((_, first)) = first {
            first.price = Some(amount.value);
            first.currency = amount.currency.or(first.currency);
            self.is_settled = true;
        }
    }

    /// Puts the price that the page shows in place of a wrong one.
    pub(super) fn correct_price(&mut self, finding: Finding, is_confirmed: bool) {
        for (_, other) in &mut self.findings {
            other.price = None;
            other.is_ambiguous = false;
        }
        self.add_shown(finding, is_confirmed);
    }

    pub(super) fn set_unlike_titles(&mut self, is_unlike: bool) {
        self.is_unlike_titles = is_unlike;
    }

    /// Whether the page may be another one than that of its product, such as a list of only one.
    pub(super) fn is_unlike_titles(&self) -> bool {
        self.rule.is_none() && self.is_unlike_titles
    }

    /// Whether the product has so many offers and so little else that it may be a list.
    pub(super) fn may_be_list(&self) -> bool {
        self.rule.is_none()
            && self.findings.first().is_some_and(|(_, first)| {
                first.variants > MANY_OFFERS && first.sku.is_none() && first.brand.is_none()
            })
    }

    /// Whether the product has an image, which few lists have.
    pub(super) fn has_image(&self) -> bool {
        self.findings.first().is_some_and(|(_, first)| first.image.is_some())
    }

    /// Whether a source says that the product is available, or that it is not.
    pub(super) fn has_offer(&self) -> bool {
        self.rule.is_some() || self.findings.iter().any(|(_, finding)| finding.has_offer())
    }

    /// Whether the first source with an availability says that the product is sold out.
    pub(super) fn is_sold_out(&self) -> bool {
        let mut findings = self.findings.iter();
        let availability = findings.find_map(|(_, finding)| finding.availability.as_deref());
        availability.is_some_and(availability::is_unavailable)
    }

    /// Removes a product that turned out to be a list.
    pub(super) fn remove_product(&mut self) {
        self.findings.clear();
        self.is_product = false;
    }

    /// Sets the main heading of the page, which names the product without the name of the site.
    pub(super) fn set_heading(&mut self, heading: Option<&str>) {
        self.heading = heading.map(str::to_owned);
    }

    /// Removes the name of the site from the ends of names: `Tea — Teahouse` on `teahouse.example`.
    pub(super) fn strip_site(&mut self, address: &Url) {
        let parts = address.host_str().unwrap_or_default().split('.');
        let Some(site) = parts.max_by_key(|part| part.len()).map(letters) else { return };
        let described = self.findings.iter_mut().filter(|(method, _)| *method < Method::Html);
        for name in described.filter_map(|(_, finding)| finding.name.as_mut()) {
            let length = without_site(name, &site).len();
            name.truncate(length);
        }
    }

    /// Whether a structured source says that the page is that of a product.
    pub(super) fn is_product(&self) -> bool {
        self.is_product
    }

    /// Returns what each source has for the price, in order of precedence.
    pub(crate) fn source_prices(&self) -> Vec<(Method, &Finding)> {
        let rule = self.rule.iter().map(|rule| (Method::Rule, &rule.finding));
        let findings = self.findings.iter().map(|(method, finding)| (*method, finding));
        rule.chain(findings).filter(|(_, finding)| finding.price.is_some()).collect()
    }

    /// Whether a further source could change nothing.
    pub(super) fn is_complete(&self) -> bool {
        // The canonical link of the page takes precedence over the other URLs of the product.
        let has_canonical = self
            .findings
            .last()
            .is_some_and(|(method, last)| *method == Method::Html && last.url.is_some());
        let has_all_fields = |first: &Finding| {
            let texts = [&first.name, &first.sku, &first.brand, &first.availability, &first.image];
            first.price.is_some()
                && first.currency.is_some()
                && texts.into_iter().all(Option::is_some)
        };
        let first = self.findings.first().map(|(_, first)| first);
        has_canonical
            && first.is_some_and(has_all_fields)
            && !self.lacks_category()
            && !self.may_be_list()
            && !self.is_unlike_titles()
            && !self.is_one_of_many()
            && self.gap().is_none()
    }

    /// Returns the merged product, if the page contains one.
    pub(crate) fn into_extraction(self) -> Extraction {
        let price = self.price();
        let is_ambiguous = self.priced().is_some_and(|(_, first)| first.is_ambiguous);
        let is_suspect = self.shown_price.is_none()
            && (matches!(self.gap(), Some(Gap::Disagreement(_)))
                || is_ambiguous && !self.is_settled && self.source_prices().len() == 1);
        let product = Product {
            name: self.product_name(),
            price,
            currency: price.and_then(|price| self.currency(price.method)),
            category: self.category(),
            sku: self.field(FieldName::Sku, |finding| finding.sku.clone()),
            brand: self.field(FieldName::Brand, |finding| finding.brand.clone()),
            availability: self
                .field(FieldName::Availability, |finding| finding.availability.clone()),
            image: self.field(FieldName::Image, |finding| finding.image.clone()),
            canonical_url: self.url(),
            variants: price
                .and_then(|price| self.finding(price.method))
                .map_or(0, |finding| finding.variants),
        };
        let is_identified =
            product.name.is_some() || product.price.is_some() || product.sku.is_some();
        match product.price {
            _ if !(self.is_product || self.is_shown) || !is_identified => Extraction::None,
            Some(_) if is_suspect => Extraction::Suspect(product),
            Some(_) => Extraction::Found(product),
            None => Extraction::NoPrice(product),
        }
    }

    /// Returns the price of the rule, or else the one that the page shows where the sources
    /// disagree, or else the first one.
    fn price(&self) -> Option<Field<Decimal>> {
        // A price of 0 is often one that a shop has left out.
        let paid =
            || self.field(FieldName::Price, |finding| finding.price.filter(|p| !p.is_zero()));
        let first = || paid().or_else(|| self.field(FieldName::Price, |finding| finding.price));
        let shown = self.shown_price.and_then(|shown| {
            let mut findings = self.findings.iter();
            let (method, _) = findings.find(|(_, finding)| finding.price == Some(shown))?;
            Some(Field { confidence: Confidence::Confirmed, ..Field::new(shown, *method) })
        });
        let mut price = shown.or_else(first)?;
        if price.method == Method::Shown && self.is_shown_confirmed {
            price.confidence = Confidence::ConfirmedText;
        }
        Some(price)
    }

    /// Returns the name of the product. A title of the page that has its main heading and more,
    /// such as the name of the site, is no better than the heading.
    fn product_name(&self) -> Option<Field<String>> {
        let name = self.field(FieldName::Name, |finding| finding.name.clone())?;
        let is_title = matches!(name.method, Method::OpenGraph | Method::Html);
        let heading = self.heading.as_ref().filter(|heading| {
            let (own, heading) = (name.value.to_lowercase(), heading.to_lowercase());
            let at = own.find(&heading).filter(|_| heading.chars().count() >= 4);
            let is_part = at.is_some_and(|at| {
                !own[..at].ends_with(char::is_alphanumeric)
                    && !own[at + heading.len()..].starts_with(char::is_alphanumeric)
            });
            is_title && is_part && own != heading
        });
        Some(match heading {
            Some(heading) => Field { value: heading.clone(), ..name },
            None => name,
        })
    }

    fn field<T: PartialEq>(
        &self,
        field: FieldName,
        get: impl Fn(&Finding) -> Option<T>,
    ) -> Option<Field<T>> {
        match self.rule.as_ref().filter(|rule| rule.names(field)) {
            Some(rule) => get(&rule.finding).map(|value| Field::new(value, Method::Rule)),
            None => self.first(get),
        }
    }

    /// Returns the value of the first source that has one. Another source with the same value
    /// confirms it.
    fn first<T: PartialEq>(&self, get: impl Fn(&Finding) -> Option<T>) -> Option<Field<T>> {
        let mut found =
            self.findings.iter().filter_map(|(method, finding)| Some((*method, get(finding)?)));
        let (method, value) = found.next()?;
        let is_confirmed = method < Method::Shown && found.any(|(_, other)| other == value);
        let field = Field::new(value, method);
        let confidence = if is_confirmed { Confidence::Confirmed } else { field.confidence };
        Some(Field { confidence, ..field })
    }

    fn category(&self) -> Option<Field<String>> {
        match &self.task_category {
            Some(category) => Some(Field::new(category.clone(), Method::Task)),
            None => self
                .field(FieldName::Category, |finding| finding.category.clone())
                .or_else(|| self.breadcrumb.clone()),
        }
    }

    /// Returns the currency of the rule, or else that of the source of the price, or else the
    /// first.
    fn currency(&self, method_of_price: Method) -> Option<Field<&'static str>> {
        let of = |method: Method| {
            let value = self.finding(method)?.currency?;
            let field = Field::new(value, method);
            let mut others = self.findings.iter().filter(|(other, _)| *other != method);
            let is_confirmed = method < Method::Shown
                && others.any(|(_, finding)| finding.currency == Some(value));
            let confidence = if is_confirmed { Confidence::Confirmed } else { field.confidence };
            Some(Field { confidence, ..field })
        };
        match &self.rule {
            Some(rule) if rule.names(FieldName::Currency) => of(Method::Rule),
            _ => of(method_of_price).or_else(|| self.first(|finding| finding.currency)),
        }
    }

    /// Returns the URL of the rule, or else of the last source that has one: the page knows its own
    /// URL best.
    fn url(&self) -> Option<Field<String>> {
        if self.is_ruled(FieldName::Url) {
            return self.field(FieldName::Url, |finding| finding.url.clone());
        }
        self.findings
            .iter()
            .rev()
            .find_map(|(method, finding)| Some(Field::new(finding.url.clone()?, *method)))
    }

    fn finding(&self, method: Method) -> Option<&Finding> {
        match method {
            Method::Rule => self.rule.as_ref().map(|rule| &rule.finding),
            _ => {
                self.findings.iter().find(|(other, _)| *other == method).map(|(_, finding)| finding)
            }
        }
    }
}

/// Returns a name without that of the site after it, which is at least half of the name of its
/// host.
fn without_site<'a>(name: &'a str, host: &str) -> &'a str {
    let last = [" | ", " - ", " – ", " — "].iter().filter_map(|mark| name.rsplit_once(mark));
    let is_site = |site: &str| {
        let site = letters(site);
        site.len() >= 4 && site.len() * 2 >= host.len() && host.contains(&site)
    };
    match last.min_by_key(|(_, site)| site.len()) {
        Some((own, site)) if is_site(site) && !own.trim().is_empty() => own.trim_end(),
        _ => name,
    }
}

/// Returns the letters and digits of a text in lower case.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_finding_lacks_no_field() {
        let text = || Some("x".to_owned());
        let complete = Finding {
            name: text(),
            price: Some(5.into()),
            currency: Some("EUR"),
            category: text(),
            sku: text(),
            brand: text(),
            availability: text(),
            image: text(),
            url: None,
            variants: 1,
            ..Finding::default()
        };
        let is_complete = |finding: &Finding, url| {
            let mut merger = Merger::new(None);
            merger.add(Method::JsonLd, finding.clone());
            merger.add_detail(Method::Html, Finding { url, ..Finding::default() });
            merger.is_complete()
        };
        assert!(is_complete(&complete, text()) && !is_complete(&complete, None));
        for incomplete in [
            Finding { name: None, ..complete.clone() },
            Finding { price: None, ..complete.clone() },
            Finding { currency: None, ..complete.clone() },
            Finding { category: None, ..complete.clone() },
            Finding { sku: None, ..complete.clone() },
            Finding { brand: None, ..complete.clone() },
            Finding { availability: None, ..complete.clone() },
            Finding { image: None, ..complete.clone() },
        ] {
            assert!(!is_complete(&incomplete, text()), "{incomplete:?}");
        }
    }
}
