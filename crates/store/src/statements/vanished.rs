//! Products whose pages no longer have them: the page is gone, or is read and has no product.
//!
//! A timeout, a 403 or a 500 says nothing about the product, and changes nothing.

use std::collections::HashMap;

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe};
use time::PrimitiveDateTime;

use super::items::{GONE, source_key};
use super::placeholders::list;
use crate::Error;
use crate::clock::to_stored;
use crate::fetch::Fetch;
use crate::outcome::Outcome;
use crate::product::ProductStatus;

/// The statuses that say that a page does not exist (any more).
const NO_PAGE: [u16; 2] = [404, 410];

/// When an item was last known to be there. An unchanged page has what it had.
const SEEN_AT: &str = "GREATEST(updated_at, COALESCE(seen_at, updated_at), \
                       COALESCE(status_since, updated_at))";

/// Marks the items of pages that no longer have them, in the transaction of `connection`. Most
/// pages without a product never had one, so the items are looked up before any is locked.
pub(crate) async fn mark(connection: &mut MySqlConnection, rows: &[&Fetch]) -> Result<(), Error> {
    let mut pages: HashMap<[u8; 32], PrimitiveDateTime> = HashMap::new();
    for row in rows.iter().filter(|row| has_no_product(row)) {
        let at = to_stored(row.fetched_at);
        let newest = pages.entry(source_key(&row.url)).or_insert(at);
        *newest = at.max(*newest);
    }
    if pages.is_empty() {
        return Ok(());
    }
    let failed = Error::database("cannot look up the items of pages without a product");
    // Padded with the last page to a power of two: few statement texts.
    let keys: Vec<&[u8; 32]> = pages.keys().collect();
    let padded = keys.len().next_power_of_two();
    let mut values = MySqlArguments::default();
    for index in 0..padded {
        let key = keys[index.min(keys.len() - 1)];
        values.add(key.as_slice()).map_err(sqlx::Error::Encode).map_err(&failed)?;
    }
    let statement = format!(
        "SELECT source_sha256, {SEEN_AT} FROM items WHERE source_sha256 IN ({}) \
         AND COALESCE(status, '') <> '{GONE}'",
        list("?", padded)
    );
    let known: Vec<(Vec<u8>, PrimitiveDateTime)> =
        sqlx::query_as_with(AssertSqlSafe(statement), values)
            .fetch_all(&mut *connection)
            .await
            .map_err(&failed)?;
    let vanished = known.into_iter().filter_map(|(source, seen_at)| {
        let source: [u8; 32] = source.try_into().ok()?;
        let at = *pages.get(&source)?;
        (at > seen_at).then_some((source, at))
    });
    let mut vanished: Vec<_> = vanished.collect();
    // In key order, as all row locks are taken.
    vanished.sort_unstable();
    write(connection, &vanished).await
}

/// Whether this fetch shows that the page has no product.
fn has_no_product(row: &Fetch) -> bool {
    let is_without = match row.outcome {
        Outcome::HttpError => row.status.is_some_and(|status| NO_PAGE.contains(&status)),
        _ => row.product == Some(ProductStatus::None),
    };
    is_without && row.method == "GET"
}

async fn write(
    connection: &mut MySqlConnection,
    vanished: &[([u8; 32], PrimitiveDateTime)],
) -> Result<(), Error> {
    // They are of one batch, so one time fits all of them.
    let Some(at) = vanished.iter().map(|(_, at)| *at).max() else { return Ok(()) };
    let failed = Error::database("cannot mark items whose pages no longer have them");
    let mut values = MySqlArguments::default();
    let mut bind = || {
        values.add(at)?;
        vanished.iter().try_for_each(|(source, _)| values.add(source.as_slice()))?;
        values.add(at)
    };
    bind().map_err(sqlx::Error::Encode).map_err(&failed)?;
    let statement = format!(
        "UPDATE items SET status = '{GONE}', status_since = ? WHERE source_sha256 IN ({}) \
         AND {SEEN_AT} < ?",
        list("?", vanished.len())
    );
    let query = sqlx::query_with(AssertSqlSafe(statement), values).persistent(false);
    query.execute(connection).await.map(drop).map_err(&failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_that_was_read_or_does_not_exist_shows_that_a_product_is_gone() {
        let row =
            |outcome, status, product| Fetch { status, product, ..Fetch::example(1, "r", outcome) };
        let none = Some(ProductStatus::None);
        for gone in [
            row(Outcome::HttpError, Some(404), None),
            row(Outcome::HttpError, Some(410), None),
            row(Outcome::Ok, Some(200), none),
        ] {
            assert!(has_no_product(&gone), "{gone:?}");
            assert!(!has_no_product(&Fetch { method: "POST".to_owned(), ..gone }));
        }
        for unknown in [
            row(Outcome::HttpError, Some(403), None),
            row(Outcome::HttpError, Some(503), None),
            row(Outcome::Timeout, None, None),
            row(Outcome::Cancelled, None, None),
            row(Outcome::Refused, Some(200), None),
            row(Outcome::Ok, Some(200), None),
            row(Outcome::Ok, Some(200), Some(ProductStatus::NoPrice)),
        ] {
            assert!(!has_no_product(&unknown), "{unknown:?}");
        }
    }
}
