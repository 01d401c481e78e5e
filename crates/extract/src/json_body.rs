//! From a JSON body to what it tells of a product.
//!
//! Without a rule, a body tells one by a schema.org Product, or by the keys of an object. That object is the body
//! itself, or the only one of a list, or what is found in it under `product`, `data`, `item` or `data.product`. It is a
//! product when it has a name and a price, each under the first of its keys that is there and not empty:
//!
//! | | keys |
//! |---|---|
//! | name | `name`, `title` |
//! | price | `price`: a number, a text, or an object with `amount` or `value` and perhaps a currency; or else the lowest `price` of the objects in `variants` |
//! | currency | `currency`, `currencyCode`, `currency_code`, `priceCurrency` |
//! | category | `category`, `product_type`: a text, or an object with a `name` |
//! | SKU | `sku`, `gtin`, `ean`, `isbn` |
//! | brand | `brand`, `vendor`: a text, or an object with a `name` |
//! | availability | `availability`; or else `in_stock`, `inStock`, `available`, true or false |
//! | image | `image`, `image_url`, `imageUrl`: a text, an object with `src` or `url`, or the first of a list of them |
//! | URL | `url` |
//!
//! A `price` that is null, empty or no price makes it a product without a price.
//!
//! Two APIs of shops tell prices in a currency's smallest units, and are known by their keys:
//!
//! | | known by | read |
//! |---|---|---|
//! | Shopify's `/products/x.js` | `price_varies` and `compare_at_price_varies` beside a `price` in digits alone, the lowest of the `variants` | `12900` is 129.00, in every currency |
//! | WooCommerce's Store API | no `price`, but `prices`, an object with `price` and `currency_minor_unit`, and the currency in it | `"1299"` with 2 is 12.99 |

use jsonc_parser::{JsonObject, JsonValue};
use memchr::memmem;
use url::Url;

use crate::{
    choose::{self, Page},
    currency,
    finding::{Finding, Texts},
    handlers::Selected,
    items::Items,
    json_ld, lenient_json, number,
    price::{self, Amount},
    product::Method,
    ruled::Ruled,
    rules::{Rule, Target},
    schema,
    sources::Sources,
};

/// Reads a body.
pub(crate) fn read(json: &str, address: &Url, rule: Option<&Rule>, sources: &mut Sources) {
    let has = |text: &str| memmem::find(json.as_bytes(), text.as_bytes()).is_some();
    let pointers = rule.map(|rule| rule.json.as_slice()).unwrap_or_default();
    if pointers.is_empty() && !has("price") && !has("Price") {
        return;
    }
    lenient_json::read(json, |value| {
        if let Some(rule) = rule {
            let (targets, found) = (pointers.iter().map(|(target, _)| *target), pointed_to(&value, rule));
            sources.set_rule(Ruled::of(rule, targets.collect(), &found, address));
        }
        if let Some(finding) = object(&value).and_then(|object| by_keys(object, address)) {
            sources.add(Method::Json, finding);
        }
        if has("\"@type\"") {
            let mut items = Items::default();
            json_ld::add_json(value, &mut items);
            let page = Page { address, canonical: None, titles: Vec::new() };
            if let Some(product) = choose::main_product(&items, &page) {
                sources.add_first(Method::JsonLd, schema::finding(&items, product, address));
            }
        }
    });
}

fn pointed_to(value: &JsonValue<'_>, rule: &Rule) -> Vec<(Target, Selected)> {
    let text = |pointer: &str| match lenient_json::at(value, pointer)? {
        JsonValue::String(text) => Some(htmlize::unescape(text.as_ref()).into_owned()),
        JsonValue::Number(text) => Some((*text).to_owned()),
        JsonValue::Boolean(truth) => Some(truth.to_string()),
        // The place is there, and says nothing.
        JsonValue::Null => Some(String::new()),
        JsonValue::Object(_) | JsonValue::Array(_) => None,
    };
    rule.json
        .iter()
        .filter_map(|(target, pointer)| Some((*target, Selected { text: text(pointer)?, exact: true })))
        .collect()
}

/// The object that may be a product.
fn object<'v, 'a>(value: &'v JsonValue<'a>) -> Option<&'v JsonObject<'a>> {
    let root = match value {
        JsonValue::Object(object) => object,
        JsonValue::Array(array) if array.len() == 1 => return object(array.get(0)?),
        _ => return None,
    };
    let inner = |key: &str| root.get_object(key).filter(|inner| named(inner).is_some());
    let nested = || root.get_object("data").and_then(|data| data.get_object("product"));
    Some(match named(root) {
        Some(_) => root,
        None => ["product", "data", "item"].iter().find_map(|key| inner(key)).or_else(nested)?,
    })
}

fn named<'v>(object: &'v JsonObject<'_>) -> Option<&'v str> {
    text(object, &["name", "title"])
}

fn by_keys(object: &JsonObject<'_>, address: &Url) -> Option<Finding> {
    let currency = currency(object);
    let (amount, variants) = match object.get("price") {
        Some(price) => of_shopify(object, currency).unwrap_or_else(|| (amount(price, currency), 1)),
        None => of_woo_commerce(object).or_else(|| lowest(object.get_array("variants")?, currency))?,
    };
    let texts = Texts {
        name: Some(named(object)?),
        category: text(object, &["category", "product_type"]),
        sku: text(object, &["sku", "gtin", "ean", "isbn"]),
        brand: text(object, &["brand", "vendor"]),
        availability: text(object, &["availability"]).or_else(|| in_stock(object)),
        image: ["image", "image_url", "imageUrl"].iter().find_map(|key| image(object.get(key)?)),
        url: text(object, &["url"]),
    };
    let (price, currency) = amount.map(|amount| (amount.value, amount.currency.or(currency))).unzip();
    let variants = if price.is_some() { variants } else { 0 };
    Some(Finding { price, currency: currency.flatten(), variants, ..decoded(texts, address) })
}

/// APIs that feed pages give texts as those have them.
fn decoded(texts: Texts<'_>, address: &Url) -> Finding {
    let [name, category, brand] = [texts.name, texts.category, texts.brand].map(|text| text.map(htmlize::unescape));
    let texts = Texts { name: name.as_deref(), category: category.as_deref(), brand: brand.as_deref(), ..texts };
    Finding::of(texts, address)
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
        value => price::exact(scalar(value)?, known),
    }
}

/// What Shopify tells of a product in cents. It writes prices so even in currencies that have none.
fn of_shopify(object: &JsonObject<'_>, currency: Option<&'static str>) -> Option<(Option<Amount>, u32)> {
    let is_its_own = ["price_varies", "compare_at_price_varies"].iter().all(|key| object.get_boolean(key).is_some());
    let value = number::of_minor_units(object.get_number("price").filter(|_| is_its_own)?, 2)?;
    let variants = object.get_array("variants").map_or(1, |variants| variants.iter().count().max(1));
    Some((Some(Amount { value, currency }), u32::try_from(variants).unwrap_or(u32::MAX)))
}

/// What WooCommerce's Store API tells of a product, in units of which it says how small they are.
fn of_woo_commerce(object: &JsonObject<'_>) -> Option<(Option<Amount>, u32)> {
    let prices = object.get_object("prices")?;
    let decimals = scalar(prices.get("currency_minor_unit")?)?.parse().ok()?;
    let value = scalar(prices.get("price")?).and_then(|price| number::of_minor_units(price, decimals));
    Some((value.map(|value| Amount { value, currency: currency(prices) }), 1))
}

fn lowest(variants: &jsonc_parser::JsonArray<'_>, currency: Option<&'static str>) -> Option<(Option<Amount>, u32)> {
    let of_variant = |variant: &JsonValue<'_>| match variant {
        JsonValue::Object(object) => amount(object.get("price")?, currency),
        _ => None,
    };
    let amounts: Vec<Amount> = variants.iter().filter_map(of_variant).collect();
    let has_price =
        |variant: &JsonValue<'_>| matches!(variant, JsonValue::Object(object) if object.get("price").is_some());
    if amounts.is_empty() && !variants.iter().any(has_price) {
        return None;
    }
    Some((amounts.iter().min_by_key(|amount| amount.value).copied(), u32::try_from(amounts.len()).unwrap_or(u32::MAX)))
}

fn currency(object: &JsonObject<'_>) -> Option<&'static str> {
    text(object, &["currency", "currencyCode", "currency_code", "priceCurrency"]).and_then(currency::of_field)
}

fn in_stock(object: &JsonObject<'_>) -> Option<&'static str> {
    let known = ["in_stock", "inStock", "available"].iter().find_map(|key| object.get_boolean(key))?;
    Some(if known { "InStock" } else { "OutOfStock" })
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

/// The text of the first of the keys that has one.
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
    use crate::product::{Extraction, Product};

    fn told(json: &str) -> String {
        let mut sources = Sources::default();
        read(json, &"https://api.example/1".parse().unwrap(), None, &mut sources);
        match sources.extraction() {
            Extraction::Found(Product { price, currency, variants, .. }) => {
                let price = price.map(|price| price.value.to_string()).unwrap_or_default();
                format!("{price} {} {variants}", currency.map_or("-", |currency| currency.value))
            }
            Extraction::NoPrice(_) => "no price".to_owned(),
            Extraction::None => "none".to_owned(),
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
            (r#"{"name":"a","price":4,"variants":[{"price":3}]}"#, "4 - 1"),
            (
                r#"{"title":"a","price":12900,"price_varies":true,"compare_at_price_varies":false,"variants":[{},{}]}"#,
                "129.00 - 2",
            ),
            (r#"{"title":"a","price":5,"price_varies":false,"compare_at_price_varies":false}"#, "0.05 - 1"),
            (r#"{"title":"a","price":"129.00","price_varies":true,"compare_at_price_varies":false}"#, "129.00 - 1"),
            (r#"{"title":"a","price":12900,"price_varies":true}"#, "12900 - 1"),
            (r#"{"name":"a","prices":{"price":"1299","currency_code":"EUR","currency_minor_unit":2}}"#, "12.99 EUR 1"),
            (r#"{"name":"a","prices":{"price":"1299","currency_code":"JPY","currency_minor_unit":0}}"#, "1299 JPY 1"),
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
            assert_eq!(told(json), expected, "{json}");
        }
    }
}
