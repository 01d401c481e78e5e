//! The comparison of stored items with what the shop sells.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::mysql::MySqlPool;

use crate::shop::{Product, Shop};

/// Differences between the items and the shop's first pages at a price revision, one line each.
pub async fn mismatches(
    database: &MySqlPool,
    shop: &Shop,
    pages: u64,
    revision: u64,
) -> anyhow::Result<Vec<String>> {
    let query = "SELECT source_url, \
                 CONCAT_WS('|', name, price, currency, category, sku, brand, availability) \
                 FROM items WHERE source_url LIKE CONCAT(?, '%')";
    let rows = sqlx::query(query).bind(shop.url("/p/")).fetch_all(database).await?;
    let stored: HashMap<String, String> = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<sqlx::Result<_>>()?;
    let mismatches = (0..pages).filter_map(|id| {
        let product = Product::at_revision(id, revision);
        let Product { name, currency, category, sku, brand, availability, .. } = &product;
        let price = format!("{:.4}", product.price().parse::<f64>().unwrap_or_default());
        let expected = format!("{name}|{price}|{currency}|{category}|{sku}|{brand}|{availability}");
        match stored.get(&shop.url(&format!("/p/{id}"))) {
            Some(stored) if *stored == expected => None,
            Some(stored) => Some(format!("/p/{id}: {stored} instead of {expected}")),
            None => Some(format!("/p/{id}: no item")),
        }
    });
    Ok(mismatches.collect())
}
