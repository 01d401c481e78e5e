//! What one source finds of a product.

use rust_decimal::Decimal;
use url::Url;

use crate::{
    availability,
    price::Amount,
    product::{MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU, MAX_URL},
    text,
};

/// Words before a name that are not part of it.
const NAME_PREFIXES: [&str; 6] = [
    "Details about",
    "Details zu",
    "Détails sur",
    "Dettagli su",
    "Detalles acerca de",
    "Szczegóły o",
];

/// The fields that one source finds. Every text is one line within its limit, every URL absolute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding {
    pub(crate) name: Option<String>,
    pub(crate) price: Option<Decimal>,
    pub(crate) currency: Option<&'static str>,
    pub(crate) category: Option<String>,
    pub(crate) sku: Option<String>,
    pub(crate) brand: Option<String>,
    pub(crate) availability: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) url: Option<String>,
    /// The number of prices that this one is the lowest of.
    pub(crate) variants: u32,
    /// Other amounts that the product is offered for. The page may show one of them as its price.
    pub(crate) alternatives: Vec<Amount>,
    /// Whether the price was chosen among several amounts of one text.
    pub(crate) is_ambiguous: bool,
}

/// The texts of a product as they are in the source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawTexts<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) category: Option<&'a str>,
    pub(crate) sku: Option<&'a str>,
    pub(crate) brand: Option<&'a str>,
    pub(crate) availability: Option<&'a str>,
    pub(crate) image: Option<&'a str>,
    pub(crate) url: Option<&'a str>,
}

impl Finding {
    /// Cleans the texts and truncates them to their limits. Relative URLs are resolved by `base`.
    pub(crate) fn from_texts(texts: RawTexts<'_>, base: &Url) -> Self {
        Self {
            name: texts.name.and_then(|name| clean(without_prefix(name), MAX_NAME)),
            category: texts.category.and_then(clean_category),
            sku: texts.sku.and_then(|sku| clean(sku, MAX_SKU)),
            brand: texts.brand.and_then(|brand| clean(brand, MAX_BRAND)),
            availability: texts.availability.and_then(availability::normalize).map(str::to_owned),
            image: texts.image.and_then(|image| absolute_url(image, base)).map(String::from),
            url: texts.url.and_then(|url| absolute_url(url, base)).map(String::from),
            ..Self::default()
        }
    }

    /// Whether the source says that the product is available, or that it is not.
    pub(crate) fn has_offer(&self) -> bool {
        self.price.is_some() || self.availability.is_some()
    }

    /// Whether two findings may be of the same product. They are not if both have a name, neither
    /// name contains the other, and they do not share a SKU.
    pub(crate) fn may_match(&self, other: &Self) -> bool {
        let lower = |name: &String| name.to_lowercase();
        match (self.name.as_ref().map(lower), other.name.as_ref().map(lower)) {
            _ if self.sku.is_some() && self.sku == other.sku => true,
            (Some(one), Some(two)) => one.contains(&two) || two.contains(&one),
            _ => true,
        }
    }
}

/// Cleans a category and truncates it to its limit.
pub(crate) fn clean_category(category: &str) -> Option<String> {
    clean(category, MAX_CATEGORY)
}

/// Cleans a text and truncates it to its limit, unless it is a placeholder.
fn clean(text: &str, max: usize) -> Option<String> {
    text::clean_line(text, max).filter(|line| !text::is_placeholder(line))
}

/// Returns a name without the words that marketplaces put before it for screen readers.
fn without_prefix(name: &str) -> &str {
    let rest = NAME_PREFIXES.iter().find_map(|prefix| name.trim_start().strip_prefix(prefix));
    rest.filter(|rest| rest.starts_with(char::is_whitespace) && !rest.trim().is_empty())
        .unwrap_or(name)
}

/// Resolves a link of a page. Returns `None` unless it is an HTTP URL within [`MAX_URL`].
pub(crate) fn absolute_url(link: &str, base: &Url) -> Option<Url> {
    let link = link.trim();
    if link.is_empty() || link.len() > MAX_URL {
        return None;
    }
    let url = base.join(link).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.as_str().len() <= MAX_URL).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_absolute_http_urls_or_none() {
        let address: Url = "https://shop.example/p/1?a=b".parse().unwrap();
        for (link, expected) in [
            ("/i.jpg", Some("https://shop.example/i.jpg")),
            (" i.jpg\n", Some("https://shop.example/p/i.jpg")),
            ("//cdn.example/i.jpg", Some("https://cdn.example/i.jpg")),
            ("http://other.example/ä", Some("http://other.example/%C3%A4")),
            ("data:image/png;base64,AAAA", None),
            ("javascript:void(0)", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(
                absolute_url(link, &address).as_ref().map(Url::as_str),
                expected,
                "{link:?}"
            );
        }
        assert_eq!(absolute_url(&"x".repeat(MAX_URL), &address), None);
    }

    #[test]
    fn placeholders_and_words_for_screen_readers_are_left_out() {
        let texts = RawTexts {
            name: Some(" Details about  \u{a0}Oak Desk"),
            brand: Some("$metabrand"),
            category: Some("{{ category }}"),
            sku: Some("undefined"),
            availability: Some("Add to cart"),
            ..RawTexts::default()
        };
        let found = Finding::from_texts(texts, &"https://shop.example/".parse().unwrap());
        assert_eq!(found.name.as_deref(), Some("Oak Desk"));
        assert_eq!((found.brand, found.category, found.sku), (None, None, None));
        assert_eq!(found.availability, None);
    }

    #[test]
    fn findings_match_if_their_sku_or_name_agrees() {
        let finding = |name: &str, sku: &str| {
            let texts = RawTexts { name: Some(name), sku: Some(sku), ..RawTexts::default() };
            Finding::from_texts(texts, &"https://shop.example/".parse().unwrap())
        };
        for (one, two, expected) in [
            (("Green Tea", "1"), ("Kettle", "1"), true),
            (("Green Tea", "1"), ("green tea 100 g", "2"), true),
            (("Green Tea", ""), ("Kettle", ""), false),
            (("Green Tea", "1"), ("Kettle", "2"), false),
            (("", "1"), ("Kettle", "2"), true),
        ] {
            assert_eq!(
                finding(one.0, one.1).may_match(&finding(two.0, two.1)),
                expected,
                "{one:?} {two:?}"
            );
        }
    }
}
