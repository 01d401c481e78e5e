//! The batch write: many rows, one transaction, and the proof that it was committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe, Connection};
use time::PrimitiveDateTime;

use crate::fetch::{Body, Fetch};
use crate::{Error, Store};

/// The columns of `fetches` in the order in which they are bound. `fetched_at` is assigned last: the others compare it.
const COLUMNS: [&str; 19] = [
    "id",
    "run",
    "url",
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
    "error",
    "attempts",
    "elapsed_ms",
    "worker",
    "message_id",
    "fetched_at",
];

/// Rows that one batch may have: a statement may bind 65,535 values.
pub const MAX_BATCH_ROWS: usize = 65_535 / COLUMNS.len();

/// Lengths of the columns that hold what sites and clients wrote, in characters.
const CONTENT_TYPE_CHARS: usize = 255;
const ERROR_CHARS: usize = 1000;

/// Rows that are to be written together, each with the receipt that the commit makes worth something.
#[derive(Debug)]
pub struct Batch<R> {
    entries: Vec<(Fetch, R)>,
    weight: usize,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self { entries: Vec::new(), weight: 0 }
    }
}

impl<R> Batch<R> {
    /// Adds a row and its receipt.
    pub fn push(&mut self, row: Fetch, receipt: R) {
        self.weight += row.weight();
        self.entries.push((row, receipt));
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how many bytes will be sent.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

/// Proof that rows are durable. Only [`Store::write`] makes one, after its transaction has been committed.
#[derive(Debug)]
#[must_use = "the receipts are to be settled"]
pub struct Committed<R> {
    receipts: Vec<R>,
}

impl<R> Committed<R> {
    /// A look at the receipts.
    pub fn receipts(&self) -> impl Iterator<Item = &R> {
        self.receipts.iter()
    }

    /// The receipts of the rows.
    pub fn into_receipts(self) -> Vec<R> {
        self.receipts
    }
}

/// A batch that was not committed, or of which it is not known. Writing it again is safe.
#[derive(Debug)]
pub struct Unwritten<R> {
    /// The batch, to be tried again.
    pub batch: Batch<R>,
    /// Why.
    pub error: Error,
}

impl Store {
    /// Writes a batch in one transaction. A row that is already there is replaced, unless what is there was fetched
    /// later. It is safe to write a batch again.
    pub async fn write<R>(&self, mut batch: Batch<R>) -> Result<Committed<R>, Unwritten<R>> {
        // In key order: transactions that lock rows in one order do not dead-lock each other.
        batch.entries.sort_unstable_by_key(|(row, _)| row.id);
        let result = self
            .with_connection("writing a batch", async |connection| self.insert(connection, &batch.entries).await)
            .await;
        match result {
            Ok(()) => Ok(Committed { receipts: batch.entries.into_iter().map(|(_, receipt)| receipt).collect() }),
            Err(error) => Err(Unwritten { batch, error }),
        }
    }

    async fn insert<R>(&self, connection: &mut MySqlConnection, entries: &[(Fetch, R)]) -> Result<(), Error> {
        let failed = Error::database("cannot write a batch");
        let mut transaction = connection.begin().await.map_err(&failed)?;
        let mut rest = entries;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(statement_rows(rest.len()));
            let mut arguments = MySqlArguments::default();
            let weight = chunk.iter().map(|(row, _)| row.weight()).sum();
            arguments.reserve(chunk.len() * COLUMNS.len(), weight);
            for (row, _) in chunk {
                bind(&mut arguments, row).map_err(sqlx::Error::Encode).map_err(&failed)?;
            }
            let statement = AssertSqlSafe(self.statements.upsert(chunk.len()));
            sqlx::query_with(statement, arguments).execute(&mut *transaction).await.map_err(&failed)?;
            rest = after;
        }
        transaction.commit().await.map_err(&failed)
    }
}

fn bind(arguments: &mut MySqlArguments, row: &Fetch) -> Result<(), sqlx::error::BoxDynError> {
    let (mut json, mut text, mut bytes) = (None, None, None);
    match &row.body {
        Body::None => {}
        Body::Json(body) => json = Some(body.as_str()),
        Body::Text(body) => text = Some(body.as_str()),
        Body::Bytes(body) => bytes = Some(body.as_slice()),
    }
    let fetched_at = PrimitiveDateTime::new(row.fetched_at.date(), row.fetched_at.time());
    arguments.add(row.id.as_slice())?;
    arguments.add(row.run.as_str())?;
    arguments.add(row.url.as_str())?;
    arguments.add(row.final_url.as_deref())?;
    arguments.add(row.method.as_str())?;
    arguments.add(row.outcome.as_str())?;
    arguments.add(row.status)?;
    arguments.add(row.content_type.as_deref().map(|text| cut(text, CONTENT_TYPE_CHARS)))?;
    arguments.add(row.body_bytes)?;
    arguments.add(row.body_sha256.as_ref().map(|hash| hash.as_slice()))?;
    arguments.add(json)?;
    arguments.add(text)?;
    arguments.add(bytes)?;
    arguments.add(row.error.as_deref().map(|text| cut(text, ERROR_CHARS)))?;
    arguments.add(row.attempts)?;
    arguments.add(u32::try_from(row.elapsed.as_millis()).unwrap_or(u32::MAX))?;
    arguments.add(&*row.worker)?;
    arguments.add(row.message_id.as_deref())?;
    arguments.add(fetched_at)
}

/// The first `chars` characters: these columns are for people, and a long one is no reason to refuse a row.
fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// How many of `rows` go into the next statement. Powers of two keep the number of statement texts small, so that the
/// database has prepared each of them already, whatever size a batch happens to have.
fn statement_rows(rows: usize) -> usize {
    1 << rows.ilog2()
}

/// The texts of the upsert, by number of rows.
#[derive(Default)]
pub(crate) struct Statements(Mutex<HashMap<usize, Arc<str>>>);

impl Statements {
    fn upsert(&self, rows: usize) -> Arc<str> {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        texts.entry(rows).or_insert_with(|| upsert(rows).into()).clone()
    }
}

/// `VALUES(…)` is deprecated on MySQL, and all that MariaDB knows.
fn upsert(rows: usize) -> String {
    let placeholders = format!("({})", ["?"; COLUMNS.len()].join(","));
    let values = vec![placeholders.as_str(); rows].join(",");
    let newer = COLUMNS[1..]
        .iter()
        .map(|column| format!("{column} = IF(VALUES(fetched_at) >= fetched_at, VALUES({column}), {column})"));
    let newer: Vec<_> = newer.collect();
    let columns = COLUMNS.join(", ");
    format!("INSERT INTO fetches ({columns}) VALUES {values} ON DUPLICATE KEY UPDATE {}", newer.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_written_by_few_statement_texts() {
        let mut texts = std::collections::HashSet::new();
        for rows in 1..=1000 {
            let mut rest = rows;
            while rest > 0 {
                texts.insert(statement_rows(rest));
                rest -= statement_rows(rest);
            }
        }
        assert_eq!(texts.len(), 10);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
    }

    #[test]
    fn the_time_that_the_others_compare_is_assigned_last() {
        assert_eq!(COLUMNS.last(), Some(&"fetched_at"));
    }
}
