//! The batch write: many rows, one transaction, and the proof that it was committed.

use std::collections::HashMap;

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe, Connection};

use crate::fetch::{Body, Fetch};
use crate::items;
use crate::pool::contended;
use crate::product::ProductTold;
use crate::runs::PartTold;
use crate::upsert::Upsert;
use crate::{Error, Store, counts};

/// The columns of `fetches` in the order in which they are bound.
const COLUMNS: [&str; 21] = [
    "id",
    "run",
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
    "product",
    "error",
    "attempts",
    "elapsed_ms",
    "worker",
    "message_id",
    "fetched_at",
];

/// Rows that one batch may have: a statement may bind 65,535 values.
pub const MAX_BATCH_ROWS: usize = 65_535 / COLUMNS.len();

/// The statement that writes them.
pub(crate) fn upsert() -> Upsert {
    Upsert::new("fetches", &COLUMNS).counting("rewrites")
}

/// Lengths of the columns that hold what sites and clients wrote, in characters.
const CONTENT_TYPE_CHARS: usize = 255;
const ERROR_CHARS: usize = 1000;

/// What is to be written together, each with the receipt that the commit makes worth something: rows, and what was told
/// of parts of runs.
#[derive(Debug)]
pub struct Batch<R> {
    entries: Vec<(Box<Fetch>, R)>,
    parts: Vec<(PartTold, R)>,
    weight: usize,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self { entries: Vec::new(), parts: Vec::new(), weight: 0 }
    }
}

impl<R> Batch<R> {
    /// Adds a row and its receipt.
    pub fn push(&mut self, row: Box<Fetch>, receipt: R) {
        self.weight += row.weight();
        self.entries.push((row, receipt));
    }

    /// Adds what was told of a part of a run, and its receipt.
    pub fn push_part(&mut self, told: PartTold, receipt: R) {
        self.parts.push((told, receipt));
    }

    /// What is to be written.
    pub fn len(&self) -> usize {
        self.entries.len() + self.parts.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A look at the receipts.
    pub fn receipts(&self) -> impl Iterator<Item = &R> {
        let of_parts = self.parts.iter().map(|(_, receipt)| receipt);
        self.entries.iter().map(|(_, receipt)| receipt).chain(of_parts)
    }

    /// The receipts, with nothing written.
    pub fn into_receipts(self) -> impl Iterator<Item = R> {
        let of_parts = self.parts.into_iter().map(|(_, receipt)| receipt);
        self.entries.into_iter().map(|(_, receipt)| receipt).chain(of_parts)
    }

    /// About how many bytes will be sent.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

/// Proof that rows are durable. Only [`Store::write`] makes one, after its transaction has been committed, and
/// [`Store::look_up`], which has found them.
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
    /// How many of the rows it took without their items, and what it said of one of these.
    pub items_left_out: Option<(usize, String)>,
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

/// So many rows or items, every one of them refused, are no accident: somebody has changed the table, and can change it
/// back.
const NO_ACCIDENT: usize = 10;

/// What is known of a batch while it is halved.
#[derive(Default)]
struct Halving {
    /// Rows that the database refuses without an item, by their index, and what it said.
    refused: HashMap<usize, String>,
    items_taken: usize,
    /// How many, and what the database said last.
    items_left_out: Option<(usize, String)>,
}

impl Halving {
    /// The database takes a row without its item alone.
    fn item_is_left_out(&mut self, reason: String) -> Result<(), Error> {
        let count = self.items_left_out.take().map_or(0, |(count, _)| count) + 1;
        if count >= NO_ACCIDENT && self.items_taken == 0 {
            return Err(Error::EveryRowRefused(reason));
        }
        self.items_left_out = Some((count, reason));
        Ok(())
    }
}

impl Store {
    /// Writes a batch, in one transaction unless the database refuses a row of it. A row that is already there is
    /// replaced, unless what is there was fetched later. It is safe to write a batch again.
    ///
    /// A refused row is found by halving. Where it has an item it is written without it, else a bare row is written in its
    /// place. That every one of many rows or items is refused, or that the database takes nothing at all, not even a bare
    /// row, is not about the rows: it is an outage, like a database that does not answer.
    pub async fn write<R>(&self, mut batch: Batch<R>) -> Result<Written<R>, Unwritten<R>> {
        // First: these are few, and a run is known before its rows are.
        let parts_refused = match self.write_parts(batch.parts.iter().map(|(told, _)| told)).await {
            Ok(()) => None,
            Err(error) if error.is_refusal() => Some(error.reason()),
            Err(error) => return Err(Unwritten { batch, error }),
        };
        // In key order: transactions that lock rows in one order do not dead-lock each other.
        batch.entries.sort_by_cached_key(|(row, _)| row.id);
        let (mut refused, items_left_out) = match self.write_or_refuse(&batch.entries).await {
            Ok(refused) => refused,
            Err(error) => return Err(Unwritten { batch, error }),
        };
        let mut written = Written { taken: Committed { receipts: Vec::new() }, refused: Vec::new(), items_left_out };
        written.taken.receipts.reserve(batch.entries.len() + batch.parts.len());
        for (_, receipt) in batch.parts {
            match &parts_refused {
                None => written.taken.receipts.push(receipt),
                Some(reason) => written.refused.push(Refusal { receipt, recorded: false, reason: reason.clone() }),
            }
        }
        for (index, (_, receipt)) in batch.entries.into_iter().enumerate() {
            match refused.remove(&index) {
                None => written.taken.receipts.push(receipt),
                Some((reason, recorded)) => written.refused.push(Refusal { receipt, recorded, reason }),
            }
        }
        Ok(written)
    }

    /// Writes rows, and bare ones for those that are refused. Returns the refused ones by their index: why, and whether
    /// the bare row was taken; and how many items were left out, and why.
    async fn write_or_refuse<R>(
        &self,
        entries: &[(Box<Fetch>, R)],
    ) -> Result<(HashMap<usize, (String, bool)>, Option<(usize, String)>), Error> {
        let mut halving = Halving::default();
        self.write_halves(entries, 0, &mut halving).await?;
        let Halving { refused, items_left_out, .. } = halving;
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
            _ => Ok((judged, items_left_out)),
        }
    }

    /// Writes rows in one transaction; where the database refuses one, in two halves. `first` is the index of the first
    /// row in the batch.
    async fn write_halves<R>(
        &self,
        entries: &[(Box<Fetch>, R)],
        first: usize,
        halving: &mut Halving,
    ) -> Result<(), Error> {
        let rows: Vec<&Fetch> = entries.iter().map(|(row, _)| &**row).collect();
        match self.write_rows(&rows).await {
            Err(error) if error.is_refusal() && entries.len() == 1 => {
                let Some(without_item) = rows[0].without_item(&error.reason()) else {
                    halving.refused.insert(first, error.reason());
                    return Ok(());
                };
                match self.write_rows(&[&without_item]).await {
                    Ok(()) => halving.item_is_left_out(error.reason()),
                    Err(error) if error.is_refusal() => {
                        halving.refused.insert(first, error.reason());
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) if error.is_refusal() => {
                let (left, right) = entries.split_at(entries.len() / 2);
                Box::pin(self.write_halves(left, first, halving)).await?;
                Box::pin(self.write_halves(right, first + left.len(), halving)).await
            }
            result => {
                halving.items_taken += rows.iter().filter(|row| row.item.is_some()).count();
                result
            }
        }
    }

    async fn write_rows(&self, rows: &[&Fetch]) -> Result<(), Error> {
        let mut all_new = true;
        loop {
            let write = || {
                self.with_connection("writing a batch", async |connection| self.insert(connection, rows, all_new).await)
            };
            if contended(write).await? {
                return Ok(());
            }
            // Rows were there that were not reckoned with. What comes between the reading and the writing is another's commit,
            // so this ends.
            all_new = false;
        }
    }

    /// Writes rows and counts them, in one transaction. `false`, and nothing is written, where there were more of them
    /// than was reckoned with: none if they are taken for new, else those that can be read beforehand.
    async fn insert(&self, connection: &mut MySqlConnection, rows: &[&Fetch], all_new: bool) -> Result<bool, Error> {
        let failed = Error::database("cannot write a batch");
        // Asked for now that there is a connection: it may have been made after a failover.
        let packet = self.packet();
        let mut transaction = connection.begin().await.map_err(&failed)?;
        let present = match all_new {
            true => HashMap::new(),
            false => counts::lock(&mut transaction, rows).await?,
        };
        let changes = counts::Changes::of(rows, &present);
        let mut affected = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let fitting = self.upsert_fetches.fitting(rest, packet, |row| row.row_weight());
            let (chunk, after) = rest.split_at(fitting);
            let arguments = encode(chunk, packet).map_err(sqlx::Error::Encode).map_err(&failed)?;
            let statement = AssertSqlSafe(self.upsert_fetches.text(chunk.len()));
            let done = sqlx::query_with(statement, arguments).execute(&mut *transaction).await.map_err(&failed)?;
            affected += done.rows_affected();
            rest = after;
        }
        if affected != changes.affected {
            transaction.rollback().await.map_err(&failed)?;
            return Ok(false);
        }
        items::write(&mut transaction, &self.upsert_items, rows, packet).await?;
        changes.write(&mut transaction, counts::any_slot()).await?;
        transaction.commit().await.map_err(&failed)?;
        Ok(true)
    }
}

/// The values of a statement that writes these rows. A row that does not fit into a packet goes without its body.
fn encode(rows: &[&Fetch], packet: usize) -> Result<MySqlArguments, sqlx::error::BoxDynError> {
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

/// For benchmarks: encodes the rows of a batch as one statement, and tells how many values that are.
#[cfg(feature = "bench")]
pub fn encoded<R>(batch: &Batch<R>) -> usize {
    let rows: Vec<&Fetch> = batch.entries.iter().map(|(row, _)| &**row).collect();
    encode(&rows, usize::MAX).map_or(0, |arguments| arguments.len())
}

fn bind(arguments: &mut MySqlArguments, row: &Fetch) -> Result<(), sqlx::error::BoxDynError> {
    let (mut json, mut text, mut bytes) = (None, None, None);
    match &row.body {
        Body::None => {}
        Body::Json(body) => json = Some(body.as_str()),
        Body::Text(body) => text = Some(body.as_str()),
        Body::Bytes(body) => bytes = Some(body.as_slice()),
    }
    arguments.add(row.id.as_slice())?;
    arguments.add(row.run.as_str())?;
    arguments.add(row.url.as_str())?;
    arguments.add(row.given_url.as_deref())?;
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
    arguments.add(row.product.map(ProductTold::as_str))?;
    arguments.add(row.error.as_deref().map(|text| cut(text, ERROR_CHARS)))?;
    arguments.add(row.attempts)?;
    arguments.add(u32::try_from(row.elapsed.as_millis()).unwrap_or(u32::MAX))?;
    arguments.add(&*row.worker)?;
    arguments.add(row.message_id.as_deref())?;
    arguments.add(row.fetched_at_utc())
}

/// The first `chars` characters: these columns are for people, and a long one is no reason to refuse a row.
fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
