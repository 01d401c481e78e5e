//! An object in a JSON body, read by the names of its keys.
//!
//! The object is the body itself, the only element of a list, or under `product`, `data`, `item` or
//! `data.product`. It is a product if it has a name and a price. Each field is taken from the first
//! of its keys that has a value:
//!
//! - name: `name`, `title`
//! - price: `price`, a number, a text, or an object with `amount` or `value`; without it the lowest
//!   `price` in `variants`, and 0 only if there is no other
//! - currency: `currency`, `currencyCode`, `currency_code`, `priceCurrency`
//! - category: `category`, `product_type`, a text or an object with a `name`
//! - SKU: `sku`, `gtin`, `ean`, `isbn`
//! - brand: `brand`, `vendor`, a text or an object with a `name`
//! - availability: `availability`; without it `in_stock`, `inStock` or `available`, true or false
//! - image: `image`, `image_url`, `imageUrl`, a text, an object with `src` or `url`, or the first
//!   of a list
//! - URL: `url`
//!
//! A `price` that is null, empty or not a price makes it a product without a price.
//!
//! Two shop APIs have prices in minor units, and are recognised by their keys:
//!
//! - Shopify's `/products/….js` has `price_varies` and `compare_at_price_varies` next to a `price`
//!   of digits only, which is the lowest of the `variants`. `12900` is 129.00 in every currency.
//! - WooCommerce's Store API has no `price`, but an object `prices` with `price`, its currency and
//!   `currency_minor_unit`. `"1299"` with 2 decimals is 12.99.

use jsonc_parser::{JsonArray, JsonObject, JsonValue};
use url::Url;

use crate::{
    finding::{Finding, RawTexts},
    price::{self, Amount, currency, number},
};

/// All keys of a product and of the objects that may hold one.
const KEYS: [&str; 34] = [
    "amount",
    "availability",
    "available",
    "brand",
    "category",
    "compare_at_price_varies",
    "currency",
    "currencyCode",
    "currency_code",
    "currency_minor_unit",
    "data",
    "ean",
    "gtin",
    "image",
    "imageUrl",
    "image_url",
    "inStock",
    "in_stock",
    "isbn",
    "item",
    "name",
    "price",
    "priceCurrency",
    "price_varies",
    "prices",
    "product",
    "product_type",
    "sku",
    "src",
    "title",
    "url",
    "value",
    "variants",
    "vendor",
];

/// Whether the value of a key is read.
pub(super) fn is_read(key: &str) -> bool {
    KEYS.contains(&key)
}

/// A price, if there is a valid one, and the number of prices that it is the lowest of.
struct LowestPrice {
    amount: Option<Amount>,
    count: usize,
}

/// Reads the product of a body.
pub(super) fn read(body: &JsonValue<'_>, address: &Url) -> Option<Finding> {
    let object = find_object(body)?;
    let currency = currency(object);
    let LowestPrice { amount, count } = match object.get("price") {
        Some(price) => shopify_price(object, currency)
            .unwrap_or_else(|| LowestPrice { amount: amount(price, currency), count: 1 }),
        None => woo_commerce_price(object)
            .or_else(|| lowest_of_variants(object.get_array("variants")?, currency))?,
    };
    // APIs that feed pages have texts with the entities of those pages.
    let [name, category, brand] = [
        Some(name(object)?),
        text(object, &["category", "product_type"]),
        text(object, &["brand", "vendor"]),
    ]
    .map(|text| text.map(htmlize::unescape));
    let texts = RawTexts {
        name: name.as_deref(),
        category: category.as_deref(),
        sku: text(object, &["sku", "gtin", "ean", "isbn"]),
        brand: brand.as_deref(),
        availability: text(object, &["availability"]).or_else(|| stock_status(object)),
        image: ["image", "image_url", "imageUrl"].iter().find_map(|key| image(object.get(key)?)),
        url: text(object, &["url"]),
    };
    Some(Finding {
        price: amount.map(|amount| amount.value),
        currency: amount.and_then(|amount| amount.currency.or(currency)),
        variants: amount.map_or(0, |_| u32::try_from(count).unwrap_or(u32::MAX)),
        ..Finding::from_texts(texts, address)
    })
}

/// Returns the object that may be a product.
fn find_object<'v, 'a>(body: &'v JsonValue<'a>) -> Option<&'v JsonObject<'a>> {
    let root = match body {
        JsonValue::Object(object) => object,
        JsonValue::Array(array) if array.len() == 1 => return find_object(array.get(0)?),
        _ => return None,
    };
    if name(root).is_some() {
        return Some(root);
    }
    let inner = |key: &&str| root.get_object(key).filter(|inner| name(inner).is_some());
    ["product", "data", "item"]
        .iter()
        .find_map(inner)
        .or_else(|| root.get_object("data").and_then(|data| data.get_object("product")))
}

fn name<'v>(object: &'v JsonObject<'_>) -> Option<&'v str> {
    text(object, &["name", "title"])
}

fn amount(value: &JsonValue<'_>, known: Option<&'static str>) -> Option<Amount> {
    match value {
        JsonValue::Object(object) => {
            let known = currency(object).or(known);
            ["amount", "value"].iter().find_map(|key| match object.get(key)? {
                JsonValue::Object(_) => None,
                value => amount(value, known),
            })
        }
        value => price::parse_machine(scalar(value)?, known),
    }
}

/// Reads the price of Shopify's `/products/….js`. It has two decimals even in currencies without.
fn shopify_price(object: &JsonObject<'_>, currency: Option<&'static str>) -> Option<LowestPrice> {
    let is_shopify = ["price_varies", "compare_at_price_varies"]
        .iter()
        .all(|key| object.get_boolean(key).is_some());
    let value = number::parse_minor_units(object.get_number("price").filter(|_| is_shopify)?, 2)?;
    let count = object.get_array("variants").map_or(1, |variants| variants.len().max(1));
    Some(LowestPrice { amount: Some(Amount { value, currency }), count })
}

/// Reads the price of WooCommerce's Store API, which says how many decimals it has.
fn woo_commerce_price(object: &JsonObject<'_>) -> Option<LowestPrice> {
    let prices = object.get_object("prices")?;
    let decimals = scalar(prices.get("currency_minor_unit")?)?.parse().ok()?;
    let value =
        scalar(prices.get("price")?).and_then(|price| number::parse_minor_units(price, decimals));
    let amount = value.map(|value| Amount { value, currency: currency(prices) });
    Some(LowestPrice { amount, count: 1 })
}

/// Returns the lowest price of the variants, and 0 only if there is no other. Returns `None` if no
/// variant has the key `price`.
fn lowest_of_variants(
    variants: &JsonArray<'_>,
    currency: Option<&'static str>,
) -> Option<LowestPrice> {
    let price = |variant: &'_ JsonValue<'_>| match variant {
        JsonValue::Object(object) => object.get("price").map(|price| amount(price, currency)),
        _ => None,
    };
    let prices: Vec<Option<Amount>> = variants.iter().filter_map(price).collect();
    if prices.is_empty() {
        return None;
    }
    let amounts = || prices.iter().flatten();
    // A variant without a price of its own may have 0.
    let lowest = amounts().min_by_key(|amount| (amount.value.is_zero(), amount.value)).copied();
    Some(LowestPrice { amount: lowest, count: amounts().count() })
}

fn currency(object: &JsonObject<'_>) -> Option<&'static str> {
    text(object, &["currency", "currencyCode", "currency_code", "priceCurrency"])
        .and_then(currency::parse)
}

fn stock_status(object: &JsonObject<'_>) -> Option<&'static str> {
    let is_in_stock = ["availability", "in_stock", "inStock", "available"]
        .iter()
        .find_map(|key| object.get_boolean(key))?;
    Some(if is_in_stock { "InStock" } else { "OutOfStock" })
}

fn image<'v>(value: &'v JsonValue<'_>) -> Option<&'v str> {
    match value {
        JsonValue::Object(object) => text(object, &["src", "url"]),
        JsonValue::Array(array) => match array.get(0)? {
            JsonValue::Array(_) => None,
            first => image(first),
        },
        value => scalar(value),
    }
}

/// Returns the text of the first key that has one. The text of an object is its `name`.
fn text<'v>(object: &'v JsonObject<'_>, keys: &[&str]) -> Option<&'v str> {
    let of_key = |key: &&str| match object.get(key)? {
        JsonValue::Object(inner) => scalar(inner.get("name")?),
        value => scalar(value),
    };
    keys.iter().find_map(of_key)
}

fn scalar<'v>(value: &'v JsonValue<'_>) -> Option<&'v str> {
    match value {
        JsonValue::String(text) => Some(text.as_ref()),
        JsonValue::Number(text) => Some(*text),
        _ => None,
    }
    .filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn format_price(json: &str) -> String {
        let address = "https://api.example/1".parse().unwrap();
        match json::read(json, |value| read(&value, &address)).flatten() {
            Some(Finding { price: Some(price), currency, variants, .. }) => {
                format!("{price} {} {variants}", currency.unwrap_or("-"))
            }
            Some(Finding { price: None, .. }) => "no price".to_owned(),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn an_object_with_a_name_and_a_price_is_a_product() {
        for (json, expected) in [
            (r#"{"name":"a","price":1.10}"#, "1.10 - 1"),
            (r#"{"title":"a","price":"5 €"}"#, "5 EUR 1"),
            (r#"{"name":"","title":"a","price":5,"currency_code":"chf"}"#, "5 CHF 1"),
            (r#"{"name":"a","price":{"value":5,"currency":"EUR"},"currency":"USD"}"#, "5 EUR 1"),
            (r#"{"name":"a","variants":[{"price":3},{"price":"2"},{}]}"#, "2 - 2"),
            (r#"{"name":"a","variants":[{"price":0},{"price":3},{"price":"2"}]}"#, "2 - 3"),
            (r#"{"name":"a","variants":[{"price":0}]}"#, "0 - 1"),
            (r#"{"name":"a","price":4,"variants":[{"price":3}]}"#, "4 - 1"),
            (
                r#"{"title":"a","price":12900,"price_varies":true,"compare_at_price_varies":false,
                    "variants":[{},{}]}"#,
                "129.00 - 2",
            ),
            (
                r#"{"title":"a","price":5,"price_varies":false,"compare_at_price_varies":false}"#,
                "0.05 - 1",
            ),
            (
                r#"{"title":"a","price":"129.00","price_varies":true,
                    "compare_at_price_varies":false}"#,
                "129.00 - 1",
            ),
            (r#"{"title":"a","price":12900,"price_varies":true}"#, "12900 - 1"),
            (
                r#"{"name":"a","prices":{"price":"1299","currency_code":"EUR",
                    "currency_minor_unit":2}}"#,
                "12.99 EUR 1",
            ),
            (
                r#"{"name":"a","prices":{"price":"1299","currency_code":"JPY",
                    "currency_minor_unit":0}}"#,
                "1299 JPY 1",
            ),
            (r#"{"name":"a","prices":{"price":"12.99","currency_minor_unit":2}}"#, "no price"),
            (r#"{"name":"a","prices":{"price":"","currency_minor_unit":2}}"#, "no price"),
            (r#"{"name":"a","prices":{"price":"1299","currency_minor_unit":9}}"#, "no price"),
            (r#"{"name":"a","prices":{"price":"1299"}}"#, "none"),
            (r#"[{"name":"a","price":1}]"#, "1 - 1"),
            (r#"{"product":{"name":"a","price":1}}"#, "1 - 1"),
            (r#"{"item":{"name":"a","price":1}}"#, "1 - 1"),
            (r#"{"data":{"product":{"name":"a","price":1}}}"#, "1 - 1"),
            (r#"{"name":"a","price":null}"#, "no price"),
            (r#"{"name":"a","price":true}"#, "no price"),
            (r#"{"name":"a","price":-1}"#, "no price"),
            (r#"{"name":"a","price":{"amount":{"amount":1}}}"#, "no price"),
            (r#"{"name":"a","variants":[{"price":null}]}"#, "no price"),
            (r#"{"name":"a","variants":[{"cost":1}],"price_list":1}"#, "none"),
            (r#"{"price":1}"#, "none"),
            (r#"{"name":"a"}"#, "none"),
            (r#"[{"name":"a","price":1},{"name":"b","price":2}]"#, "none"),
            (r#"{"deep":{"deep":{"name":"a","price":1}}}"#, "none"),
            (r#"{"type":"Product","offers":{"price":1}}"#, "none"),
        ] {
            assert_eq!(format_price(json), expected, "{json}");
        }
    }
}
