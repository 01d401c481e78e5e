//! What one method tells of a product, before anything is chosen.

use rust_decimal::Decimal;
use url::Url;

use crate::{
    availability,
    product::{MAX_AVAILABILITY, MAX_BRAND, MAX_CATEGORY, MAX_NAME, MAX_SKU, MAX_URL},
    text,
};

/// Fields as they are kept: every text one line within its limit, every URL absolute.
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
    /// How many prices this one is the lowest of.
    pub(crate) variants: u32,
}

/// The texts of a product as they stand in its source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Texts<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) category: Option<&'a str>,
    pub(crate) sku: Option<&'a str>,
    pub(crate) brand: Option<&'a str>,
    pub(crate) availability: Option<&'a str>,
    pub(crate) image: Option<&'a str>,
    pub(crate) url: Option<&'a str>,
}

impl Finding {
    /// The texts cleaned and cut; relative URLs are those of `address`.
    pub(crate) fn of(texts: Texts<'_>, address: &Url) -> Self {
        Self {
            name: texts.name.and_then(|name| text::line(name, MAX_NAME)),
            category: texts.category.and_then(category),
            sku: texts.sku.and_then(|sku| text::line(sku, MAX_SKU)),
            brand: texts.brand.and_then(|brand| text::line(brand, MAX_BRAND)),
            availability: texts.availability.and_then(|a| text::line(availability::named(a), MAX_AVAILABILITY)),
            image: texts.image.and_then(|image| absolute(image, address)).map(String::from),
            url: texts.url.and_then(|url| absolute(url, address)).map(String::from),
            ..Self::default()
        }
    }

    /// Whether anything tells that the product is to be had, or that it is not.
    pub(crate) fn is_offered(&self) -> bool {
        self.price.is_some() || self.availability.is_some()
    }

    /// Whether two methods may tell the same product. Where both name it, by number or by name, they have to agree.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        let lower = |name: &String| name.to_lowercase();
        match (self.name.as_ref().map(lower), other.name.as_ref().map(lower)) {
            _ if self.sku.is_some() && self.sku == other.sku => true,
            (Some(one), Some(two)) => one.contains(&two) || two.contains(&one),
            _ => true,
        }
    }
}

/// A category as it is kept.
pub(crate) fn category(category: &str) -> Option<String> {
    text::line(category, MAX_CATEGORY)
}

/// A link on a page as an absolute URL of the web.
pub(crate) fn absolute(link: &str, address: &Url) -> Option<Url> {
    let link = link.trim();
    if link.is_empty() || link.len() > MAX_URL {
        return None;
    }
    let url = address.join(link).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.as_str().len() <= MAX_URL).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_absolute_or_nothing() {
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
            assert_eq!(absolute(link, &address).as_ref().map(Url::as_str), expected, "{link:?}");
        }
        assert_eq!(absolute(&"x".repeat(MAX_URL), &address), None);
    }

    #[test]
    fn two_methods_tell_one_product_where_number_or_name_agree() {
        let finding = |name: &str, sku: &str| {
            let texts = Texts { name: Some(name), sku: Some(sku), ..Texts::default() };
            Finding::of(texts, &"https://shop.example/".parse().unwrap())
        };
        for (one, two, expected) in [
            (("Green Tea", "1"), ("Kettle", "1"), true),
            (("Green Tea", "1"), ("green tea 100 g", "2"), true),
            (("Green Tea", ""), ("Kettle", ""), false),
            (("Green Tea", "1"), ("Kettle", "2"), false),
            (("", "1"), ("Kettle", "2"), true),
        ] {
            assert_eq!(finding(one.0, one.1).may_be(&finding(two.0, two.1)), expected, "{one:?} {two:?}");
        }
    }
}
