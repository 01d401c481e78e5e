//! The statement that writes what is remembered of pages.

use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe};

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
    let failed = Error::database("cannot remember pages");
    let mut pages: Vec<(&Page, &Fetch)> =
        rows.iter().filter_map(|row| Some((row.page.as_deref()?, *row))).collect();
    // In key order, as all row locks are taken.
    pages.sort_unstable_by_key(|(page, row)| (page.key, row.fetched_at));
    let mut rest = &pages[..];
    while !rest.is_empty() {
        let chunk;
        (chunk, rest) = upsert.next_chunk(rest, packet, |(page, _)| page.weight());
        let values = encode(chunk).map_err(sqlx::Error::Encode).map_err(&failed)?;
        let statement = AssertSqlSafe(upsert.text(chunk.len()));
        sqlx::query_with(statement, values).execute(&mut *connection).await.map_err(&failed)?;
    }
    Ok(())
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
