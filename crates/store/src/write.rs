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

/// Where the items of so many rows may be what is refused, and none was taken, a sample tells
/// whether the table takes any: somebody may have changed it, and can change it back.
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
/// What follows then, for what was refused until then, may take so long at least.
const LONGEST_FINISH: Duration = Duration::from_secs(20);

/// What was being done then.
const WRITING_PIECES: &str = "writing a batch piece by piece";

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
    /// This write has taken too long in all. What it has found out so far holds.
    Late,
    /// Nothing is taken from anybody at present.
    Stop,
}

impl Remedy {
    /// For the nth failure of this kind of the same rows. The server has been found to answer where
    /// that was in doubt.
    fn of(error: &Error, alone: bool, is_piece: bool, failures: u32) -> Self {
        let alone_or_divide = |remedy| if alone { remedy } else { Self::Divide };
        if error.is_wait_for_counts() {
            // No row of a task is locked: a smaller write would wait as well.
            return Self::PutOff;
        }
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

/// How often something has failed, by what its tries depend on: failures of different kinds do not
/// add up.
#[derive(Debug, Default)]
struct Failures {
    suspect: u32,
    prompt: u32,
    others: u32,
}

impl Failures {
    /// How often it has failed in this way, this time included.
    fn count(&mut self, error: &Error) -> u32 {
        let failures = match error {
            _ if error.is_suspect() => &mut self.suspect,
            _ if error.is_prompt() => &mut self.prompt,
            _ => &mut self.others,
        };
        *failures += 1;
        *failures
    }

    fn in_all(&self) -> u32 {
        self.suspect + self.prompt + self.others
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
    /// When it has taken too long.
    ends: Instant,
    /// What has not been tried yet, and whether it is a piece of something that failed. The oldest
    /// first: every piece is tried before one of them is divided again.
    todo: VecDeque<(Chunk<R>, bool)>,
    rows_taken: usize,
    parts_taken: usize,
    /// Whether the database was seen to take an item.
    takes_items: bool,
    taken: Vec<R>,
    /// How many rows were committed without their items, and why the last one.
    items_left_out: Option<(usize, String)>,
    refused_rows: Vec<Refused<Box<Fetch>, R>>,
    refused_parts: Vec<Refused<PartTold, R>>,
    refused: Vec<Refusal<R>>,
    put_off: Batch<R>,
    /// Why; the most serious reason.
    error: Option<Error>,
    /// Nothing is taken from anybody, so nothing is tried any more.
    stopped: bool,
    /// It has taken too long, so only what was refused is brought to an end.
    is_late: bool,
}

/// What is written in the place of a row that was refused, one after another until one is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The row as it is: what has passed meanwhile was no fault of the row.
    Whole,
    WithoutItem,
    Bare,
}

impl Store {
    /// Writes a batch, in one transaction unless something of it is not taken. A row that is already
    /// there is replaced, unless what is there was fetched later. It is safe to write a batch again.
    ///
    /// A failure is treated by its [`Class`]:
    /// - **rejected**: the row is found by dividing the batch, and tried once more. Where it has an
    ///   item it is written without it, else a bare row is written in its place. That the table
    ///   takes no item at all, or that not even bare rows are taken, is not about the rows: it is
    ///   an outage.
    /// - **contention**: the transaction is tried again, and then divided. A row that alone is
    ///   locked by others is left unwritten; its neighbours are committed.
    /// - **slow**: past the deadline, which grows with the batch's weight, it is divided. Where the
    ///   server commits nothing at all, it is away.
    /// - **away**: where the server answers nobody else either, the rest is left unwritten. A row
    ///   alone that loses its connection again and again while others get through is refused.
    ///
    /// What is left unwritten has not been committed as far as is known, and is to be written again.
    pub async fn write<R>(&self, batch: Batch<R>) -> Written<R> {
        let Batch { mut entries, mut parts, .. } = batch;
        // In key order: transactions that lock rows in one order do not dead-lock each other.
        entries.sort_by_cached_key(|(row, _)| row.id);
        parts.sort_by(|(a, _), (b, _)| (&a.run, &a.part).cmp(&(&b.run, &b.part)));
        let mut writing = Writing::new(self);
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
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            ends: Instant::now() + LONGEST_WRITE,
            todo: VecDeque::new(),
            rows_taken: 0,
            parts_taken: 0,
            takes_items: false,
            taken: Vec::new(),
            items_left_out: None,
            refused_rows: Vec::new(),
            refused_parts: Vec::new(),
            refused: Vec::new(),
            put_off: Batch::default(),
            error: None,
            stopped: false,
            is_late: false,
        }
    }

    /// Writes this, or decides what is to be done about it.
    async fn write(&mut self, chunk: Chunk<R>, is_piece: bool) {
        if self.stopped || self.is_late {
            return self.keep(chunk);
        }
        match (self.attempt_chunk(&chunk, is_piece).await, chunk) {
            (Ok(()), chunk) => self.is_taken(chunk),
            (Err((Remedy::Divide, error)), chunk) => {
                // Where nothing was quick enough yet, what is as large is not tried at all: the
                // server may be slow for every row, and the time is needed for smaller pieces.
                let all_are_slow = is_piece && error.class() == Class::Slow && self.taken.is_empty();
                let rest = if all_are_slow { std::mem::take(&mut self.todo) } else { VecDeque::new() };
                for chunk in std::iter::once(chunk).chain(rest.into_iter().map(|(chunk, _)| chunk)) {
                    self.todo.extend(chunk.pieces().into_iter().map(|piece| (piece, true)));
                }
            }
            (Err((Remedy::Refuse, error)), Chunk::Rows(rows)) => {
                let refused = rows.into_iter().map(|(row, receipt)| Refused(row, receipt, error.reason()));
                self.refused_rows.extend(refused);
                self.look_at_items().await;
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
        let mut failures = Failures::default();
        loop {
            let Err(error) = self.attempt_once(contents, is_piece).await else { return Ok(()) };
            match Remedy::of(&error, contents.len() == 1, is_piece, failures.count(&error)) {
                Remedy::Stop => return Err((Remedy::Stop, error)),
                _ if self.is_too_late(&error) => return Err((Remedy::Late, out_of_time(error))),
                Remedy::TryAgain => tokio::time::sleep(pause_after(failures.in_all())).await,
                remedy => return Err((remedy, error)),
            }
        }
    }

    /// Whether this write ends with that failure. One that is rejected goes on until it has found
    /// out something, or the next write would begin where it did.
    fn is_too_late(&self, error: &Error) -> bool {
        let refused_any = !(self.refused_rows.is_empty() && self.refused_parts.is_empty() && self.refused.is_empty());
        Instant::now() > self.ends && (error.class() != Class::Rejected || refused_any || !self.taken.is_empty())
    }

    /// Writes something in one transaction. Where it fails in a way that leaves open whether the
    /// server answers anybody, that is asked, and then the answer counts.
    async fn attempt_once(&self, contents: Contents<'_>, is_piece: bool) -> Result<(), Error> {
        let thread = ServerThread::default();
        let written = self.store.write_at_once(contents, is_piece, &thread).await;
        let Err(error) = &written else { return written };
        let is_slow = error.class() == Class::Slow;
        if is_slow || error.is_suspect() {
            self.store.answers(&thread).await?;
        }
        // What was committed before shows that the server commits.
        if is_slow && self.taken.is_empty() && self.refused.is_empty() {
            self.store.commits().await?;
        }
        written
    }

    fn is_taken(&mut self, chunk: Chunk<R>) {
        match chunk {
            Chunk::Rows(rows) => {
                self.rows_taken += rows.len();
                self.takes_items |= rows.iter().any(|(row, _)| row.item.is_some());
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
        self.is_late |= remedy == Remedy::Late;
        if error.class() == Class::Away || self.error.is_none() {
            self.error = Some(error);
        }
    }

    /// Where many rows with items were refused and no item was taken, a sample tells whether the
    /// table takes any.
    async fn look_at_items(&mut self) {
        let with_items = self.refused_rows.iter().filter(|Refused(row, ..)| row.item.is_some()).count();
        if !self.takes_items && with_items >= NO_ACCIDENT {
            self.takes_items = self.takes_sample(Contents::SampleItem).await;
        }
    }

    /// Whether a table takes a sample. If not, that is an outage.
    async fn takes_sample(&mut self, sample: Contents<'_>) -> bool {
        let Err((remedy, error)) = self.attempt(sample, true).await else { return true };
        let error = match remedy {
            Remedy::Refuse => Error::EveryRowRefused(error.reason()),
            _ => error,
        };
        self.fail(Remedy::Stop, error);
        false
    }

    async fn finish(mut self) -> Written<R> {
        self.ends = self.ends.max(Instant::now() + LONGEST_FINISH);
        self.finish_rows().await;
        self.finish_parts().await;
        let batch = self.put_off;
        Written {
            taken: Committed::of(self.taken),
            refused: self.refused,
            items_left_out: self.items_left_out,
            unwritten: self.error.filter(|_| !batch.is_empty()).map(|error| Unwritten { batch, error }),
        }
    }

    /// Writes something in the place of the rows that were refused.
    async fn finish_rows(&mut self) {
        let mut unrecorded = Vec::new();
        for refused in std::mem::take(&mut self.refused_rows) {
            let no_time_is_left = Instant::now() > self.ends;
            if no_time_is_left {
                self.fail(Remedy::Late, Error::Deadline(LONGEST_WRITE.as_secs_f64(), WRITING_PIECES));
            }
            match self.stopped || no_time_is_left {
                true => self.put_off.push(refused.0, refused.1),
                false => unrecorded.extend(self.finish_row(refused).await),
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

    /// Writes something in the place of a row that was refused. It is returned where not even a bare
    /// row is taken.
    async fn finish_row(&mut self, refused: Refused<Box<Fetch>, R>) -> Option<Refused<Box<Fetch>, R>> {
        let Refused(row, receipt, mut reason) = refused;
        for form in [Form::Whole, Form::WithoutItem, Form::Bare] {
            let stand_in = match form {
                Form::Whole => None,
                Form::WithoutItem if row.item.is_none() => continue,
                Form::WithoutItem => row.without_item(&reason),
                Form::Bare => Some(row.bare(&reason)),
            };
            match self.attempt(Contents::Rows(&[stand_in.as_ref().unwrap_or(&row)]), true).await {
                Ok(()) => {
                    self.row_is_finished(form, row, receipt, reason);
                    return None;
                }
                // The reason of a row is not that of its bare row.
                Err((Remedy::Refuse, error)) if form != Form::Bare => reason = error.reason(),
                Err((Remedy::Refuse, _)) => {}
                Err((remedy, error)) => {
                    self.put_off.push(row, receipt);
                    self.fail(remedy, error);
                    return None;
                }
            }
        }
        Some(Refused(row, receipt, reason))
    }

    fn row_is_finished(&mut self, form: Form, row: Box<Fetch>, receipt: R, reason: String) {
        if form == Form::Whole {
            return self.is_taken(Chunk::Rows(vec![(row, receipt)]));
        }
        self.rows_taken += 1;
        if form == Form::Bare {
            return self.refused.push(Refusal { receipt, recorded: true, reason });
        }
        self.taken.push(receipt);
        let left_out = self.items_left_out.as_ref().map_or(0, |(count, _)| *count);
        self.items_left_out = Some((left_out + 1, reason));
    }

    fn every_row_is_refused(&mut self, reason: Option<String>) {
        if let Some(reason) = reason {
            self.fail(Remedy::Stop, Error::EveryRowRefused(reason));
        }
    }

    /// A part has no bare form. It is at fault if the table takes another one.
    async fn finish_parts(&mut self) {
        let refused = std::mem::take(&mut self.refused_parts);
        if !refused.is_empty() && self.parts_taken == 0 && !self.stopped {
            self.takes_sample(Contents::SamplePart).await;
        }
        for Refused(part, receipt, reason) in refused {
            match self.stopped {
                true => self.put_off.push_part(part, receipt),
                false => self.refused.push(Refusal { receipt, recorded: false, reason }),
            }
        }
    }
}

/// A connection that was lost is no outage while the server answers others, and what is refused is
/// not refused for good before all of it was tried.
fn out_of_time(error: Error) -> Error {
    match error.class() {
        Class::Away | Class::Rejected => Error::Deadline(LONGEST_WRITE.as_secs_f64(), WRITING_PIECES),
        Class::Contention | Class::Slow => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: bool = true;

    /// A store whose database does not answer.
    fn nowhere() -> Store {
        let config = crate::StoreConfig {
            url: "mysql://root@127.0.0.1:9/x".to_owned(),
            pool: 1,
            pool_timeout: Duration::from_millis(50),
        };
        Store::open(config).unwrap()
    }

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
    fn failures_of_different_kinds_do_not_add_up_to_a_refusal() {
        let dead_lock = || Error::TakesNoRows(sqlx::Error::RowNotFound);
        let mut failures = Failures::default();
        assert_eq!([failures.count(&lost()), failures.count(&lost())], [1, 2]);
        assert_eq!([failures.count(&dead_lock()), failures.count(&lost())], [1, 3]);
        assert_eq!(failures.in_all(), 4);
    }

    #[tokio::test]
    async fn what_is_refused_is_tried_until_something_is_found_out_and_no_longer_than_a_minute() {
        let store = nowhere();
        let refused = || Error::database("cannot write")(sqlx::Error::Encode("too long".into()));
        let mut writing = Writing::new(&store);
        assert!(!writing.is_too_late(&lost()) && !writing.is_too_late(&refused()));
        writing.ends = Instant::now() - Duration::from_millis(1);
        assert!(writing.is_too_late(&lost()) && !writing.is_too_late(&refused()));
        writing.taken.push(1);
        assert!(writing.is_too_late(&refused()));
        assert_eq!(out_of_time(refused()).class(), Class::Slow);
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
        let store = nowhere();
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
