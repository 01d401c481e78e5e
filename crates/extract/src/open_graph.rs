//! OpenGraph's meta tags, and those of Facebook's catalogue.

use url::Url;

use crate::{
    currency,
    finding::{Finding, Texts},
    price,
};

/// Prices, in the order in which they count: what is to be paid in a sale comes first.
const PRICES: [&str; 3] = ["product:sale_price", "product:price", "og:price"];

const NUMBERS: [&str; 7] = [
    "product:retailer_item_id",
    "product:sku",
    "product:retailer_part_no",
    "product:ean",
    "product:upc",
    "product:isbn",
    "book:isbn",
];

/// What the tags of a page tell.
pub(crate) struct OpenGraph<'a> {
    meta: &'a [(String, String)],
}

impl<'a> OpenGraph<'a> {
    /// Takes names, in small letters, with their contents.
    pub(crate) fn new(meta: &'a [(String, String)]) -> Self {
        Self { meta }
    }

    /// Whether the page is about a product: it says so, or it tells a price. A title alone is on every page.
    pub(crate) fn is_product(&self) -> bool {
        let kind = self.first(&["og:type"]).unwrap_or_default().to_ascii_lowercase();
        // Not "product.group", which is a listing.
        matches!(kind.as_str(), "product" | "og:product" | "product.item")
            || PRICES.iter().any(|price| self.first(&[&format!("{price}:amount")]).is_some())
    }

    pub(crate) fn title(&self) -> Option<&'a str> {
        self.first(&["og:title"])
    }

    /// The fields that the tags tell.
    pub(crate) fn finding(&self, address: &Url) -> Finding {
        let texts = Texts {
            name: self.title().map(|title| self.without_site(title)),
            category: self.first(&["product:category"]),
            sku: self.first(&NUMBERS),
            brand: self.first(&["product:brand", "og:brand"]),
            availability: self.first(&["product:availability", "og:availability"]),
            image: self.first(&["og:image", "og:image:secure_url", "og:image:url"]),
            url: self.first(&["og:url"]),
        };
        let amount = PRICES.iter().find_map(|price| {
            let currency = self.first(&[&format!("{price}:currency")]).and_then(currency::of_field);
            price::exact(self.first(&[&format!("{price}:amount")])?, currency)
        });
        let elsewhere = || self.first(&["product:price:currency", "og:price:currency", "og:currency"]);
        Finding {
            price: amount.map(|amount| amount.value),
            currency: amount.and_then(|amount| amount.currency.or_else(|| currency::of_field(elsewhere()?))),
            variants: u32::from(amount.is_some()),
            ..Finding::of(texts, address)
        }
    }

    /// A title without the name of the site that many sites put behind it: `Tea | Shop`.
    pub(crate) fn without_site<'t>(&self, title: &'t str) -> &'t str {
        let bare = self.first(&["og:site_name"]).and_then(|site| {
            let rest = title.trim_end().strip_suffix(site.trim())?.trim_end();
            Some(rest.strip_suffix(['|', '-', '–', '—', '·', '•', ':'])?.trim_end())
        });
        bare.filter(|bare| !bare.is_empty()).unwrap_or(title)
    }

    /// The first content that is not blank, of the first of the names that has one.
    fn first(&self, names: &[&str]) -> Option<&'a str> {
        let of_name = |name: &&str| {
            self.meta
                .iter()
                .find(|(known, content)| known == name && !content.trim().is_empty())
                .map(|(_, c)| c.as_str())
        };
        names.iter().find_map(of_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[(&str, &str)]) -> Vec<(String, String)> {
        tags.iter().map(|&(name, content)| (name.to_owned(), content.to_owned())).collect()
    }

    #[test]
    fn a_product_says_so_or_has_a_price() {
        for (name, content, expected) in [
            ("og:type", "product", true),
            ("og:type", "og:product", true),
            ("og:type", "product.item", true),
            ("og:type", "Product", true),
            ("og:type", "product.group", false),
            ("og:type", "article", false),
            ("og:title", "Tea", false),
            ("og:price:amount", "5", true),
            ("product:price:amount", "on request", true),
            ("product:price:amount", " ", false),
            ("product:price:currency", "EUR", false),
        ] {
            let meta = tags(&[(name, content)]);
            assert_eq!(OpenGraph::new(&meta).is_product(), expected, "{name} {content}");
        }
    }

    #[test]
    fn the_price_of_a_sale_wins_and_keeps_its_currency() {
        let address = "https://shop.example/".parse().unwrap();
        for (meta, expected) in [
            (vec![("product:price:amount", "9"), ("product:price:currency", "EUR")], (Some(9), Some("EUR"))),
            (vec![("og:price:amount", "9"), ("og:price:currency", "usd")], (Some(9), Some("USD"))),
            (
                vec![
                    ("product:price:amount", "9"),
                    ("product:sale_price:amount", "7"),
                    ("product:price:currency", "EUR"),
                ],
                (Some(7), Some("EUR")),
            ),
            (vec![("product:price:amount", "free of choice")], (None, None)),
            (vec![("product:price:currency", "EUR")], (None, None)),
        ] {
            let meta = tags(&meta);
            let finding = OpenGraph::new(&meta).finding(&address);
            assert_eq!(
                (finding.price, finding.currency),
                (expected.0.map(rust_decimal::Decimal::from), expected.1),
                "{meta:?}"
            );
        }
    }

    #[test]
    fn the_sites_name_is_no_part_of_the_products() {
        let meta = tags(&[("og:site_name", "Tea Shop")]);
        let graph = OpenGraph::new(&meta);
        for (title, expected) in [
            ("Sencha | Tea Shop", "Sencha"),
            ("Sencha - green – Tea Shop ", "Sencha - green"),
            ("Sencha of the Tea Shop", "Sencha of the Tea Shop"),
            ("Tea Shop", "Tea Shop"),
            ("| Tea Shop", "| Tea Shop"),
        ] {
            assert_eq!(graph.without_site(title), expected);
        }
    }
}
