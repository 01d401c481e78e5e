//! Weeks whose rows are all old.

use std::collections::HashSet;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};
use time::PrimitiveDateTime;

use super::{CHUNK, Pruned, WEEK_DEADLINE, is_denied, pause_after};
use crate::keys::keys_of_part;
use crate::partitions::{self, Week};
use crate::pool::Lane;
use crate::{Error, Store};

/// `ER_DROP_PARTITION_NON_EXISTENT`.
const NO_SUCH_PARTITION: u16 = 1507;

/// A week that can be dropped.
struct OldWeek {
    week: Week,
    /// The first and the last keys of its parts, in their order.
    parts: Vec<([u8; 16], [u8; 16])>,
}

impl Store {
    /// Drops the weeks that have only old rows, and rows of no part that is under way. If the user
    /// may not change tables, or somebody uses the table for long, their rows are left to be
    /// deleted one by one.
    pub(super) async fn drop_weeks(
        &self,
        cutoff: PrimitiveDateTime,
        unfinished: &HashSet<String>,
        pruned: &mut Pruned,
        on_progress: &mut impl FnMut(Pruned),
    ) -> Result<(), Error> {
        let weeks = self.with_connection("reading partitions", partitions::weeks).await?;
        let mut begin = "0".repeat(32);
        for week in weeks.into_iter().filter(|week| week.end() <= cutoff) {
            let first_key = std::mem::replace(&mut begin, week.end_key());
            let old = self.old_week(week, &first_key, cutoff, unfinished).await?;
            let Some(old) = old else { continue };
            self.delete_rows_without_part(&old, cutoff, pruned, on_progress).await?;
            match self.drop_week(week).await {
                Ok(rows) => {
                    pruned.rows += rows;
                    pruned.weeks += 1;
                    on_progress(*pruned);
                }
                Err(error) if is_denied(&error) || error.is_contention() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The week, if all its rows are old.
    async fn old_week(
        &self,
        week: Week,
        first_key: &str,
        cutoff: PrimitiveDateTime,
        unfinished: &HashSet<String>,
    ) -> Result<Option<OldWeek>, Error> {
        const PARTS: &str = "SELECT DISTINCT part FROM runs WHERE part >= ? AND part < ?";
        let failed = Error::database("cannot read the age of a week");
        let newest = format!("SELECT MAX(fetched_at) FROM fetches PARTITION ({})", week.name());
        self.pool
            .lend(Lane::Other, "reading the age of a week", WEEK_DEADLINE, async |connection| {
                let newest: Option<PrimitiveDateTime> = sqlx::query_scalar(AssertSqlSafe(newest))
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(&failed)?;
                if newest.is_some_and(|newest| newest >= cutoff) {
                    return Ok(None);
                }
                let parts: Vec<String> = sqlx::query_scalar(PARTS)
                    .bind(first_key)
                    .bind(week.end_key())
                    .fetch_all(connection)
                    .await
                    .map_err(&failed)?;
                if parts.iter().any(|part| unfinished.contains(part)) {
                    return Ok(None);
                }
                let mut parts: Vec<_> =
                    parts.iter().filter_map(|part| keys_of_part(part)).collect();
                parts.sort_unstable();
                Ok(Some(OldWeek { week, parts }))
            })
            .await
    }

    /// Deletes the rows of a week that belong to none of its parts: those of other programs. They
    /// have to be counted one by one, while the counts of a part are forgotten with it.
    async fn delete_rows_without_part(
        &self,
        old: &OldWeek,
        cutoff: PrimitiveDateTime,
        pruned: &mut Pruned,
        on_progress: &mut impl FnMut(Pruned),
    ) -> Result<(), Error> {
        let statement = format!(
            "SELECT id FROM fetches PARTITION ({}) WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
            old.week.name()
        );
        let ends = old.parts.iter().copied().chain([([0xff; 16], [0xff; 16])]);
        let mut after = [0; 16];
        for (first, last) in ends {
            loop {
                let began = std::time::Instant::now();
                let rows: Vec<Vec<u8>> = self
                    .with_connection("reading old rows", async |connection| {
                        sqlx::query_scalar(AssertSqlSafe(statement.clone()))
                            .bind(after.as_slice())
                            .bind(first.as_slice())
                            .bind(CHUNK as u32)
                            .fetch_all(connection)
                            .await
                            .map_err(Error::database("cannot read old rows"))
                    })
                    .await?;
                let keys: Vec<[u8; 16]> =
                    rows.into_iter().filter_map(|id| id.try_into().ok()).collect();
                let Some(end) = keys.last() else { break };
                after = *end;
                pruned.rows += self.delete_rows(&keys, cutoff).await?;
                on_progress(*pruned);
                pause_after(began).await;
            }
            after = last;
        }
        Ok(())
    }

    /// Drops a week. Returns how many rows it had.
    async fn drop_week(&self, week: Week) -> Result<u64, Error> {
        let count = format!("SELECT COUNT(*) FROM fetches PARTITION ({})", week.name());
        let drop = format!("ALTER TABLE fetches DROP PARTITION {}", week.name());
        self.change_table("dropping a week", async |connection: &mut MySqlConnection| {
            let failed = Error::database("cannot drop a week");
            let count = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *connection).await;
            let rows: i64 = count.map_err(&failed)?;
            match connection.execute(AssertSqlSafe(drop)).await.map_err(&failed) {
                // Another process was faster.
                Err(error) if error.number() == Some(NO_SUCH_PARTITION) => Ok(0),
                dropped => dropped.map(|_| rows.unsigned_abs()),
            }
        })
        .await
    }
}
