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

    /// Rows and receipts, unwritten.
    pub fn into_entries(self) -> Vec<(Fetch, R)> {
        self.entries
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
    /// The one whose row was found.
    pub(crate) fn of(receipt: R) -> Self {
        Self { receipts: vec![receipt] }
    }

    /// Two proofs, told by what each receipt says.
    pub fn partition(self, belongs_left: impl FnMut(&R) -> bool) -> (Self, Self) {
        let (left, right) = self.receipts.into_iter().partition(belongs_left);
        (Self { receipts: left }, Self { receipts: right })
    }

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

/// What became of a batch whose transactions were committed.
#[derive(Debug)]
#[must_use = "the receipts are to be settled"]
pub struct Written<R> {
    /// The rows that the database took.
    pub taken: Committed<R>,
    /// The rows that it refused while it takes others.
    pub refused: Vec<Refusal<R>>,
}

/// A row that the database refused.
#[derive(Debug)]
pub struct Refusal<R> {
    /// What came with the row.
    pub receipt: R,
    /// Whether a bare row with outcome `refused` stands in for it. The database may refuse that, too.
    pub recorded: bool,
    /// What the database said.
    pub reason: String,
}

/// So many rows, every one of them refused, are no accident: somebody has changed the table, and can change it back.
const NO_ACCIDENT: usize = 10;

/// How often a transaction that lost against another one is tried again at once.
const CONTENTION_TRIES: u32 = 5;

impl Store {
    /// Writes a batch, in one transaction unless the database refuses a row of it. A row that is already there is
    /// replaced, unless what is there was fetched later. It is safe to write a batch again.
    ///
    /// A refused row is found by halving, and a bare row is written in its place. That every one of many rows is refused,
    /// or that the database takes nothing at all, not even a bare row, is not about the rows: it is an outage, like a
    /// database that does not answer.
    pub async fn write<R>(&self, mut batch: Batch<R>) -> Result<Written<R>, Unwritten<R>> {
        // In key order: transactions that lock rows in one order do not dead-lock each other.
        batch.entries.sort_unstable_by_key(|(row, _)| row.id);
        let mut refused = match self.write_or_refuse(&batch.entries).await {
            Ok(refused) => refused,
            Err(error) => return Err(Unwritten { batch, error }),
        };
        let mut written = Written { taken: Committed { receipts: Vec::new() }, refused: Vec::new() };
        written.taken.receipts.reserve(batch.entries.len());
        for (index, (_, receipt)) in batch.entries.into_iter().enumerate() {
            match refused.remove(&index) {
                None => written.taken.receipts.push(receipt),
                Some((reason, recorded)) => written.refused.push(Refusal { receipt, recorded, reason }),
            }
        }
        Ok(written)
    }

    /// Writes rows, and bare ones for those that are refused. Returns the refused ones by their index: why, and whether
    /// the bare row was taken.
    async fn write_or_refuse<R>(&self, entries: &[(Fetch, R)]) -> Result<HashMap<usize, (String, bool)>, Error> {
        let mut refused = HashMap::new();
        self.write_halves(entries, 0, &mut refused).await?;
        if refused.len() == entries.len() && refused.len() >= NO_ACCIDENT {
            return Err(Error::EveryRowRefused(refused.into_values().next().unwrap_or_default()));
        }
        let mut taken = entries.len() - refused.len();
        let mut judged = HashMap::with_capacity(refused.len());
        for (index, reason) in refused {
            let recorded = match self.write_rows(&[&entries[index].0.bare(&reason)]).await {
                Ok(()) => true,
                Err(error) if error.is_refusal() => false,
                Err(error) => return Err(error),
            };
            taken += usize::from(recorded);
            judged.insert(index, (reason, recorded));
        }
        match judged.values().next() {
            Some((reason, _)) if taken == 0 => Err(Error::EveryRowRefused(reason.clone())),
            _ => Ok(judged),
        }
    }

    /// Writes rows in one transaction; where the database refuses one, in two halves. `first` is the index of the first
    /// row in the batch.
    async fn write_halves<R>(
        &self,
        entries: &[(Fetch, R)],
        first: usize,
        refused: &mut HashMap<usize, String>,
    ) -> Result<(), Error> {
        let rows: Vec<&Fetch> = entries.iter().map(|(row, _)| row).collect();
        match self.write_rows(&rows).await {
            Err(error) if error.is_refusal() && entries.len() == 1 => {
                refused.insert(first, error.reason());
                Ok(())
            }
            Err(error) if error.is_refusal() => {
                let (left, right) = entries.split_at(entries.len() / 2);
                Box::pin(self.write_halves(left, first, refused)).await?;
                Box::pin(self.write_halves(right, first + left.len(), refused)).await
            }
            result => result,
        }
    }

    async fn write_rows(&self, rows: &[&Fetch]) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let result =
                self.with_connection("writing a batch", async |connection| self.insert(connection, rows).await);
            match result.await {
                // The whole transaction: after 1205 the server has rolled back the statement only, so the connection
                // was closed, and that rolls back the rest.
                Err(error) if error.is_contention() && tries < CONTENTION_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn insert(&self, connection: &mut MySqlConnection, rows: &[&Fetch]) -> Result<(), Error> {
        let failed = Error::database("cannot write a batch");
        // Asked for now that there is a connection: it may have been made after a failover.
        let packet = self.packet();
        let mut transaction = connection.begin().await.map_err(&failed)?;
        let mut rest = rows;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(statement_rows(rest, packet));
            let mut arguments = MySqlArguments::default();
            arguments.reserve(chunk.len() * COLUMNS.len(), chunk.iter().map(|row| row.weight()).sum());
            for row in chunk {
                let bound = match row.weight() > packet {
                    true => bind(&mut arguments, &row.without_body(packet)),
                    false => bind(&mut arguments, row),
                };
                bound.map_err(sqlx::Error::Encode).map_err(&failed)?;
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

/// How many of the rows go into the next statement: as many as fit into a packet. Powers of two keep the number of
/// statement texts small, so that the database has prepared each of them already, whatever size a batch happens to have.
fn statement_rows(rows: &[&Fetch], packet: usize) -> usize {
    let mut weight = 0;
    let fitting = rows.iter().take_while(|row| {
        weight += row.weight();
        weight <= packet
    });
    1 << fitting.count().max(1).ilog2()
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

    fn row(body: usize) -> Fetch {
        Fetch {
            id: [0; 32],
            run: String::new(),
            url: String::new(),
            final_url: None,
            method: String::new(),
            outcome: crate::Outcome::Ok,
            status: None,
            content_type: None,
            body_bytes: None,
            body_sha256: None,
            body: Body::Bytes(vec![0; body]),
            error: None,
            attempts: 1,
            elapsed: std::time::Duration::ZERO,
            fetched_at: time::OffsetDateTime::UNIX_EPOCH,
            worker: "".into(),
            message_id: None,
        }
    }

    #[test]
    fn a_batch_is_written_by_few_statement_texts() {
        let row = row(0);
        let mut texts = std::collections::HashSet::new();
        for rows in 1..=1000 {
            let mut rest = &vec![&row; rows][..];
            while !rest.is_empty() {
                let rows = statement_rows(rest, usize::MAX);
                texts.insert(rows);
                rest = &rest[rows..];
            }
        }
        assert_eq!(texts.len(), 10);
    }

    #[test]
    fn a_statement_fits_into_a_packet() {
        let (small, large) = (row(100), row(10_000));
        assert_eq!(statement_rows(&[&small, &small, &large], 2_000), 2);
        // It goes alone; what is too large for the packet by itself has lost its body before.
        assert_eq!(statement_rows(&[&large, &small], 2_000), 1);
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
