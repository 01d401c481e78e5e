//! Batches, and what can become of them. Only the database makes the proof that rows are durable.

use crate::Error;
use crate::fetch::Fetch;
use crate::runs::PartTold;

/// What is to be written together, each with the receipt that the commit makes worth something:
/// rows, and what was told of parts of runs.
#[derive(Debug)]
pub struct Batch<R> {
    pub(crate) entries: Vec<(Box<Fetch>, R)>,
    pub(crate) parts: Vec<(PartTold, R)>,
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

    /// For benchmarks: its rows.
    #[cfg(feature = "bench")]
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Fetch> {
        self.entries.iter().map(|(row, _)| &**row)
    }
}

/// Proof that rows are durable. Only [`Store::write`](crate::Store::write) makes one, after its
/// transaction has been committed, and [`Store::look_up`](crate::Store::look_up), which has found
/// them.
#[derive(Debug)]
#[must_use = "the receipts are to be settled"]
pub struct Committed<R> {
    receipts: Vec<R>,
}

impl<R> Committed<R> {
    /// Those whose rows were committed, or found.
    pub(crate) fn of(receipts: Vec<R>) -> Self {
        Self { receipts }
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

/// What was not committed, or of which it is not known. Writing it again is safe.
#[derive(Debug)]
pub struct Unwritten<R> {
    /// What is to be written again.
    pub batch: Batch<R>,
    /// Why. Its class says whether that is an outage ([`Class::Away`](crate::Class::Away)), or
    /// somebody else holds just these rows.
    pub error: Error,
}

/// What became of a batch, row by row.
#[derive(Debug)]
#[must_use = "the receipts are to be settled"]
pub struct Written<R> {
    /// The rows that the database took, and the parts of runs.
    pub taken: Committed<R>,
    /// Those that it refused while it takes others.
    pub refused: Vec<Refusal<R>>,
    /// How many of the rows it took without their items, and what it said of one of these.
    pub items_left_out: Option<(usize, String)>,
    /// Those that it did not take, and may take another time.
    pub unwritten: Option<Unwritten<R>>,
}

/// A row, or a part of a run, that the database refused.
#[derive(Debug)]
pub struct Refusal<R> {
    /// What came with it.
    pub receipt: R,
    /// Whether a bare row with outcome `refused` stands in for it. The database may refuse that, too,
    /// and nothing stands in for a part of a run.
    pub recorded: bool,
    /// What the database said.
    pub reason: String,
}
