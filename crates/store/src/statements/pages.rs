//! The statement that writes what is remembered of pages.

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection};

use super::upsert::Upsert;
use crate::Error;
use crate::clock::to_stored;
use crate::fetch::Fetch;
use crate::page::Page;

/// The columns of `pages`, in the order in which they are bound.
const COLUMNS: [&str; 12] = [
    "page",
    "fetch_id",
    "body_sha256",
    "has_body",
    "etag",
    "last_modified",
    "address",
    "reader",
    "trusted",
    "unchanged",
    "checks",
    "fetched_at",
];

/// The statement that writes pages.
pub(crate) fn upsert() -> Upsert {
    Upsert::new("pages", &COLUMNS)
}

/// Writes what these fetches remember of their pages, in the transaction of `connection`. Without
/// anything to remember, no statement runs.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    upsert: &Upsert,
    rows: &[&Fetch],
    packet: usize,
) -> Result<(), Error> {
    let mut pages: Vec<(&Page, &Fetch)> =
        rows.iter().filter_map(|row| Some((row.page.as_deref()?, *row))).collect();
    // In key order, as all row locks are taken.
    pages.sort_unstable_by_key(|(page, row)| (page.key, row.fetched_at));
    let written = upsert.write(connection, &pages, packet, |(page, _)| page.weight(), encode).await;
    written.map(drop).map_err(Error::database("cannot remember pages"))
}

fn encode(pages: &[(&Page, &Fetch)]) -> Result<MySqlArguments, BoxDynError> {
    let mut values = MySqlArguments::default();
    for (page, row) in pages {
        values.add(page.key.as_slice())?;
        values.add(page.fetch_id.as_slice())?;
        values.add(page.body_sha256.as_slice())?;
        values.add(page.has_body)?;
        values.add(page.etag.as_deref())?;
        values.add(page.last_modified.as_deref())?;
        values.add(page.address.as_slice())?;
        values.add(page.reader.as_slice())?;
        values.add(page.trusted)?;
        values.add(page.unchanged)?;
        values.add(page.checks)?;
        values.add(to_stored(row.fetched_at))?;
    }
    Ok(values)
}
