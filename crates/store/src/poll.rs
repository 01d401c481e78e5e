//! The poll: what a worker reads from the database once a second, on one connection.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;

use crate::hosts::{self, HostLimit};
use crate::pool::Lane;
use crate::runs;
use crate::store::check_writable;
use crate::{Error, Store};

/// A change becomes visible at most this long after its own time. It comes late if it waits for a
/// replica's acknowledgement (semi-synchronous replication), or belongs to a large transaction.
const VISIBILITY_DELAY: Duration = Duration::from_secs(15);
/// One poll in this many reads all cancelled parts, which shows the cancellations that were
/// revoked.
const FULL_POLL_INTERVAL: u32 = 30;
/// How long the messages of a cancelled run that belong to no part are cancelled.
const CANCELLED_WITHOUT_PART: Duration = Duration::from_secs(12 * 3_600);
/// If the database's clock went back (a failover to another server), changes are read again from
/// this long ago. Workers sit out no longer outage than that.
const CLOCK_STEP_BACK: Duration = Duration::from_secs(600);

/// The position of a poll: the next one reads the changes since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The database's time of the poll.
    at: PrimitiveDateTime,
    /// The number of polls since all cancelled parts were read, that one included.
    polls: u32,
}

/// The result of a poll.
#[derive(Clone, Debug)]
pub struct PollResult {
    /// In a first poll, the limits in force; later, those that may have changed since the last
    /// poll. A limit that was lifted appears as one that limits nothing. A limit may appear
    /// although it has not changed.
    pub limits: Vec<HostLimit>,
    /// The cancelled parts, as run and part: all of them if [`Self::cancelled_is_complete`], else
    /// those since the last poll. A part may appear again.
    pub cancelled: Vec<(String, String)>,
    /// Whether every part that is missing from [`Self::cancelled`] is not cancelled. This is so in
    /// a first poll, and in every thirtieth.
    pub cancelled_is_complete: bool,
    /// The cursor for the next poll.
    pub cursor: Cursor,
}

impl Store {
    /// Reads what has changed since an earlier poll, or everything that holds. Also reads the
    /// database's clock, which [`Self::now`] and [`Self::reserve`] need. Every poll but the first
    /// ends with the health check: an error of [`Class::Away`](crate::Class::Away) means that the
    /// database accepts no writes. After an error the caller polls again with the same cursor, so
    /// no change is missed.
    ///
    /// If nothing has changed, a poll reads no rows, except for one poll in thirty: that one reads
    /// all cancelled parts, and folds the counts of parts that have become complete.
    pub async fn poll(&self, since: Option<&Cursor>) -> Result<PollResult, Error> {
        const POLL: &str = "reading limits, cancelled runs and the health of the database";
        self.on_live_connection(|| {
            self.pool.lend(Lane::Other, POLL, self.pool.light_deadline(), async |connection| {
                // The time is read first: a change during the poll is read again.
                let now = hosts::read_time(connection, &self.clock).await?;
                let changed_after = since.map(|since| since.changed_after(now));
                let previous = since.filter(|since| since.polls < FULL_POLL_INTERVAL);
                let cancelled_after = changed_after.filter(|_| previous.is_some());
                let result = PollResult {
                    limits: hosts::read_limits(connection, changed_after).await?,
                    cancelled: read_cancelled(connection, cancelled_after).await?,
                    cancelled_is_complete: previous.is_none(),
                    cursor: Cursor { at: now, polls: previous.map_or(0, |last| last.polls) + 1 },
                };
                if since.is_some() {
                    check_writable(connection).await?;
                }
                if result.cancelled_is_complete {
                    // If it fails, the next full poll tries it again, of this or another worker.
                    _ = runs::fold_counts(connection).await;
                }
                Ok(result)
            })
        })
        .await
    }
}

impl Cursor {
    /// The time after which the poll may have missed changes.
    fn changed_after(self, now: PrimitiveDateTime) -> PrimitiveDateTime {
        match now < self.at {
            true => now - CLOCK_STEP_BACK,
            false => self.at - VISIBILITY_DELAY,
        }
    }
}

/// The cancelled parts, or those that were cancelled after a time.
async fn read_cancelled(
    connection: &mut MySqlConnection,
    after: Option<PrimitiveDateTime>,
) -> Result<Vec<(String, String)>, Error> {
    let query = match after {
        None => {
            // Cancelling applies to tasks that wait at that time. Those without a part cannot be
            // distinguished from later ones, so it holds for them no longer than they may wait.
            sqlx::query_as(
                "SELECT run, part FROM runs WHERE cancelled_at IS NOT NULL AND (part <> '' \
                 OR cancelled_at > UTC_TIMESTAMP(6) - INTERVAL ? SECOND)",
            )
            .bind(CANCELLED_WITHOUT_PART.as_secs())
        }
        Some(after) => {
            sqlx::query_as("SELECT run, part FROM runs WHERE cancelled_at > ?").bind(after)
        }
    };
    let cancelled = query.fetch_all(connection).await;
    cancelled.map_err(Error::database("cannot read which runs were cancelled"))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_clock_that_went_back_hides_no_change() {
        let last = Cursor { at: datetime!(2026-01-01 12:00:00), polls: 1 };
        for (now, expected) in [
            (datetime!(2026-01-01 12:00:01), datetime!(2026-01-01 11:59:45)),
            (datetime!(2026-01-01 11:30:00), datetime!(2026-01-01 11:20:00)),
        ] {
            assert_eq!(last.changed_after(now), expected);
        }
    }
}
