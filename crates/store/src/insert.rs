//! One transaction that writes rows, or parts of runs: it is committed as a whole, or not at all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe, Row};

#[cfg(feature = "bench")]
use crate::Batch;
use crate::fetch::{Body, Fetch};
use crate::pool::Lane;
use crate::product::ProductTold;
use crate::runs::{self, PartTold};
use crate::upsert::Upsert;
use crate::{Error, Store, counts, items};

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

/// What a write may take longer for each row. A disk without an SSD's speed reads about 100 pages a
/// second at random; a new row touches a page of the key's index and one of another index.
const DEADLINE_PER_ROW: Duration = Duration::from_millis(20);
/// What a write may take longer by its bytes: 8 Mbit/s is the slowest link that is reckoned with.
const DEADLINE_BYTES_PER_SECOND: usize = 1 << 20;

/// What a piece of something larger may take before its weight is added: a row that is slow is not
/// waited for while others have not been tried.
const PIECE_DEADLINE: Duration = Duration::from_secs(5);
/// So often a transaction is tried in which others had locked the row that was to count it, each
/// time with another such row.
const COUNT_TRIES: u32 = 5;

/// What is written in one transaction; rows and parts come in key order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contents<'a> {
    Rows(&'a [&'a Fetch]),
    Parts(&'a [&'a PartTold]),
    /// A part of a run that is rolled back again, to see whether the table takes any.
    SamplePart,
    /// The same for an item.
    SampleItem,
}

impl Contents<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Parts(parts) => parts.len(),
            Self::SamplePart | Self::SampleItem => 1,
        }
    }

    /// What writing it may take longer than writing nothing.
    fn allowance(&self) -> Duration {
        let bytes: usize = match self {
            Self::Rows(rows) => rows.iter().map(|row| row.weight()).sum(),
            Self::Parts(_) | Self::SamplePart | Self::SampleItem => 0,
        };
        let rows = u32::try_from(self.len()).unwrap_or(u32::MAX);
        DEADLINE_PER_ROW * rows + Duration::from_secs_f64(bytes as f64 / DEADLINE_BYTES_PER_SECOND as f64)
    }
}

/// How a transaction is tried.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Whether its rows are taken for new ones.
    all_new: bool,
    /// Which of the rows that count is used.
    slot: u8,
    deadline: Duration,
}

/// What became of the statements of a transaction.
enum Statements {
    /// All is as it should be.
    Done,
    /// There were more rows than was reckoned with.
    OthersWereThere,
    /// They were only to be tried.
    Sampled,
}

/// The server's end of the connection on which something was written last: its server and number.
///
/// A statement that a client does not wait for any longer goes on in the server and keeps its locks,
/// which the next try would meet.
#[derive(Debug, Default)]
pub(crate) struct ServerThread(Mutex<Option<(String, u64)>>);

/// Which server this is; behind one address there may be several.
const SERVER: &str = "CONCAT(@@hostname, ':', @@port, ':', @@server_id)";

impl ServerThread {
    /// Begins a transaction and remembers whose it is, in one round trip.
    async fn begin(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        self.forget();
        let begin = format!("SELECT {SERVER}, CAST(CONNECTION_ID() AS UNSIGNED); START TRANSACTION");
        let begun = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(connection).await.map_err(Error::TakesNoRows)?;
        // A server that says it in other types is one on which nothing can be ended.
        let begun = begun.iter().find_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = begun;
        Ok(())
    }

    /// Nothing is left of it: the connection may belong to somebody else by now.
    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends what is left of it, from another connection. It is no error that nothing is.
    pub(crate) async fn end(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        let Some((server, thread)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return Ok(());
        };
        let failed = Error::database("cannot end an old statement");
        let ask = format!("SELECT {SERVER}, CAST(CONNECTION_ID() AS UNSIGNED)");
        let here: (String, u64) =
            sqlx::query_as(AssertSqlSafe(ask)).fetch_one(&mut *connection).await.map_err(&failed)?;
        if here.0 == server && here.1 != thread {
            // Prepared, since a proxy takes a bare KILL for itself and for one of its own numbers.
            let kill = format!("PREPARE fetchline_kill FROM 'KILL CONNECTION {thread}'; EXECUTE fetchline_kill");
            let killed = sqlx::raw_sql(AssertSqlSafe(kill)).execute(connection).await;
            match killed.map_err(&failed) {
                Err(error) if error.number().is_none() => return Err(error),
                _ => {}
            }
        }
        self.forget();
        Ok(())
    }
}

impl Store {
    /// Writes everything in one transaction, or nothing. `thread` becomes the server's end of it.
    pub(crate) async fn write_at_once(
        &self,
        contents: Contents<'_>,
        is_piece: bool,
        thread: &ServerThread,
    ) -> Result<(), Error> {
        let deadline = deadline(self.write_deadline, contents, is_piece);
        let mut way = Way { all_new: true, slot: counts::any_slot(), deadline };
        let (mut waits, mut lost) = (0, 0);
        loop {
            match self.transaction(contents, way, thread).await {
                Ok(Statements::Done | Statements::Sampled) => return Ok(()),
                // Rows were there that were not reckoned with. What comes between the reading and the
                // writing is another's commit, so this ends.
                Ok(Statements::OthersWereThere) => way.all_new = false,
                Err(error) if error.is_wait_for_counts() && waits + 1 < COUNT_TRIES => {
                    waits += 1;
                    way.slot = counts::other_slot(way.slot);
                }
                // Before anything was written. All connections of the pool may be dead, and are
                // found to be so one by one.
                Err(error @ Error::TakesNoRows(_)) if error.is_lost() && lost < self.pool_size() => lost += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn transaction(&self, contents: Contents<'_>, way: Way, thread: &ServerThread) -> Result<Statements, Error> {
        self.lend(Lane::Commit, "writing a batch", way.deadline, async |connection| {
            thread.begin(connection).await?;
            let written = match self.statements(connection, contents, way).await {
                Ok(Statements::Done) => end(connection, "COMMIT").await.map(|()| Statements::Done),
                otherwise => otherwise,
            };
            match written {
                Ok(Statements::Done) => Ok(written),
                Err(error) if !error.leaves_connection_usable() => Err(error),
                // The server answers, so the connection is good for the next try; its locks are gone.
                not_written => match end(connection, "ROLLBACK").await {
                    Ok(()) => {
                        thread.forget();
                        Ok(not_written)
                    }
                    Err(error) => not_written.and(Err(error.of_no_row())),
                },
            }
        })
        .await?
    }

    async fn statements(
        &self,
        connection: &mut MySqlConnection,
        contents: Contents<'_>,
        way: Way,
    ) -> Result<Statements, Error> {
        match contents {
            Contents::Rows(rows) => self.insert(connection, rows, way).await,
            Contents::Parts(parts) => runs::write_parts(connection, parts).await.map(|()| Statements::Done),
            Contents::SamplePart => runs::write_sample_part(connection).await.map(|()| Statements::Sampled),
            Contents::SampleItem => {
                let sample = items::sample(self.now());
                let written = items::write(connection, &self.upsert_items, &[&sample], self.packet()).await;
                written.map(|()| Statements::Sampled)
            }
        }
    }

    /// Writes rows and counts them. The transaction is not to be committed where there were more of
    /// them than was reckoned with: none if they are taken for new, else those that can be read
    /// beforehand.
    async fn insert(&self, connection: &mut MySqlConnection, rows: &[&Fetch], way: Way) -> Result<Statements, Error> {
        let failed = Error::database("cannot write a batch");
        // Asked for now that there is a connection: it may have been made after a failover.
        let packet = self.packet();
        let present = match way.all_new {
            true => HashMap::new(),
            false => counts::lock(connection, rows).await?,
        };
        let changes = counts::Changes::of(rows, &present);
        let mut affected = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let fitting = self.upsert_fetches.fitting(rest, packet, |row| row.row_weight());
            let (chunk, after) = rest.split_at(fitting);
            let arguments = encode(chunk, packet).map_err(sqlx::Error::Encode).map_err(&failed)?;
            let statement = AssertSqlSafe(self.upsert_fetches.text(chunk.len()));
            let done = sqlx::query_with(statement, arguments).execute(&mut *connection).await.map_err(&failed)?;
            affected += done.rows_affected();
            rest = after;
        }
        if affected != changes.affected {
            return Ok(Statements::OthersWereThere);
        }
        items::write(connection, &self.upsert_items, rows, packet).await?;
        changes.write(connection, way.slot).await?;
        Ok(Statements::Done)
    }
}

/// How long a transaction may take.
fn deadline(of_whole: Duration, contents: Contents<'_>, is_piece: bool) -> Duration {
    let base = if is_piece { of_whole.min(PIECE_DEADLINE) } else { of_whole };
    base + contents.allowance()
}

async fn end(connection: &mut MySqlConnection, statement: &'static str) -> Result<(), Error> {
    let ended = sqlx::raw_sql(statement).execute(connection).await;
    ended.map(drop).map_err(Error::database("cannot end a transaction"))
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
    let rows: Vec<&Fetch> = batch.rows().collect();
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
    use crate::Outcome;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
    }

    #[test]
    fn a_piece_is_waited_for_no_longer_than_others_can_wait() {
        let row = Fetch::bare_of([1; 32], "r", Outcome::Ok);
        let rows = [&row; 100];
        let seconds = |whole: u64, is_piece| {
            deadline(Duration::from_secs(whole), Contents::Rows(&rows), is_piece).as_secs_f64().round()
        };
        assert_eq!((seconds(20, false), seconds(20, true), seconds(1, true)), (22.0, 7.0, 3.0));
    }

    #[test]
    fn a_heavy_batch_may_take_longer() {
        let row = Fetch::bare_of([1; 32], "r", Outcome::Ok);
        let heavy = Fetch { body: Body::Bytes(vec![0; 16 << 20]), ..row.clone() };
        let allowance = |rows: &[&Fetch]| Contents::Rows(rows).allowance().as_secs_f64();
        assert!((0.02..0.03).contains(&allowance(&[&row])));
        assert!((10.0..11.0).contains(&allowance(&[&row; 500])));
        assert!((16.0..17.0).contains(&allowance(&[&heavy])));
    }
}
