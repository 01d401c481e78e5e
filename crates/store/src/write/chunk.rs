//! Chunks: the parts of a batch that are written together.

use crate::fetch::Fetch;
use crate::part_report::PartReport;

/// The number of pieces of a chunk that failed. Halves would find a rejected row with as few
/// statements. But a locked or slow row costs a wait for each piece that contains it: of 500 rows,
/// three waits with eight pieces and nine with two.
const PIECES: usize = 8;

/// Rows or part reports that are written in one transaction, with their receipts.
pub(super) enum Chunk<R> {
    Rows(Vec<(Box<Fetch>, R)>),
    Parts(Vec<(PartReport, R)>),
}

impl<R> Chunk<R> {
    /// Splits the chunk into pieces of about equal size.
    pub(super) fn split(self) -> Vec<Self> {
        match self {
            Self::Rows(rows) => split(rows).into_iter().map(Self::Rows).collect(),
            Self::Parts(parts) => split(parts).into_iter().map(Self::Parts).collect(),
        }
    }
}

fn split<T>(mut rest: Vec<T>) -> Vec<Vec<T>> {
    let size = rest.len().div_ceil(PIECES).max(1);
    let mut pieces = Vec::with_capacity(PIECES);
    while rest.len() > size {
        let after = rest.split_off(size);
        pieces.push(std::mem::replace(&mut rest, after));
    }
    pieces.push(rest);
    pieces
}
