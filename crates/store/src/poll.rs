//! What a worker asks the database once a second, all of it on one connection.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;

use crate::hosts::{self, HostLimit};
use crate::pool::{DEADLINE, Lane, takes_rows};
use crate::{Error, Store};

/// A change becomes visible at most this long after the time that it bears. One that waits for a
/// replica to acknowledge it (semi-synchronous replication), or was written in a transaction with
/// many others, comes late.
const VISIBLE_WITHIN: Duration = Duration::from_secs(15);
/// One reading in so many has all cancelled parts, so that one that somebody has taken back is
/// noticed.
const WHOLE_EVERY: u32 = 30;
/// Where the database's clock went back (a failover to another server), changes are read again from
/// this long ago: an outage that workers sit out is no longer than that.
const CLOCK_WENT_BACK: Duration = Duration::from_secs(600);

/// The database's time of a reading; the next one asks what has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    at: PrimitiveDateTime,
    /// How many readings there were since all cancelled parts were read, that one included.
    readings: u32,
}

/// What a reading has found.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The limits that hold, in a first reading; later those that may have changed since the last
    /// one. A limit that was lifted is among them, as one that limits nothing. A limit may be read
    /// again although it has not changed.
    pub limits: Vec<HostLimit>,
    /// The parts of runs, as run and part, that were cancelled: all where
    /// [`Self::cancelled_is_whole`], else those since the last reading. A part may be read again.
    pub cancelled: Vec<(String, String)>,
    /// Whether a part that is not among [`Self::cancelled`] is not cancelled: in a first reading,
    /// and in every thirtieth.
    pub cancelled_is_whole: bool,
    /// For the next reading.
    pub cursor: Cursor,
}

impl Store {
    /// Reads what has changed since a reading, or, without one, everything that holds. It sets the
    /// clock, which [`Self::now`] and [`Self::reserve`] need. But for the first one, it ends with the
    /// health check: an error of [`Class::Away`](crate::Class::Away) means that the database takes no
    /// rows. After an error the same reading is asked for again, so nothing is missed.
    ///
    /// Where nothing has changed it reads no rows, but for the cancelled parts in one reading of thirty.
    pub async fn poll(&self, since: Option<&Cursor>) -> Result<Reading, Error> {
        const POLL: &str = "reading limits, cancelled runs and the health of the database";
        self.on_a_live_connection(|| {
            self.lend(Lane::Other, POLL, DEADLINE, async |connection| {
                // The time from before the rest is read: what changes meanwhile is read again.
                let now = hosts::read_time(connection, &self.clock).await?;
                let since_then = since.map(|since| since.not_seen_before(now));
                let is_whole = since.is_none_or(|since| since.readings >= WHOLE_EVERY);
                let partial = since.filter(|_| !is_whole);
                let reading = Reading {
                    limits: hosts::read_since(connection, since_then).await?,
                    cancelled: cancelled(connection, since_then.filter(|_| !is_whole)).await?,
                    cancelled_is_whole: is_whole,
                    cursor: Cursor { at: now, readings: partial.map_or(0, |since| since.readings) + 1 },
                };
                if since.is_some() {
                    takes_rows(connection).await?;
                }
                Ok(reading)
            })
        })
        .await
    }
}

impl Cursor {
    /// From when on changes may not have been seen.
    fn not_seen_before(self, now: PrimitiveDateTime) -> PrimitiveDateTime {
        match now < self.at {
            true => now - CLOCK_WENT_BACK,
            false => self.at - VISIBLE_WITHIN,
        }
    }
}

/// The parts that were cancelled, or those after a moment.
async fn cancelled(
    connection: &mut MySqlConnection,
    since: Option<PrimitiveDateTime>,
) -> Result<Vec<(String, String)>, Error> {
    let query = match since {
        None => sqlx::query_as("SELECT run, part FROM runs WHERE cancelled_at IS NOT NULL"),
        Some(since) => sqlx::query_as("SELECT run, part FROM runs WHERE cancelled_at > ?").bind(since),
    };
    query.fetch_all(connection).await.map_err(Error::database("cannot read which runs were cancelled"))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_clock_that_went_back_hides_no_change() {
        let last = Cursor { at: datetime!(2026-01-01 12:00:00), readings: 1 };
        assert_eq!(last.not_seen_before(datetime!(2026-01-01 12:00:01)), datetime!(2026-01-01 11:59:45));
        assert_eq!(last.not_seen_before(datetime!(2026-01-01 11:30:00)), datetime!(2026-01-01 11:20:00));
    }
}
