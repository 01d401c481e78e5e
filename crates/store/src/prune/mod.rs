//! Deletion of old rows and old bodies while workers write.
//!
//! Weeks whose rows are all old are dropped as partitions. Other old rows are found by their time
//! and deleted in small chunks in key order, with a pause after each.

mod bodies;
mod old_rows;
mod parts;
mod weeks;

use std::time::{Duration, Instant};

use time::PrimitiveDateTime;

pub use self::old_rows::ROWS_OF_PRUNE;

use crate::partitions::{self, Crowd};
use crate::pool::Lane;
use crate::{Error, Store};

/// The number of rows that are read, and deleted, together.
const CHUNK: usize = 500;
/// The longest pause after a chunk. Pauses otherwise take twice as long as their chunk, so that
/// workers have the database to themselves for two thirds of the time.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The deadline of a statement that reads or drops a whole week.
const WEEK_DEADLINE: Duration = Duration::from_secs(600);

/// What to delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Rows that were fetched longer ago.
    pub rows: Option<Duration>,
    /// Bodies that were fetched longer ago; their rows stay.
    pub bodies: Option<Duration>,
}

/// What pruning has deleted, or would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of rows of `fetches`.
    pub rows: u64,
    /// The number of weeks that were dropped as a whole. Their rows are among the above.
    pub weeks: u64,
    /// The number of rows that have lost their body.
    pub bodies: u64,
    /// The number of parts of runs that had no rows left.
    pub parts: u64,
    /// The number of runs of which nothing is left.
    pub runs: u64,
}

impl Store {
    /// Deletes old rows, the parts and runs that have no rows left, and what is known of pages that
    /// were not fetched since. Items and prices stay. `on_progress` is called with the totals. A
    /// dry run deletes nothing, and counts only rows and bodies.
    ///
    /// A part that is not complete keeps its rows for 30 days longer, unless it is cancelled.
    pub async fn prune(
        &self,
        retention: Retention,
        dry_run: bool,
        mut on_progress: impl FnMut(Pruned),
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        if !dry_run {
            self.prepare_partitions().await?;
        }
        if let Some(age) = retention.rows
            && let Some(cutoff) = self.time_before(age).await?
        {
            self.prune_rows(cutoff, dry_run, &mut pruned, &mut on_progress).await?;
            if !dry_run {
                self.forget_parts(cutoff, &mut pruned).await?;
                self.prune_pages(cutoff).await?;
            }
        }
        if let Some(age) = retention.bodies
            && let Some(cutoff) = self.time_before(age).await?
        {
            self.prune_bodies(cutoff, dry_run, &mut pruned, &mut on_progress).await?;
        }
        Ok(pruned)
    }

    /// Makes the partitions of the weeks to come, if this user may.
    async fn prepare_partitions(&self) -> Result<(), Error> {
        let prepared = self.change_table("preparing partitions", async |connection| {
            partitions::prepare(connection, Crowd::Stays).await
        });
        match prepared.await {
            Err(error) if !is_denied(&error) && !error.is_contention() => Err(error),
            _ => Ok(()),
        }
    }

    /// Changes a table. Gives up soon if somebody uses the table for long, since everybody who
    /// comes later waits behind the change.
    async fn change_table<T>(
        &self,
        what: &'static str,
        change: impl AsyncFnOnce(&mut sqlx::mysql::MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.pool
            .lend(Lane::Other, what, WEEK_DEADLINE, async |connection| {
                let failed = Error::database("cannot set up a session");
                let set = sqlx::raw_sql("SET SESSION lock_wait_timeout = 2");
                set.execute(&mut *connection).await.map_err(&failed)?;
                let changed = change(connection).await?;
                let reset = sqlx::raw_sql("SET SESSION lock_wait_timeout = DEFAULT");
                reset.execute(&mut *connection).await.map_err(&failed)?;
                Ok(changed)
            })
            .await
    }

    /// The database's time this long ago; `None` before the year 1000. The database has no such
    /// times, and no row is as old as that.
    async fn time_before(&self, age: Duration) -> Result<Option<PrimitiveDateTime>, Error> {
        let age = time::Duration::try_from(age).unwrap_or(time::Duration::MAX);
        self.with_connection("reading the time", async |connection| {
            let now: PrimitiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
                .fetch_one(connection)
                .await
                .map_err(Error::database("cannot read the time"))?;
            Ok(now.checked_sub(age).filter(|time| time.year() >= 1000))
        })
        .await
    }
}

/// Whether the user may not change tables.
fn is_denied(error: &Error) -> bool {
    /// `ER_DBACCESS_DENIED_ERROR`, `ER_TABLEACCESS_DENIED_ERROR`,
    /// `ER_SPECIFIC_ACCESS_DENIED_ERROR`.
    const DENIED: [u16; 3] = [1044, 1142, 1227];
    error.number().is_some_and(|number| DENIED.contains(&number))
}

/// Leaves the database to the workers for twice as long as a chunk took.
async fn pause_after(began: Instant) {
    tokio::time::sleep((began.elapsed() * 2).min(MAX_PAUSE)).await;
}
