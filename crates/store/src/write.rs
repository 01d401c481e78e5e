//! How a batch is written whatever happens to it: what can be committed is committed, and one bad
//! row, one locked row or one lost connection costs the others nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Committed, Refusal, Unwritten, Written};
use crate::fetch::Fetch;
use crate::insert::{Contents, ServerThread};
use crate::pool::{CONTENTION_TRIES, pause_after};
use crate::runs::PartTold;
use crate::{Class, Error, Store};

/// So many rows or items, every one of them refused, are no accident: somebody has changed the
/// table, and can change it back.
const NO_ACCIDENT: usize = 10;
/// What is not taken is divided into so many pieces. Two would find a row that is rejected with as
/// few statements, but one that is locked, or too slow, costs a wait each time the piece that it is
/// in is tried: of 500 rows, three waits instead of nine.
const PIECES: usize = 8;
/// How often a batch is tried whose rows others hold longer than a statement waits for them. Each
/// of its pieces is tried once.
const LOCK_WAIT_TRIES: u32 = 2;
/// How often something is tried under which the connection is lost while the server answers others:
/// twice, and a row alone once more.
const SUSPECT_TRIES: u32 = 2;
/// What waits, rather than fails, is not tried for longer than this in one write. The rest is handed
/// back, so that whoever holds it can stop, or go on with it.
const LONGEST_WRITE: Duration = Duration::from_secs(60);

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    TryAgain,
    /// Several smaller writes, of which most may go well.
    Divide,
    /// The row is at fault: a bare row takes its place.
    Refuse,
    /// The row may be taken another time, and says nothing of its neighbours.
    PutOff,
    /// Nothing is taken from anybody at present.
    Stop,
}

impl Remedy {
    /// For a failure that is the nth in a row of the same rows. The server has been found to answer
    /// where that was in doubt.
    fn of(error: &Error, alone: bool, is_piece: bool, failures: u32) -> Self {
        let alone_or_divide = |remedy| if alone { remedy } else { Self::Divide };
        if error.is_suspect() {
            let tries = SUSPECT_TRIES + u32::from(alone);
            return if failures < tries { Self::TryAgain } else { alone_or_divide(Self::Refuse) };
        }
        let tries = match error {
            _ if error.is_prompt() => CONTENTION_TRIES,
            _ if is_piece => 1,
            _ => LOCK_WAIT_TRIES,
        };
        match error.class() {
            // No fault of any row: all of them wait for a connection.
            Class::Contention if error.number().is_none() => Self::Stop,
            Class::Contention if failures < tries => Self::TryAgain,
            Class::Contention | Class::Slow => alone_or_divide(Self::PutOff),
            Class::Rejected => alone_or_divide(Self::Refuse),
            Class::Away => Self::Stop,
        }
    }
}

type Row<R> = (Box<Fetch>, R);
type Part<R> = (PartTold, R);

/// What is written together.
enum Chunk<R> {
    Rows(Vec<Row<R>>),
    Parts(Vec<Part<R>>),
}

impl<R> Chunk<R> {
    fn pieces(self) -> Vec<Self> {
        fn pieces<T>(mut rest: Vec<T>) -> Vec<Vec<T>> {
            let size = rest.len().div_ceil(PIECES).max(1);
            let mut pieces = Vec::with_capacity(PIECES);
            while rest.len() > size {
                let after = rest.split_off(size);
                pieces.push(std::mem::replace(&mut rest, after));
            }
            pieces.push(rest);
            pieces
        }
        match self {
            Self::Rows(rows) => pieces(rows).into_iter().map(Self::Rows).collect(),
            Self::Parts(parts) => pieces(parts).into_iter().map(Self::Parts).collect(),
        }
    }
}

/// Something refused, with its receipt and what the database said.
struct Refused<T, R>(T, R, String);

/// A batch that is being written.
struct Writing<'a, R> {
    store: &'a Store,
    began: Instant,
    /// What has not been tried yet, and whether it is a piece of something that failed. The oldest
    /// first: every piece is tried before one of them is divided again.
    todo: VecDeque<(Chunk<R>, bool)>,
    /// How many rows there are.
    rows: usize,
    rows_taken: usize,
    parts_taken: usize,
    items_taken: usize,
    taken: Vec<R>,
    /// Rows that were committed without their items, which the database refuses.
    without_item: Vec<Refused<Box<Fetch>, R>>,
    refused_rows: Vec<Refused<Box<Fetch>, R>>,
    refused_parts: Vec<Refused<PartTold, R>>,
    refused: Vec<Refusal<R>>,
    put_off: Batch<R>,
    /// Why; the most serious reason.
    error: Option<Error>,
    /// Nothing is taken from anybody, so nothing is tried any more.
    stopped: bool,
}

impl Store {
    /// Writes a batch, in one transaction unless something of it is not taken. A row that is already
    /// there is replaced, unless what is there was fetched later. It is safe to write a batch again.
    ///
    /// A failure is treated by its [`Class`]:
    /// - **rejected**: the row is found by dividing the batch. Where it has an item it is written without it,
    ///   else a bare row is written in its place. That every one of many rows or items is refused,
    ///   or that the database takes nothing at all, not even a bare row, is not about the rows: it
    ///   is an outage.
    /// - **contention**: the transaction is tried again, and then divided. A row that alone is
    ///   locked by others is left unwritten; its neighbours are committed.
    /// - **slow**: past the deadline, which grows with the batch's weight, it is divided.
    /// - **away**: where the server answers nobody else either, the rest is left unwritten. A row
    ///   alone that loses its connection again and again while others get through is refused.
    ///
    /// What is left unwritten has not been committed as far as is known, and is to be written again.
    pub async fn write<R>(&self, batch: Batch<R>) -> Written<R> {
        let Batch { mut entries, mut parts, .. } = batch;
        // In key order: transactions that lock rows in one order do not dead-lock each other.
        entries.sort_by_cached_key(|(row, _)| row.id);
        parts.sort_by(|(a, _), (b, _)| (&a.run, &a.part).cmp(&(&b.run, &b.part)));
        let mut writing = Writing::new(self, entries.len());
        // The parts first: these are few, and a run is known before its rows are.
        writing.todo.extend((!parts.is_empty()).then_some((Chunk::Parts(parts), false)));
        writing.todo.extend((!entries.is_empty()).then_some((Chunk::Rows(entries), false)));
        while let Some((chunk, is_piece)) = writing.todo.pop_front() {
            writing.write(chunk, is_piece).await;
        }
        writing.finish().await
    }
}

impl<'a, R> Writing<'a, R> {
    fn new(store: &'a Store, rows: usize) -> Self {
        Self {
            store,
            began: Instant::now(),
            todo: VecDeque::new(),
            rows,
            rows_taken: 0,
            parts_taken: 0,
            items_taken: 0,
            taken: Vec::with_capacity(rows),
            without_item: Vec::new(),
            refused_rows: Vec::new(),
            refused_parts: Vec::new(),
            refused: Vec::new(),
            put_off: Batch::default(),
            error: None,
            stopped: false,
        }
    }

    /// Writes this, or decides what is to be done about it.
    async fn write(&mut self, chunk: Chunk<R>, is_piece: bool) {
        if self.stopped {
            return self.keep(chunk);
        }
        match (self.attempt_chunk(&chunk, is_piece).await, chunk) {
            (Ok(()), chunk) => self.is_taken(chunk),
            (Err((Remedy::Divide, _)), chunk) => {
                self.todo.extend(chunk.pieces().into_iter().map(|piece| (piece, true)))
            }
            (Err((Remedy::Refuse, error)), Chunk::Rows(rows)) => {
                for (row, receipt) in rows {
                    self.refuse_row(row, receipt, error.reason()).await;
                }
            }
            (Err((Remedy::Refuse, error)), Chunk::Parts(parts)) => {
                let refused = parts.into_iter().map(|(part, receipt)| Refused(part, receipt, error.reason()));
                self.refused_parts.extend(refused);
            }
            (Err((remedy, error)), chunk) => {
                self.keep(chunk);
                self.fail(remedy, error);
            }
        }
    }

    async fn attempt_chunk(&self, chunk: &Chunk<R>, is_piece: bool) -> Result<(), (Remedy, Error)> {
        match chunk {
            Chunk::Rows(rows) => {
                let rows: Vec<&Fetch> = rows.iter().map(|(row, _)| &**row).collect();
                self.attempt(Contents::Rows(&rows), is_piece).await
            }
            Chunk::Parts(parts) => {
                let parts: Vec<&PartTold> = parts.iter().map(|(part, _)| part).collect();
                self.attempt(Contents::Parts(&parts), is_piece).await
            }
        }
    }

    /// Writes something in one transaction, again and again while that is sensible. In the end there
    /// is a remedy other than that.
    async fn attempt(&self, contents: Contents<'_>, is_piece: bool) -> Result<(), (Remedy, Error)> {
        let mut failures = 0;
        loop {
            let Err(error) = self.attempt_once(contents).await else { return Ok(()) };
            failures += 1;
            match Remedy::of(&error, contents.len() == 1, is_piece, failures) {
                Remedy::Stop => return Err((Remedy::Stop, error)),
                _ if error.class() != Class::Rejected && self.began.elapsed() > LONGEST_WRITE => {
                    return Err((Remedy::Stop, out_of_time(error)));
                }
                Remedy::TryAgain => tokio::time::sleep(pause_after(failures)).await,
                remedy => return Err((remedy, error)),
            }
        }
    }

    /// Writes something in one transaction. Where it fails in a way that leaves open whether the
    /// server answers anybody, that is asked, and then the answer counts.
    async fn attempt_once(&self, contents: Contents<'_>) -> Result<(), Error> {
        let thread = ServerThread::default();
        let written = self.store.write_at_once(contents, &thread).await;
        if let Err(error) = &written
            && (error.class() == Class::Slow || error.is_suspect())
        {
            self.store.answers(&thread).await?;
        }
        written
    }

    fn is_taken(&mut self, chunk: Chunk<R>) {
        match chunk {
            Chunk::Rows(rows) => {
                self.rows_taken += rows.len();
                self.items_taken += rows.iter().filter(|(row, _)| row.item.is_some()).count();
                self.taken.extend(rows.into_iter().map(|(_, receipt)| receipt));
            }
            Chunk::Parts(parts) => {
                self.parts_taken += parts.len();
                self.taken.extend(parts.into_iter().map(|(_, receipt)| receipt));
            }
        }
    }

    /// This is left unwritten.
    fn keep(&mut self, chunk: Chunk<R>) {
        match chunk {
            Chunk::Rows(rows) => rows.into_iter().for_each(|(row, receipt)| self.put_off.push(row, receipt)),
            Chunk::Parts(parts) => {
                parts.into_iter().for_each(|(part, receipt)| self.put_off.push_part(part, receipt));
            }
        }
    }

    /// This is why; an outage outweighs everything else.
    fn fail(&mut self, remedy: Remedy, error: Error) {
        self.stopped |= remedy == Remedy::Stop;
        if error.class() == Class::Away || self.error.is_none() {
            self.error = Some(error);
        }
    }

    /// A row that the database refuses is written without its item, where it has one.
    async fn refuse_row(&mut self, row: Box<Fetch>, receipt: R, reason: String) {
        let Some(without_item) = row.without_item(&reason) else {
            return self.refused_rows.push(Refused(row, receipt, reason));
        };
        match self.attempt(Contents::Rows(&[&without_item]), true).await {
            Ok(()) => {
                self.without_item.push(Refused(row, receipt, reason));
                if self.no_item_is_taken() {
                    self.stopped = true;
                }
            }
            Err((Remedy::Refuse, error)) => self.refused_rows.push(Refused(row, receipt, error.reason())),
            Err((remedy, error)) => {
                self.put_off.push(row, receipt);
                self.fail(remedy, error);
            }
        }
    }

    fn no_item_is_taken(&self) -> bool {
        self.without_item.len() >= NO_ACCIDENT && self.items_taken == 0
    }

    async fn finish(mut self) -> Written<R> {
        let items_left_out = self.finish_items();
        self.finish_rows().await;
        self.finish_parts().await;
        let batch = self.put_off;
        Written {
            taken: Committed::of(self.taken),
            refused: self.refused,
            items_left_out,
            unwritten: self.error.filter(|_| !batch.is_empty()).map(|error| Unwritten { batch, error }),
        }
    }

    /// Rows without their items are as good as written, unless no item is taken at all.
    fn finish_items(&mut self) -> Option<(usize, String)> {
        let no_item_is_taken = self.no_item_is_taken();
        let without_item = std::mem::take(&mut self.without_item);
        let count = without_item.len();
        let mut last = None;
        for Refused(row, receipt, reason) in without_item {
            match no_item_is_taken {
                true => self.put_off.push(row, receipt),
                false => {
                    self.rows_taken += 1;
                    self.taken.push(receipt);
                }
            }
            last = Some(reason);
        }
        match last {
            Some(reason) if no_item_is_taken => self.fail(Remedy::Stop, Error::EveryRowRefused(reason)),
            last => return last.map(|reason| (count, reason)),
        }
        None
    }

    /// Writes bare rows in the place of those that were refused, unless all were.
    async fn finish_rows(&mut self) {
        let refused = std::mem::take(&mut self.refused_rows);
        if refused.len() == self.rows && refused.len() >= NO_ACCIDENT {
            self.every_row_is_refused(refused.first().map(|Refused(.., reason)| reason.clone()));
        }
        let mut unrecorded = Vec::new();
        for Refused(row, receipt, reason) in refused {
            if self.stopped {
                self.put_off.push(row, receipt);
                continue;
            }
            match self.attempt(Contents::Rows(&[&row.bare(&reason)]), true).await {
                Ok(()) => {
                    self.rows_taken += 1;
                    self.refused.push(Refusal { receipt, recorded: true, reason });
                }
                Err((Remedy::Refuse, _)) => unrecorded.push(Refused(row, receipt, reason)),
                Err((remedy, error)) => {
                    self.put_off.push(row, receipt);
                    self.fail(remedy, error);
                }
            }
        }
        // Not even a bare row: that tells an outage.
        if self.rows_taken == 0 {
            self.every_row_is_refused(unrecorded.first().map(|Refused(.., reason)| reason.clone()));
        }
        for Refused(row, receipt, reason) in unrecorded {
            match self.stopped {
                true => self.put_off.push(row, receipt),
                false => self.refused.push(Refusal { receipt, recorded: false, reason }),
            }
        }
    }

    fn every_row_is_refused(&mut self, reason: Option<String>) {
        if let Some(reason) = reason {
            self.fail(Remedy::Stop, Error::EveryRowRefused(reason));
        }
    }

    /// A part has no bare form. It is at fault if the table takes another one.
    async fn finish_parts(&mut self) {
        let refused = std::mem::take(&mut self.refused_parts);
        if !refused.is_empty()
            && self.parts_taken == 0
            && !self.stopped
            && let Err((remedy, error)) = self.attempt(Contents::SamplePart, true).await
        {
            let error = match remedy {
                Remedy::Refuse => Error::EveryRowRefused(error.reason()),
                _ => error,
            };
            self.fail(Remedy::Stop, error);
        }
        for Refused(part, receipt, reason) in refused {
            match self.stopped {
                true => self.put_off.push_part(part, receipt),
                false => self.refused.push(Refusal { receipt, recorded: false, reason }),
            }
        }
    }
}

/// A connection that was lost is no outage while the server answers others.
fn out_of_time(error: Error) -> Error {
    match error.class() {
        Class::Away => Error::Deadline(LONGEST_WRITE.as_secs_f64(), "writing a batch piece by piece"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: bool = true;

    fn lost() -> Error {
        Error::database("cannot write")(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()))
    }

    #[test]
    fn a_connection_that_is_lost_again_and_again_is_the_fault_of_a_row_alone() {
        assert_eq!(Remedy::of(&lost(), !ALONE, false, 1), Remedy::TryAgain);
        assert_eq!(Remedy::of(&lost(), !ALONE, true, 2), Remedy::Divide);
        assert_eq!(Remedy::of(&lost(), ALONE, true, 2), Remedy::TryAgain);
        assert_eq!(Remedy::of(&lost(), ALONE, true, 3), Remedy::Refuse);
    }

    #[test]
    fn a_write_that_is_too_slow_is_divided_and_a_row_alone_is_put_off() {
        let slow = Error::Deadline(20.0, "writing");
        assert_eq!(Remedy::of(&slow, !ALONE, false, 1), Remedy::Divide);
        assert_eq!(Remedy::of(&slow, ALONE, true, 1), Remedy::PutOff);
    }

    #[test]
    fn what_is_no_fault_of_any_row_stops_the_write() {
        let none = Error::NoConnection { timeout_s: 5.0 };
        let busy = Error::PoolTimeout { timeout_s: 5.0, size: 2 };
        let silent = Error::Silent(5.0, "asking");
        let health = Error::TakesNoRows(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        for error in [none, busy, silent, health] {
            for alone in [false, true] {
                assert_eq!(Remedy::of(&error, alone, false, 1), Remedy::Stop, "{error}");
            }
        }
    }

    #[test]
    fn a_write_that_takes_too_long_in_all_is_no_outage() {
        assert_eq!(out_of_time(lost()).class(), Class::Slow);
        assert_eq!(out_of_time(Error::PoolTimeout { timeout_s: 5.0, size: 2 }).class(), Class::Contention);
    }

    #[test]
    fn a_value_that_cannot_be_encoded_is_found_by_dividing() {
        let bad = Error::database("cannot write")(sqlx::Error::Encode("too long".into()));
        assert_eq!(Remedy::of(&bad, !ALONE, false, 1), Remedy::Divide);
        assert_eq!(Remedy::of(&bad, ALONE, true, 1), Remedy::Refuse);
    }

    #[tokio::test]
    async fn what_no_database_takes_is_handed_back_whole() {
        let config = crate::StoreConfig {
            url: "mysql://root@127.0.0.1:9/x".to_owned(),
            pool: 1,
            pool_timeout: Duration::from_millis(50),
        };
        let store = Store::open(config).unwrap();
        let mut batch = Batch::default();
        for id in 1..=3 {
            batch.push(Box::new(Fetch::bare_of([id; 32], "r", crate::Outcome::Ok)), id);
        }
        let weight = batch.weight();
        let written = store.write(batch).await;
        let Some(Unwritten { batch, error }) = written.unwritten else { panic!("nothing was written") };
        assert_eq!((batch.len(), batch.weight(), error.class()), (3, weight, Class::Away));
        assert!(written.refused.is_empty() && written.taken.into_receipts().is_empty());
    }
}
