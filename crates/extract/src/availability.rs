//! Availability by the names of schema.org.

/// Names of schema.org's `ItemAvailability`, by that name or a synonym in lower case without
/// spaces.
const NAMES: &[(&str, &str)] = &[
    ("instock", "InStock"),
    ("available", "InStock"),
    ("outofstock", "OutOfStock"),
    ("oos", "OutOfStock"),
    ("unavailable", "OutOfStock"),
    ("soldout", "SoldOut"),
    ("preorder", "PreOrder"),
    ("presale", "PreSale"),
    ("backorder", "BackOrder"),
    ("availablefororder", "BackOrder"),
    ("discontinued", "Discontinued"),
    ("instoreonly", "InStoreOnly"),
    ("onlineonly", "OnlineOnly"),
    ("limitedavailability", "LimitedAvailability"),
    ("madetoorder", "MadeToOrder"),
    ("reserved", "Reserved"),
];

/// Returns the schema.org name for a URL of the vocabulary (`https://schema.org/InStock`) or for
/// words with the same meaning (`in stock`, `out_of_stock`). Any other URL becomes its last part;
/// any other text is returned trimmed.
pub(crate) fn normalize(text: &str) -> &str {
    let text = text.trim().trim_end_matches('/');
    let last = if text.contains("://") || text.starts_with("schema:") {
        text.rsplit(['/', '#', ':']).next().unwrap_or(text)
    } else {
        text
    };
    let word: String = last
        .chars()
        .take(40)
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    NAMES.iter().find(|(known, _)| *known == word).map_or(last, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_words_become_names_of_schema_org() {
        for (text, expected) in [
            ("https://schema.org/InStock", "InStock"),
            ("http://schema.org/OutOfStock/", "OutOfStock"),
            ("schema:PreOrder", "PreOrder"),
            ("InStock", "InStock"),
            ("instock", "InStock"),
            (" in stock ", "InStock"),
            ("OUT_OF_STOCK", "OutOfStock"),
            ("oos", "OutOfStock"),
            ("Sold out", "SoldOut"),
            ("https://schema.org/Novelty", "Novelty"),
            ("Only 3 left: hurry/order", "Only 3 left: hurry/order"),
        ] {
            assert_eq!(normalize(text), expected, "{text:?}");
        }
    }
}
