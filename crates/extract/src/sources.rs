//! What all methods tell of one product, put together field by field.

use crate::{
    finding::{self, Finding},
    product::{Extraction, Field, Method, Product},
    ruled::Ruled,
    rules::Target,
};

/// What was found, in the order in which it is trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    task_category: Option<String>,
    rule: Option<Ruled>,
    list: Vec<(Method, Finding)>,
    is_product: bool,
}

impl Sources {
    pub(crate) fn new(task_category: Option<&str>) -> Self {
        Self { task_category: task_category.and_then(finding::category), ..Self::default() }
    }

    pub(crate) fn set_rule(&mut self, rule: Ruled) {
        self.is_product |= rule.is_product;
        self.rule = Some(rule);
    }

    /// Adds what tells a product, trusted less than what was added before.
    pub(crate) fn add(&mut self, method: Method, finding: Finding) {
        self.is_product = true;
        self.list.push((method, finding));
    }

    /// Adds what tells a product, trusted more than what was added before.
    pub(crate) fn add_first(&mut self, method: Method, finding: Finding) {
        self.is_product = true;
        self.list.insert(0, (method, finding));
    }

    /// Adds what tells a product, unless it is another one than the first method's. A page whose product is to be had on
    /// request would have the price of another one. Where the first method's is not offered at all, one with a price takes
    /// its place.
    pub(crate) fn add_if_the_same(&mut self, method: Method, finding: Finding) {
        let first = self.list.first().map(|(_, first)| first);
        if first.is_none_or(|first| first.may_be(&finding)) {
            self.add(method, finding);
        } else if first.is_some_and(|first| !first.is_offered()) && finding.price.is_some() {
            self.list.clear();
            self.add(method, finding);
        }
    }

    /// Adds what completes a product and makes none.
    pub(crate) fn add_detail(&mut self, method: Method, finding: Finding) {
        self.list.push((method, finding));
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.list.iter().find_map(|(_, finding)| finding.name.as_deref())
    }

    /// Whether nothing so far tells a category.
    pub(crate) fn category_is_missing(&self) -> bool {
        let ruled = self.rule.as_ref().is_some_and(|rule| rule.names(Target::Category));
        self.task_category.is_none() && !ruled && self.list.iter().all(|(_, finding)| finding.category.is_none())
    }

    /// Whether nothing that is trusted less could change anything.
    pub(crate) fn is_complete(&self) -> bool {
        // The link is taken from the last method, which is the page itself.
        let is_linked = self.list.last().is_some_and(|(method, last)| *method == Method::Html && last.url.is_some());
        let is_whole = |first: &Finding| {
            let texts = [&first.name, &first.sku, &first.brand, &first.availability, &first.image];
            first.price.is_some() && first.currency.is_some() && texts.into_iter().all(Option::is_some)
        };
        let first = self.list.first().map(|(_, first)| first);
        is_linked && first.is_some_and(is_whole) && !self.category_is_missing()
    }

    /// The product, where there is one.
    pub(crate) fn extraction(self) -> Extraction {
        let price = self.field(Target::Price, |finding| finding.price);
        let product = Product {
            name: self.field(Target::Name, |finding| finding.name.clone()),
            price,
            currency: price.and_then(|price| self.currency(price.method)),
            category: self.category(),
            sku: self.field(Target::Sku, |finding| finding.sku.clone()),
            brand: self.field(Target::Brand, |finding| finding.brand.clone()),
            availability: self.field(Target::Availability, |finding| finding.availability.clone()),
            image: self.field(Target::Image, |finding| finding.image.clone()),
            canonical_url: self.url(),
            variants: price.and_then(|price| self.of(price.method)).map_or(0, |finding| finding.variants),
        };
        let is_told = product.name.is_some() || product.price.is_some() || product.sku.is_some();
        match product.price {
            _ if !self.is_product || !is_told => Extraction::None,
            Some(_) => Extraction::Found(product),
            None => Extraction::NoPrice(product),
        }
    }

    /// By the rule alone where it names the field.
    fn field<T>(&self, target: Target, get: impl Fn(&Finding) -> Option<T>) -> Option<Field<T>> {
        match self.rule.as_ref().filter(|rule| rule.names(target)) {
            Some(rule) => get(&rule.finding).map(|value| Field { value, method: Method::Rule }),
            None => self.first(get),
        }
    }

    fn first<T>(&self, get: impl Fn(&Finding) -> Option<T>) -> Option<Field<T>> {
        self.list.iter().find_map(|(method, finding)| Some(Field { value: get(finding)?, method: *method }))
    }

    fn category(&self) -> Option<Field<String>> {
        match &self.task_category {
            Some(category) => Some(Field { value: category.clone(), method: Method::Task }),
            None => self.field(Target::Category, |finding| finding.category.clone()),
        }
    }

    /// The rule's currency, else that of the method which tells the price, else any.
    fn currency(&self, by: Method) -> Option<Field<&'static str>> {
        let of = |method: Method| {
            let value = self.of(method)?.currency?;
            Some(Field { value, method })
        };
        match &self.rule {
            Some(rule) if rule.names(Target::Currency) => of(Method::Rule),
            _ => of(by).or_else(|| self.first(|finding| finding.currency)),
        }
    }

    /// What the page says of itself beats what is said of the product, and the rule beats both.
    fn url(&self) -> Option<Field<String>> {
        if self.rule.as_ref().is_some_and(|rule| rule.names(Target::Url)) {
            return self.field(Target::Url, |finding| finding.url.clone());
        }
        let backwards = self.list.iter().rev();
        backwards.into_iter().find_map(|(method, finding)| Some(Field { value: finding.url.clone()?, method: *method }))
    }

    fn of(&self, method: Method) -> Option<&Finding> {
        match method {
            Method::Rule => self.rule.as_ref().map(|rule| &rule.finding),
            _ => self.list.iter().find(|(other, _)| *other == method).map(|(_, finding)| finding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_complete_lacks_nothing() {
        let text = || Some("x".to_owned());
        let whole = Finding {
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
        };
        let is_complete = |finding: &Finding, url| {
            let mut sources = Sources::new(None);
            sources.add(Method::JsonLd, finding.clone());
            sources.add_detail(Method::Html, Finding { url, ..Finding::default() });
            sources.is_complete()
        };
        assert!(is_complete(&whole, text()) && !is_complete(&whole, None));
        for lacking in [
            Finding { name: None, ..whole.clone() },
            Finding { price: None, ..whole.clone() },
            Finding { currency: None, ..whole.clone() },
            Finding { category: None, ..whole.clone() },
            Finding { sku: None, ..whole.clone() },
            Finding { brand: None, ..whole.clone() },
            Finding { availability: None, ..whole.clone() },
            Finding { image: None, ..whole.clone() },
        ] {
            assert!(!is_complete(&lacking, text()), "{lacking:?}");
        }
    }
}
