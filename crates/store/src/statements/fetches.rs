//! The statement that writes rows of `fetches`.

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection};

use super::upsert::Upsert;
use crate::Error;
use crate::body::Body;
use crate::clock::to_stored;
use crate::fetch::Fetch;
use crate::product::ProductStatus;

/// The columns of `fetches`, in the order in which they are bound.
const COLUMNS: [&str; 23] = [
    "id",
    "run",
    "part",
    "url",
    "given_url",
    "final_url",
    "method",
    "outcome",
    "status",
    "content_type",
    "body_bytes",
    "body_sha256",
    "body_json",
    "body_text",
    "body",
    "body_zstd",
    "product",
    "error",
    "attempts",
    "elapsed_ms",
    "worker",
    "message_id",
    "fetched_at",
];

/// The maximum number of rows in a batch: one statement can bind 65,535 values.
pub const MAX_BATCH_ROWS: usize = 65_535 / COLUMNS.len();

/// The lengths of the columns for text that sites and clients wrote, in characters.
const CONTENT_TYPE_CHARS: usize = 255;
const ERROR_CHARS: usize = 1000;

/// The statement that writes rows. It counts how often a row was written again, so that it always
/// changes a row that exists.
pub(crate) fn upsert() -> Upsert {
    Upsert::new("fetches", &COLUMNS).with_first(&["rewrites = rewrites + 1"])
}

/// Writes rows, and returns the number of rows that the server reports as affected.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    upsert: &Upsert,
    rows: &[&Fetch],
    packet: usize,
) -> Result<u64, Error> {
    let encode = |rows: &[&Fetch]| encode(rows, packet);
    let written = upsert.write(connection, rows, packet, |row| row.row_weight(), encode).await;
    written.map_err(Error::database("cannot write a batch"))
}

/// Encodes the values of a statement that writes these rows. A row that does not fit into a packet
/// loses its body.
pub(crate) fn encode(rows: &[&Fetch], packet: usize) -> Result<MySqlArguments, BoxDynError> {
    let mut arguments = MySqlArguments::default();
    arguments.reserve(rows.len() * COLUMNS.len(), rows.iter().map(|row| row.row_weight()).sum());
    for row in rows {
        match row.row_weight() > packet {
            true => bind(&mut arguments, &row.without_body(packet))?,
            false => bind(&mut arguments, row)?,
        }
    }
    Ok(arguments)
}

fn bind(arguments: &mut MySqlArguments, row: &Fetch) -> Result<(), BoxDynError> {
    let (mut json, mut text, mut bytes, mut zstd) = (None, None, None, None);
    match &row.body {
        Body::None => {}
        Body::Json(body) => json = Some(body.as_str()),
        Body::Text(body) => text = Some(body.as_str()),
        Body::Bytes(body) => bytes = Some(body.as_slice()),
        Body::Zstd(body) => zstd = Some(body.as_slice()),
    }
    arguments.add(row.id.as_slice())?;
    arguments.add(row.run.as_str())?;
    arguments.add(row.part.as_deref().unwrap_or_default())?;
    arguments.add(row.url.as_str())?;
    arguments.add(row.given_url.as_deref())?;
    arguments.add(row.final_url.as_deref())?;
    arguments.add(row.method.as_str())?;
    arguments.add(row.outcome.as_str())?;
    arguments.add(row.status)?;
    arguments.add(row.content_type.as_deref().map(stored_content_type))?;
    arguments.add(row.body_bytes)?;
    arguments.add(row.body_sha256.as_ref().map(|hash| hash.as_slice()))?;
    arguments.add(json)?;
    arguments.add(text)?;
    arguments.add(bytes)?;
    arguments.add(zstd)?;
    arguments.add(row.product.map(ProductStatus::as_str))?;
    arguments.add(row.error.as_deref().map(|text| truncate(text, ERROR_CHARS)))?;
    arguments.add(row.attempts)?;
    arguments.add(u32::try_from(row.elapsed.as_millis()).unwrap_or(u32::MAX))?;
    arguments.add(&*row.worker)?;
    arguments.add(row.message_id.as_deref())?;
    arguments.add(to_stored(row.fetched_at))
}

/// A content type as it is stored.
pub fn stored_content_type(text: &str) -> &str {
    truncate(text, CONTENT_TYPE_CHARS)
}

/// The first `chars` characters. These columns are for people, so a long text is no reason to
/// refuse a row.
fn truncate(text: &str, chars: usize) -> &str {
    // A character has at least one byte.
    if text.len() <= chars {
        return text;
    }
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_truncated_between_characters() {
        assert_eq!(truncate("äöü", 2), "äö");
        assert_eq!(truncate("äöü", 3), "äöü");
        assert_eq!(truncate("äöü", 6), "äöü");
    }
}
