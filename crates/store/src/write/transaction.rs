//! One transaction that writes rows or part reports: all of them, or none.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;

use super::server_thread::ServerThread;
use crate::fetch::Fetch;
use crate::part_report::PartReport;
use crate::pool::Lane;
use crate::statements::{counts, fetches, items, pages, parts, vanished};
use crate::{Class, Error, Store};

/// The additional time for each row. A disk without an SSD's speed reads about 100 random pages per
/// second, and a new row touches a page of the primary key and one of another index.
const DEADLINE_PER_ROW: Duration = Duration::from_millis(20);
/// The additional time for the bytes: 8 Mbit/s is the slowest supported link.
const DEADLINE_BYTES_PER_SECOND: usize = 1 << 20;
/// The deadline for a piece of a batch, before its weight is added. A slow row must not delay
/// others that have not been tried.
const PIECE_DEADLINE: Duration = Duration::from_secs(5);
/// How often a transaction is tried that finds its slot of `run_counts` locked. Each try uses
/// another slot.
const MAX_SLOT_TRIES: u32 = 5;

/// The contents of one transaction. Rows and part reports come in key order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contents<'a> {
    Rows(&'a [&'a Fetch]),
    Parts(&'a [&'a PartReport]),
    /// A row that is rolled back, to check that the tables of rows accept any.
    SampleRow(&'a Fetch),
    /// A part that is rolled back, to check that `runs` accepts any.
    SamplePart,
    /// An item that is rolled back, to check that `items` accepts any.
    SampleItem,
}

impl Contents<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Parts(reports) => reports.len(),
            Self::SampleRow(_) | Self::SamplePart | Self::SampleItem => 1,
        }
    }

    /// The additional time for writing this.
    fn allowance(&self) -> Duration {
        let bytes: usize = match self {
            Self::Rows(rows) => rows.iter().map(|row| row.weight()).sum(),
            Self::Parts(_) | Self::SampleRow(_) | Self::SamplePart | Self::SampleItem => 0,
        };
        let rows = u32::try_from(self.len()).unwrap_or(u32::MAX);
        DEADLINE_PER_ROW * rows
            + Duration::from_secs_f64(bytes as f64 / DEADLINE_BYTES_PER_SECOND as f64)
    }

    /// The deadline of a transaction that writes this; `base` is the one for a whole batch.
    fn deadline(&self, base: Duration, is_piece: bool) -> Duration {
        let base = if is_piece { base.min(PIECE_DEADLINE) } else { base };
        base + self.allowance()
    }
}

/// How one try of a transaction runs.
#[derive(Clone, Copy, Debug)]
struct Options {
    /// Whether to assume that none of the rows exists.
    assume_new: bool,
    /// The slot of `run_counts`.
    slot: u8,
    deadline: Duration,
}

/// The result of a transaction's statements.
enum Applied {
    /// The transaction has to be committed.
    Complete,
    /// More rows existed than assumed, so the counts would be wrong: it has to be rolled back.
    UnexpectedRows,
    /// Only a sample was written: it has to be rolled back.
    Sample,
}

/// Writes everything in one transaction, or nothing. `thread` receives the server's thread.
pub(super) async fn write(
    store: &Store,
    contents: Contents<'_>,
    is_piece: bool,
    thread: &ServerThread,
) -> Result<(), Error> {
    let deadline = contents.deadline(store.write_deadline, is_piece);
    let mut options = Options { assume_new: true, slot: counts::random_slot(), deadline };
    let (mut slot_tries, mut lost) = (1, 0);
    loop {
        match run(store, contents, options, thread).await {
            Ok(Applied::Complete | Applied::Sample) => return Ok(()),
            // This ends: a row that appears after the existing ones were read has been committed by
            // somebody else.
            Ok(Applied::UnexpectedRows) => options.assume_new = false,
            Err(error) if error.is_locked_count() && slot_tries < MAX_SLOT_TRIES => {
                slot_tries += 1;
                options.slot = counts::next_slot(options.slot);
            }
            // The connection was lost before anything was written. All pooled connections may be
            // dead, which shows one by one.
            Err(error @ Error::TakesNoRows(_))
                if error.is_lost_connection() && lost < store.pool.size() =>
            {
                lost += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn run(
    store: &Store,
    contents: Contents<'_>,
    options: Options,
    thread: &ServerThread,
) -> Result<Applied, Error> {
    let deadline = options.deadline;
    store
        .pool
        .lend(Lane::Commit, "writing a batch", deadline, async |connection| {
            thread.begin(connection).await?;
            let result = match apply(store, connection, contents, options).await {
                Ok(Applied::Complete) => {
                    end(connection, "COMMIT").await.map(|()| Applied::Complete)
                }
                other => other,
            };
            match result {
                Ok(Applied::Complete) => Ok(result),
                Err(error) if !error.leaves_connection_usable() => Err(error),
                // The server answers. After a rollback the connection has no locks, and the next
                // try can use it.
                not_committed => match end(connection, "ROLLBACK").await {
                    Ok(()) => {
                        thread.forget();
                        Ok(not_committed)
                    }
                    Err(error) => not_committed.and(Err(error.without_row())),
                },
            }
        })
        .await?
}

async fn apply(
    store: &Store,
    connection: &mut MySqlConnection,
    contents: Contents<'_>,
    options: Options,
) -> Result<Applied, Error> {
    match contents {
        Contents::Rows(rows) => write_rows(store, connection, rows, options).await,
        Contents::Parts(reports) => {
            parts::write(connection, reports).await.map(|()| Applied::Complete)
        }
        Contents::SampleRow(row) => {
            let written = write_rows(store, connection, &[row], options).await?;
            Ok(match written {
                Applied::Complete => Applied::Sample,
                other => other,
            })
        }
        Contents::SamplePart => parts::write_sample(connection).await.map(|()| Applied::Sample),
        Contents::SampleItem => {
            let sample = items::sample(store.now());
            let packet = store.pool.connector().packet();
            let written = items::write(connection, &store.upsert_items, &[&sample], packet).await;
            written.map(|()| Applied::Sample)
        }
    }
}

/// Writes rows, their items, what is remembered of their pages, and their counts.
async fn write_rows(
    store: &Store,
    connection: &mut MySqlConnection,
    rows: &[&Fetch],
    options: Options,
) -> Result<Applied, Error> {
    // Read with a connection at hand, which may have been made after a failover.
    let packet = store.pool.connector().packet();
    let existing = match options.assume_new {
        true => HashMap::new(),
        false => counts::lock_existing(connection, rows).await?,
    };
    let changes = counts::CountChanges::of_upsert(rows, &existing);
    let affected = fetches::write(connection, &store.upsert_fetches, rows, packet).await?;
    if affected != changes.affected {
        return Ok(Applied::UnexpectedRows);
    }
    items::write(connection, &store.upsert_items, rows, packet).await?;
    unless_rejected(items::write_seen(connection, rows).await)?;
    unless_rejected(vanished::mark(connection, rows).await)?;
    pages::write(connection, &store.upsert_pages, rows, packet).await?;
    #[cfg(feature = "simulation")]
    if crate::planted::Fault::CountWithoutRow.is_planted() {
        return Ok(Applied::Complete);
    }
    changes.write(connection, options.slot).await?;
    Ok(Applied::Complete)
}

/// Ignores that the database refuses what a fetch says of an item that it has already: whatever is
/// wrong with the item, the fetch keeps its row.
fn unless_rejected(noted: Result<(), Error>) -> Result<(), Error> {
    match noted {
        Err(error) if error.class() == Class::Rejected => Ok(()),
        noted => noted,
    }
}

async fn end(connection: &mut MySqlConnection, statement: &'static str) -> Result<(), Error> {
    let ended = sqlx::raw_sql(statement).execute(connection).await;
    ended.map(drop).map_err(Error::database("cannot end a transaction"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, Outcome};

    #[test]
    fn a_piece_gets_a_shorter_deadline_than_a_batch() {
        let row = Fetch::example(1, "r", Outcome::Ok);
        let rows = [&row; 100];
        let seconds = |base: u64, is_piece| {
            let deadline = Contents::Rows(&rows).deadline(Duration::from_secs(base), is_piece);
            deadline.as_secs_f64().round()
        };
        assert_eq!((seconds(20, false), seconds(20, true), seconds(1, true)), (22.0, 7.0, 3.0));
    }

    #[test]
    fn a_heavy_batch_gets_more_time() {
        let row = Fetch::example(1, "r", Outcome::Ok);
        let heavy = Fetch { body: Body::Bytes(vec![0; 16 << 20]), ..row.clone() };
        let allowance = |rows: &[&Fetch]| Contents::Rows(rows).allowance().as_secs_f64();
        assert!((0.02..0.03).contains(&allowance(&[&row])));
        assert!((10.0..11.0).contains(&allowance(&[&row; 500])));
        assert!((16.0..17.0).contains(&allowance(&[&heavy])));
    }
}
