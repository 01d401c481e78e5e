//! The writer of one batch: it writes chunks, and applies the remedies for those that fail.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Committed, Refusal, UnwrittenBatch, Written};
use super::chunk::Chunk;
use super::probe::{check_answering, check_committing};
use super::remedy::{Failures, Remedy, Scope};
use super::server_thread::ServerThread;
use super::transaction::{self, Contents};
use crate::contention::pause_after;
use crate::fetch::Fetch;
use crate::part_report::PartReport;
use crate::{Class, Error, Store};

/// If this many rows with items are refused and no item was accepted, the items may be at fault. A
/// sample then checks whether the table accepts any: somebody may have changed it, and can change
/// it back.
const ITEM_SAMPLE_ROWS: usize = 10;
/// After this time a write no longer retries what waits instead of failing. It returns the rest, so
/// that the caller can stop, or continue with the rest.
const MAX_WRITE: Duration = Duration::from_secs(60);
const WRITING_PIECES: &str = "writing a batch piece by piece";

/// The entries that the database has committed.
pub(super) struct Accepted<R> {
    pub(super) rows: usize,
    pub(super) parts: usize,
    has_items: bool,
    pub(super) receipts: Vec<R>,
    /// The number of rows that were committed without their items, and the last reason.
    pub(super) items_left_out: Option<(usize, String)>,
}

/// A row or part report that the database refused in its original form.
pub(super) struct Refused<T, R> {
    pub(super) entry: T,
    pub(super) receipt: R,
    pub(super) reason: String,
}

impl<T, R> Refused<T, R> {
    fn all<'a>(
        entries: Vec<(T, R)>,
        error: &'a Error,
    ) -> impl Iterator<Item = Self> + use<'a, T, R> {
        entries.into_iter().map(|(entry, receipt)| Self { entry, receipt, reason: error.reason() })
    }
}

/// How far a write may still go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Writing,
    /// Only the entries that were refused are brought to an end.
    OutOfTime,
    /// The database accepts no writes, so nothing more is tried.
    Stopped,
}

/// A batch that is being written.
pub(super) struct Writer<'a, R> {
    store: &'a Store,
    /// When the write has taken too long.
    pub(super) deadline: Instant,
    /// The chunks that have not been tried, and whether each is a piece of one that failed. The
    /// oldest comes first: every piece is tried before one of them is split again.
    queue: VecDeque<(Chunk<R>, bool)>,
    pub(super) accepted: Accepted<R>,
    pub(super) refused_rows: Vec<Refused<Box<Fetch>, R>>,
    pub(super) refused_parts: Vec<Refused<PartReport, R>>,
    /// The entries that stay refused.
    pub(super) refusals: Vec<Refusal<R>>,
    pub(super) unwritten: Batch<R>,
    /// The most serious reason why entries are unwritten.
    error: Option<Error>,
    pub(super) state: State,
}

impl<'a, R> Writer<'a, R> {
    pub(super) fn new(store: &'a Store, batch: Batch<R>) -> Self {
        let Batch { mut rows, mut parts, .. } = batch;
        // In key order: transactions that lock rows in the same order do not deadlock.
        rows.sort_by_cached_key(|(row, _)| row.id);
        parts.sort_by(|(a, _), (b, _)| (&a.run, &a.part).cmp(&(&b.run, &b.part)));
        // Parts come first: they are few, and a run is then known before its rows.
        let parts = (!parts.is_empty()).then_some((Chunk::Parts(parts), false));
        let rows = (!rows.is_empty()).then_some((Chunk::Rows(rows), false));
        Self {
            store,
            deadline: Instant::now() + MAX_WRITE,
            queue: parts.into_iter().chain(rows).collect(),
            accepted: Accepted {
                rows: 0,
                parts: 0,
                has_items: false,
                receipts: Vec::new(),
                items_left_out: None,
            },
            refused_rows: Vec::new(),
            refused_parts: Vec::new(),
            refusals: Vec::new(),
            unwritten: Batch::default(),
            error: None,
            state: State::Writing,
        }
    }

    /// Writes the batch, and collects the rows and part reports that the database refuses.
    pub(super) async fn write_all(&mut self) {
        while let Some((chunk, is_piece)) = self.queue.pop_front() {
            self.write(chunk, is_piece).await;
        }
    }

    async fn write(&mut self, chunk: Chunk<R>, is_piece: bool) {
        if self.state > State::Writing {
            return self.skip(chunk);
        }
        match (self.try_chunk(&chunk, is_piece).await, chunk) {
            (Ok(()), chunk) => self.accept(chunk),
            #[cfg(feature = "simulation")]
            (Err((Remedy::Split, error)), Chunk::Rows(rows))
                if crate::planted::Fault::PoisonedNeighbour.is_planted() =>
            {
                self.refused_rows.extend(Refused::all(rows, &error));
            }
            (Err((Remedy::Split, error)), chunk) => self.split(chunk, is_piece, &error),
            (Err((Remedy::Refuse, error)), Chunk::Rows(rows)) => {
                self.refused_rows.extend(Refused::all(rows, &error));
                self.check_items().await;
            }
            (Err((Remedy::Refuse, error)), Chunk::Parts(parts)) => {
                self.refused_parts.extend(Refused::all(parts, &error));
            }
            (Err((remedy, error)), chunk) => {
                self.skip(chunk);
                self.fail(remedy, error);
            }
        }
    }

    fn split(&mut self, chunk: Chunk<R>, is_piece: bool, error: &Error) {
        let mut chunks = vec![chunk];
        if is_piece && error.class() == Class::Slow && self.accepted.receipts.is_empty() {
            // Nothing has been fast enough yet, so pieces of this size are not tried at all: the
            // server may be slow for every row, and smaller pieces need the time.
            chunks.extend(self.queue.drain(..).map(|(chunk, _)| chunk));
        }
        let pieces = chunks.into_iter().flat_map(Chunk::split);
        self.queue.extend(pieces.map(|piece| (piece, true)));
    }

    async fn try_chunk(&self, chunk: &Chunk<R>, is_piece: bool) -> Result<(), (Remedy, Error)> {
        match chunk {
            Chunk::Rows(rows) => {
                let rows: Vec<&Fetch> = rows.iter().map(|(row, _)| &**row).collect();
                self.try_write(Contents::Rows(&rows), is_piece).await
            }
            Chunk::Parts(parts) => {
                let reports: Vec<&PartReport> = parts.iter().map(|(report, _)| report).collect();
                self.try_write(Contents::Parts(&reports), is_piece).await
            }
        }
    }

    /// Writes something in one transaction, with retries. An error comes with its remedy, which is
    /// never [`Remedy::Retry`].
    pub(super) async fn try_write(
        &self,
        contents: Contents<'_>,
        is_piece: bool,
    ) -> Result<(), (Remedy, Error)> {
        let scope = Scope { is_single: contents.len() == 1, is_piece };
        let mut failures = Failures::default();
        loop {
            let Err(error) = self.try_once(contents, is_piece).await else { return Ok(()) };
            match Remedy::of(&error, scope, failures.add(&error)) {
                Remedy::Stop => return Err((Remedy::Stop, error)),
                _ if self.is_out_of_time(&error) => {
                    return Err((Remedy::OutOfTime, out_of_time(error)));
                }
                Remedy::Retry => tokio::time::sleep(pause_after(failures.total())).await,
                remedy => return Err((remedy, error)),
            }
        }
    }

    /// Whether the write ends with this failure. After a rejection it continues until it has found
    /// out something; otherwise the next write would start where this one did.
    fn is_out_of_time(&self, error: &Error) -> bool {
        let has_refused = !(self.refused_rows.is_empty()
            && self.refused_parts.is_empty()
            && self.refusals.is_empty());
        let has_progress = has_refused || !self.accepted.receipts.is_empty();
        Instant::now() > self.deadline && (error.class() != Class::Rejected || has_progress)
    }

    /// Writes something in one transaction. If the failure leaves open whether the server answers
    /// anybody, a probe checks that, and the error of a failed probe counts.
    async fn try_once(&self, contents: Contents<'_>, is_piece: bool) -> Result<(), Error> {
        let thread = ServerThread::default();
        let written = transaction::write(self.store, contents, is_piece, &thread).await;
        let Err(error) = &written else { return written };
        let is_slow = error.class() == Class::Slow;
        if is_slow || error.is_suspect() {
            check_answering(self.store, &thread).await?;
        }
        // An earlier commit shows that the server commits.
        if is_slow && self.accepted.receipts.is_empty() && self.refusals.is_empty() {
            check_committing(self.store).await?;
        }
        written
    }

    pub(super) fn accept(&mut self, chunk: Chunk<R>) {
        let accepted = &mut self.accepted;
        match chunk {
            Chunk::Rows(rows) => {
                accepted.rows += rows.len();
                accepted.has_items |= rows.iter().any(|(row, _)| row.item.is_some());
                accepted.receipts.extend(rows.into_iter().map(|(_, receipt)| receipt));
            }
            Chunk::Parts(parts) => {
                accepted.parts += parts.len();
                accepted.receipts.extend(parts.into_iter().map(|(_, receipt)| receipt));
            }
        }
    }

    /// Leaves a chunk unwritten.
    fn skip(&mut self, chunk: Chunk<R>) {
        let unwritten = &mut self.unwritten;
        match chunk {
            Chunk::Rows(rows) => {
                rows.into_iter().for_each(|(row, receipt)| unwritten.push(row, receipt));
            }
            Chunk::Parts(parts) => {
                parts
                    .into_iter()
                    .for_each(|(report, receipt)| unwritten.push_part(report, receipt));
            }
        }
    }

    /// Records why entries are unwritten. An outage outweighs every other reason.
    pub(super) fn fail(&mut self, remedy: Remedy, error: Error) {
        self.state = self.state.max(match remedy {
            Remedy::Stop => State::Stopped,
            Remedy::OutOfTime => State::OutOfTime,
            Remedy::Retry | Remedy::Split | Remedy::Refuse | Remedy::Skip => State::Writing,
        });
        if error.class() == Class::Away || self.error.is_none() {
            self.error = Some(error);
        }
    }

    /// Checks with a sample that the table accepts items, if many rows with items were refused and
    /// no item was accepted.
    async fn check_items(&mut self) {
        let with_items = self.refused_rows.iter().filter(|row| row.entry.item.is_some()).count();
        if !self.accepted.has_items && with_items >= ITEM_SAMPLE_ROWS {
            self.accepted.has_items = self.accepts_sample(Contents::SampleItem).await;
        }
    }

    /// Whether a table accepts a sample. If it does not, that is an outage.
    pub(super) async fn accepts_sample(&mut self, sample: Contents<'_>) -> bool {
        let Err((remedy, error)) = self.try_write(sample, true).await else { return true };
        let error = match remedy {
            Remedy::Refuse => Error::EveryRowRefused(error.reason()),
            Remedy::Retry | Remedy::Split | Remedy::Skip | Remedy::OutOfTime | Remedy::Stop => {
                error
            }
        };
        self.fail(Remedy::Stop, error);
        false
    }

    pub(super) fn into_written(mut self) -> Written<R> {
        #[cfg(feature = "simulation")]
        if crate::planted::Fault::AckBeforeCommit.is_planted() {
            let unwritten = std::mem::take(&mut self.unwritten);
            self.accepted.receipts.extend(unwritten.into_receipts());
        }
        let batch = std::mem::take(&mut self.unwritten);
        let error = self.error.filter(|_| !batch.is_empty());
        Written {
            committed: Committed::new(self.accepted.receipts),
            refused: self.refusals,
            items_left_out: self.accepted.items_left_out,
            unwritten: error.map(|error| UnwrittenBatch { batch, error }),
        }
    }
}

/// The error of a write that has taken too long in all.
pub(super) fn write_timeout() -> Error {
    Error::Deadline(MAX_WRITE.as_secs_f64(), WRITING_PIECES)
}

/// The error of a write that ends with this failure because it has taken too long. A lost
/// connection is no outage while the server answers others, and a rejected row is not refused for
/// good before every remedy was tried.
fn out_of_time(error: Error) -> Error {
    match error.class() {
        Class::Away | Class::Rejected => write_timeout(),
        Class::Contention | Class::Slow => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::database("cannot write")(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()))
    }

    #[tokio::test]
    async fn a_rejected_chunk_is_tried_until_there_is_progress_and_then_for_a_minute_at_most() {
        let store = Store::unreachable(1);
        let rejected = || Error::database("cannot write")(sqlx::Error::Encode("too long".into()));
        let mut writer = Writer::new(&store, Batch::default());
        assert!(!writer.is_out_of_time(&lost()) && !writer.is_out_of_time(&rejected()));
        writer.deadline = Instant::now() - Duration::from_millis(1);
        assert!(writer.is_out_of_time(&lost()) && !writer.is_out_of_time(&rejected()));
        writer.accepted.receipts.push(1);
        assert!(writer.is_out_of_time(&rejected()));
        assert_eq!(out_of_time(rejected()).class(), Class::Slow);
    }

    #[test]
    fn a_write_that_takes_too_long_in_all_is_no_outage() {
        let busy = Error::PoolTimeout { timeout_s: 5.0, size: 2 };
        assert_eq!(out_of_time(lost()).class(), Class::Slow);
        assert_eq!(out_of_time(busy).class(), Class::Contention);
    }
}
