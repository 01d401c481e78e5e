//! Batches, and the results of writing them.

use crate::Error;
use crate::fetch::Fetch;
use crate::part_report::PartReport;

/// Rows and part reports that are written together. Each entry has a receipt, such as the right to
/// ack a message, which [`Committed`] returns once the entry is durable.
#[derive(Debug)]
pub struct Batch<R> {
    pub(super) rows: Vec<(Box<Fetch>, R)>,
    pub(super) parts: Vec<(PartReport, R)>,
    weight: usize,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), parts: Vec::new(), weight: 0 }
    }
}

impl<R> Batch<R> {
    /// Adds a row and its receipt.
    pub fn push(&mut self, row: Box<Fetch>, receipt: R) {
        self.weight += row.weight();
        self.rows.push((row, receipt));
    }

    /// Adds a part report and its receipt.
    pub fn push_part(&mut self, report: PartReport, receipt: R) {
        self.parts.push((report, receipt));
    }

    /// The number of rows and part reports.
    pub fn len(&self) -> usize {
        self.rows.len() + self.parts.len()
    }

    /// Whether the batch has neither rows nor part reports.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The receipts, by reference.
    pub fn receipts(&self) -> impl Iterator<Item = &R> {
        let of_parts = self.parts.iter().map(|(_, receipt)| receipt);
        self.rows.iter().map(|(_, receipt)| receipt).chain(of_parts)
    }

    /// Returns the receipts without writing anything.
    pub fn into_receipts(self) -> impl Iterator<Item = R> {
        let of_parts = self.parts.into_iter().map(|(_, receipt)| receipt);
        self.rows.into_iter().map(|(_, receipt)| receipt).chain(of_parts)
    }

    /// The approximate number of bytes that a write sends.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

/// For benchmarks: encodes the rows of a batch as one statement, and returns the number of values.
#[cfg(feature = "bench")]
pub fn encoded<R>(batch: &Batch<R>) -> usize {
    use sqlx::Arguments;

    let rows: Vec<&Fetch> = batch.rows.iter().map(|(row, _)| &**row).collect();
    let arguments = crate::statements::fetches::encode(&rows, usize::MAX);
    arguments.map_or(0, |arguments| arguments.len())
}

/// Proof that rows are durable. Only two functions make one:
/// [`Store::write`](crate::Store::write), after its transaction has been committed, and
/// [`Store::look_up`](crate::Store::look_up), for rows that it has found.
#[derive(Debug)]
#[must_use = "the receipts have to be settled"]
pub struct Committed<R> {
    receipts: Vec<R>,
}

impl<R> Committed<R> {
    /// The receipts of rows that were committed, or found.
    pub(crate) fn new(receipts: Vec<R>) -> Self {
        Self { receipts }
    }

    /// A proof of nothing.
    #[cfg(feature = "simulation")]
    pub fn planted(receipts: Vec<R>) -> Self {
        Self { receipts }
    }

    /// Divides the proof in two: receipts for which `predicate` is true, and the others.
    pub fn partition(self, predicate: impl FnMut(&R) -> bool) -> (Self, Self) {
        let (left, right) = self.receipts.into_iter().partition(predicate);
        (Self { receipts: left }, Self { receipts: right })
    }

    /// The same proof for what the receipts hold. `convert` must not exchange a receipt for another
    /// one.
    pub fn map<T>(self, convert: impl FnMut(R) -> T) -> Committed<T> {
        Committed { receipts: self.receipts.into_iter().map(convert).collect() }
    }

    /// The receipts, by reference.
    pub fn receipts(&self) -> impl Iterator<Item = &R> {
        self.receipts.iter()
    }

    /// The receipts.
    pub fn into_receipts(self) -> Vec<R> {
        self.receipts
    }
}

/// The rest of a batch that was not committed, or whose commit is in doubt. Writing it again is
/// safe.
#[derive(Debug)]
pub struct UnwrittenBatch<R> {
    /// The rest of the batch, to be written again.
    pub batch: Batch<R>,
    /// Why it was not written. Its class distinguishes an outage
    /// ([`Class::Away`](crate::Class::Away)) from a problem with these rows only.
    pub error: Error,
}

/// What became of each entry of a batch.
#[derive(Debug)]
#[must_use = "the receipts have to be settled"]
pub struct Written<R> {
    /// The rows and part reports that the database has committed.
    pub committed: Committed<R>,
    /// The entries that it refused, although it accepts others.
    pub refused: Vec<Refusal<R>>,
    /// The number of rows that it committed without their items, and the reason for one of them.
    pub items_left_out: Option<(usize, String)>,
    /// The entries that may succeed in another write.
    pub unwritten: Option<UnwrittenBatch<R>>,
}

/// A row or a part report that the database refused.
#[derive(Debug)]
pub struct Refusal<R> {
    /// The entry's receipt.
    pub receipt: R,
    /// Whether a bare row with the outcome `refused` replaces the row. The database may refuse the
    /// bare row as well, and a part report has no bare form.
    pub recorded: bool,
    /// The server's or the driver's error.
    pub reason: String,
}
