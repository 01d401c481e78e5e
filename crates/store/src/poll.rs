//! What a worker asks the database once a second, all of it on one connection.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;

use crate::hosts::{self, HostLimit};
use crate::pool::{DEADLINE, Lane, silent, takes_rows};
use crate::{Error, Store};

/// A change of a limit becomes visible at most this long after the time that it bears: it is one
/// statement.
const LIMIT_VISIBLE_WITHIN: Duration = Duration::from_secs(5);
/// The same for a cancelled part, which may be written in a transaction with many others.
const CANCELLED_VISIBLE_WITHIN: Duration = Duration::from_secs(30);
/// Where the database's clock went back (a failover to another server), changes are read again from
/// this long ago: an outage that workers sit out is no longer than that.
const CLOCK_WENT_BACK: Duration = Duration::from_secs(600);

/// The database's time of a reading; the next one asks what has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(PrimitiveDateTime);

/// What a reading has found.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The limits that hold, in a first reading; later those that may have changed since the last
    /// one. A limit that was lifted is among them, as one that limits nothing. A limit may be read
    /// again although it has not changed.
    pub limits: Vec<HostLimit>,
    /// The parts of runs, as run and part, that were cancelled: all in a first reading, later those
    /// since the last one. A part may be read again.
    pub cancelled: Vec<(String, String)>,
    /// For the next reading.
    pub cursor: Cursor,
}

impl Store {
    /// Reads what has changed since a reading, or, without one, everything that holds. It sets the
    /// clock, which [`Self::now`] and [`Self::reserve`] need. But for the first one, it ends with the
    /// health check: an error of [`Class::Away`](crate::Class::Away) means that the database takes no
    /// rows. After an error the same reading is asked for again, so nothing is missed.
    ///
    /// Where nothing has changed it reads no rows.
    pub async fn poll(&self, since: Option<&Cursor>) -> Result<Reading, Error> {
        const POLL: &str = "reading limits, cancelled runs and the health of the database";
        let poll = self.lend(Lane::Other, POLL, DEADLINE, async |connection| {
            // The time from before the rest is read: what changes meanwhile is read again.
            let now = hosts::read_time(connection, &self.clock).await?;
            let reading = Reading {
                limits: hosts::read_since(connection, since.map(|since| since.less(LIMIT_VISIBLE_WITHIN, now))).await?,
                cancelled: cancelled(connection, since.map(|since| since.less(CANCELLED_VISIBLE_WITHIN, now))).await?,
                cursor: Cursor(now),
            };
            if since.is_some() {
                takes_rows(connection).await?;
            }
            Ok(reading)
        });
        silent(poll.await)
    }
}

impl Cursor {
    /// From when on changes may not have been seen.
    fn less(self, visible_within: Duration, now: PrimitiveDateTime) -> PrimitiveDateTime {
        match now < self.0 {
            true => now - CLOCK_WENT_BACK,
            false => self.0 - visible_within,
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
        let last = Cursor(datetime!(2026-01-01 12:00:00));
        let five = Duration::from_secs(5);
        assert_eq!(last.less(five, datetime!(2026-01-01 12:00:01)), datetime!(2026-01-01 11:59:55));
        assert_eq!(last.less(five, datetime!(2026-01-01 11:30:00)), datetime!(2026-01-01 11:20:00));
    }
}
