//! Lookups of pages that were fetched before, and their deletion.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Row};
use time::PrimitiveDateTime;

use crate::page::{KnownPage, Page};
use crate::statements::placeholders::list;
use crate::{Error, Store};

/// The pages whose last full response is still kept, without the list of keys: their rows are those
/// of that response and have its body, and no other fetch has written their items since, or found
/// that they have vanished: a page that is there again is fetched in full.
pub const KNOWN_PAGES: &str = "SELECT page, fetch_id, pages.body_sha256, has_body, etag, \
    last_modified, address, reader, trusted, unchanged, checks, body_bytes, content_type \
    FROM pages JOIN fetches ON fetches.id = pages.fetch_id \
    LEFT JOIN items ON items.source_sha256 = UNHEX(SHA2(fetches.url, 256)) \
    WHERE fetches.outcome = 'ok' AND fetches.body_sha256 = pages.body_sha256 \
    AND (NOT has_body OR body_json IS NOT NULL OR body_text IS NOT NULL OR body IS NOT NULL \
    OR body_zstd IS NOT NULL) \
    AND (COALESCE(product, 'none') = 'none' OR (items.updated_at <= fetches.fetched_at \
    AND COALESCE(items.status, '') <> 'gone')) \
    AND page IN ";
/// The last page of the next chunk; binds the last key, and the number of pages.
pub const PAGES_OF_PRUNE: &str =
    "SELECT page FROM pages WHERE page > ? ORDER BY page LIMIT 1 OFFSET ?";

/// The number of pages that are deleted together, at most.
const CHUNK: u32 = 1_000;
/// The longest pause after a chunk.
const MAX_PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Looks up pages by their keys, in one statement. Pages whose last full response is not kept
    /// are missing.
    pub async fn known_pages(
        &self,
        keys: &[[u8; 16]],
    ) -> Result<HashMap<[u8; 16], KnownPage>, Error> {
        let failed = Error::database("cannot look up pages");
        let Some(last) = keys.last() else { return Ok(HashMap::new()) };
        // Padded with the last key to a power of two: few statement texts.
        let padded = keys.len().next_power_of_two();
        let mut values = MySqlArguments::default();
        let padding = std::iter::repeat_n(last, padded - keys.len());
        for key in keys.iter().chain(padding) {
            values.add(key.as_slice()).map_err(sqlx::Error::Encode).map_err(&failed)?;
        }
        let statement = format!("{KNOWN_PAGES}({})", list("?", padded));
        self.with_connection("looking up pages", async |connection| {
            let query = sqlx::query_with(AssertSqlSafe(statement), values);
            let rows = query.fetch_all(connection).await.map_err(&failed)?;
            let known = rows.iter().map(|row| known_page(row).map(|known| (known.page.key, known)));
            known.collect::<sqlx::Result<_>>().map_err(&failed)
        })
        .await
    }

    /// Deletes what is known of pages that were fetched before `cutoff` and not since, in small
    /// chunks by key. Returns their number.
    pub(crate) async fn prune_pages(&self, cutoff: PrimitiveDateTime) -> Result<u64, Error> {
        const DELETE: &str = "DELETE FROM pages WHERE page > ? AND page <= ? AND fetched_at < ?";
        let failed = Error::database("cannot delete old pages");
        let (mut after, mut deleted, mut is_last) = (Vec::new(), 0, false);
        while !is_last {
            let began = std::time::Instant::now();
            let (rows, end) = self
                .with_connection("deleting old pages", async |connection| {
                    let end: Option<Vec<u8>> = sqlx::query_scalar(PAGES_OF_PRUNE)
                        .bind(&after)
                        .bind(CHUNK - 1)
                        .fetch_optional(&mut *connection)
                        .await
                        .map_err(&failed)?;
                    let until = end.clone().unwrap_or_else(|| vec![0xff; 16]);
                    let delete = sqlx::query(DELETE).bind(&after).bind(until).bind(cutoff);
                    let rows = delete.execute(connection).await.map_err(&failed)?.rows_affected();
                    Ok((rows, end))
                })
                .await?;
            deleted += rows;
            is_last = end.is_none();
            after = end.unwrap_or_default();
            tokio::time::sleep(began.elapsed().min(MAX_PAUSE)).await;
        }
        Ok(deleted)
    }
}

fn known_page(row: &MySqlRow) -> sqlx::Result<KnownPage> {
    fn bytes<const N: usize>(row: &MySqlRow, column: &str) -> sqlx::Result<[u8; N]> {
        let bytes: Vec<u8> = row.try_get(column)?;
        bytes.try_into().map_err(|_| sqlx::Error::Decode(format!("the length of {column}").into()))
    }
    let text = |column: &str| {
        let bytes: Option<Vec<u8>> = row.try_get(column)?;
        Ok::<_, sqlx::Error>(bytes.map(Vec::into_boxed_slice))
    };
    let page = Page {
        key: bytes(row, "page")?,
        fetch_id: bytes(row, "fetch_id")?,
        body_sha256: bytes(row, "body_sha256")?,
        has_body: row.try_get("has_body")?,
        etag: text("etag")?,
        last_modified: text("last_modified")?,
        address: bytes(row, "address")?,
        reader: bytes(row, "reader")?,
        trusted: row.try_get("trusted")?,
        unchanged: row.try_get("unchanged")?,
        checks: row.try_get("checks")?,
    };
    let body_bytes: Option<u64> = row.try_get("body_bytes")?;
    let content_type = row.try_get("content_type")?;
    Ok(KnownPage { page, body_bytes: body_bytes.unwrap_or(0), content_type })
}
