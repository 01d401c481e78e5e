//! The meta tags of OpenGraph and of Facebook's catalogue.

use url::Url;

use crate::{
    finding::{Finding, RawTexts},
    price::{self, currency},
};

/// Tags of prices, in order of preference: a sale price first. Each may have the parts `:amount`
/// and `:currency`, or have both in its own content.
const PRICES: [&str; 5] =
    ["product:sale_price", "product:price", "og:price", "og:product:price", "product:amount"];

/// Tags of what is said next to a link on Twitter: labels and values.
const TWITTER: [(&str, &str); 4] = [
    ("twitter:label1", "twitter:data1"),
    ("twitter:label2", "twitter:data2"),
    ("twitter:label3", "twitter:data3"),
    ("twitter:label4", "twitter:data4"),
];

/// Labels of a price, in lower case.
const PRICE_LABELS: [&str; 20] = [
    "price", "preis", "prix", "precio", "preço", "prezzo", "prijs", "cena", "cijena", "ár", "preț",
    "цена", "ціна", "fiyat", "pris", "hinta", "価格", "价格", "價格", "가격",
];

/// Tags for the SKU, in order of preference.
const SKUS: [&str; 7] = [
    "product:retailer_item_id",
    "product:sku",
    "product:retailer_part_no",
    "product:ean",
    "product:upc",
    "product:isbn",
    "book:isbn",
];

/// The tags of a page.
pub(super) struct OpenGraph<'a> {
    meta: &'a [(String, String)],
}

impl<'a> OpenGraph<'a> {
    /// `meta` has the names of tags in lower case, with their contents.
    pub(super) fn new(meta: &'a [(String, String)]) -> Self {
        Self { meta }
    }

    /// Whether the page is about a product: its type says so, or it has a price. Every page has a
    /// title.
    pub(super) fn is_product(&self) -> bool {
        let kind = self.kind();
        // "product.group" is a list of products.
        matches!(kind.as_str(), "product" | "og:product" | "product.item")
            || PRICES.iter().any(|price| self.price_text(price).is_some())
            || self.twitter_price().is_some_and(|text| price::parse_machine(text, None).is_some())
    }

    fn price_text(&self, name: &str) -> Option<&'a str> {
        self.first(&[&format!("{name}:amount"), name])
    }

    /// Returns the price that Twitter shows next to a link.
    fn twitter_price(&self) -> Option<&'a str> {
        TWITTER.iter().find_map(|(label, data)| {
            let label = self.first(&[label])?.trim().trim_end_matches(':').to_lowercase();
            self.first(&[data]).filter(|_| PRICE_LABELS.contains(&label.as_str()))
        })
    }

    /// Returns the type of the page in lower case, or an empty text.
    pub(super) fn kind(&self) -> String {
        self.first(&["og:type"]).unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(super) fn site_name(&self) -> Option<&'a str> {
        self.first(&["og:site_name"])
    }

    pub(super) fn title(&self) -> Option<&'a str> {
        self.first(&["og:title"])
    }

    /// Reads the fields of the product.
    pub(super) fn read(&self, base: &Url) -> Finding {
        let texts = RawTexts {
            name: self.title().map(|title| self.without_site_name(title)),
            category: self.first(&["product:category"]),
            sku: self.first(&SKUS),
            brand: self.first(&["product:brand", "og:brand"]),
            availability: self.first(&["product:availability", "og:availability"]),
            image: self.first(&["og:image", "og:image:secure_url", "og:image:url"]),
            url: self.first(&["og:url"]),
        };
        let amount = PRICES.iter().find_map(|price| {
            let currency = self.first(&[&format!("{price}:currency")]).and_then(currency::parse);
            let text = self.price_text(price)?;
            Some(price::localize(price::parse_machine(text, currency)?, text, base))
        });
        let amount = amount.or_else(|| {
            let text = self.twitter_price()?;
            Some(price::localize(price::parse_machine(text, None)?, text, base))
        });
        // Templates of shops fill in 0 where a page has no price.
        let amount = amount.filter(|amount| !amount.value.is_zero());
        let other_currency =
            || self.first(&["product:price:currency", "og:price:currency", "og:currency"]);
        Finding {
            price: amount.map(|amount| amount.value),
            currency: amount
                .and_then(|amount| amount.currency.or_else(|| currency::parse(other_currency()?))),
            variants: u32::from(amount.is_some()),
            ..Finding::from_texts(texts, base)
        }
    }

    /// Returns a title without the name of the site, which many sites append: `Tea | Shop`.
    pub(super) fn without_site_name<'t>(&self, title: &'t str) -> &'t str {
        let bare = self.first(&["og:site_name"]).and_then(|site| {
            let rest = title.trim_end().strip_suffix(site.trim())?.trim_end();
            Some(rest.strip_suffix(['|', '-', '–', '—', '·', '•', ':'])?.trim_end())
        });
        bare.filter(|bare| !bare.is_empty()).unwrap_or(title)
    }

    /// Returns the first content that is not blank, of the first name that has one.
    fn first(&self, names: &[&str]) -> Option<&'a str> {
        let of_name = |name: &&str| {
            self.meta
                .iter()
                .find(|(known, content)| known == name && !content.trim().is_empty())
                .map(|(_, content)| content.as_str())
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
    fn a_product_page_has_the_type_or_a_price() {
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
            ("og:price", "5", true),
            ("product:price", "5 EUR", true),
            ("og:product:price:amount", "5", true),
            ("twitter:data1", "5 EUR", false),
        ] {
            let meta = tags(&[(name, content)]);
            assert_eq!(OpenGraph::new(&meta).is_product(), expected, "{name} {content}");
        }
    }

    #[test]
    fn a_sale_price_takes_precedence_and_has_a_currency() {
        let address = "https://shop.example/".parse().unwrap();
        for (meta, expected) in [
            (
                vec![("product:price:amount", "9"), ("product:price:currency", "EUR")],
                (Some(9), Some("EUR")),
            ),
            (vec![("og:price:amount", "9"), ("og:price:currency", "usd")], (Some(9), Some("USD"))),
            (
                vec![
                    ("product:price:amount", "9"),
                    ("product:sale_price:amount", "7"),
                    ("product:price:currency", "EUR"),
                ],
                (Some(7), Some("EUR")),
            ),
            (vec![("og:price", "9 €")], (Some(9), Some("EUR"))),
            (
                vec![("product:price", "9"), ("product:price:currency", "EUR")],
                (Some(9), Some("EUR")),
            ),
            (vec![("twitter:label1", "Price"), ("twitter:data1", "€9.00")], (Some(9), Some("EUR"))),
            (
                vec![
                    ("twitter:label1", "Availability"),
                    ("twitter:data1", "5 left"),
                    ("twitter:label2", "Preis:"),
                    ("twitter:data2", "9,00\u{a0}€"),
                ],
                (Some(9), Some("EUR")),
            ),
            (
                vec![("twitter:label1", "Reading time"), ("twitter:data1", "9 minutes")],
                (None, None),
            ),
            (vec![("product:price:amount", "free of choice")], (None, None)),
            (vec![("product:price:currency", "EUR")], (None, None)),
        ] {
            let meta = tags(&meta);
            let finding = OpenGraph::new(&meta).read(&address);
            assert_eq!(
                (finding.price, finding.currency),
                (expected.0.map(rust_decimal::Decimal::from), expected.1),
                "{meta:?}"
            );
        }
    }

    #[test]
    fn the_name_of_the_site_is_not_part_of_the_name() {
        let meta = tags(&[("og:site_name", "Tea Shop")]);
        let open_graph = OpenGraph::new(&meta);
        for (title, expected) in [
            ("Sencha | Tea Shop", "Sencha"),
            ("Sencha - green – Tea Shop ", "Sencha - green"),
            ("Sencha of the Tea Shop", "Sencha of the Tea Shop"),
            ("Tea Shop", "Tea Shop"),
            ("| Tea Shop", "| Tea Shop"),
        ] {
            assert_eq!(open_graph.without_site_name(title), expected);
        }
    }
}
