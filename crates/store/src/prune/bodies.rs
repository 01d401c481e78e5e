//! Bodies that were fetched too long ago, whose rows stay.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection};
use time::PrimitiveDateTime;

use super::old_rows::Scan;
use super::{Pruned, pause_after};
use crate::body::{HAS_BODY, NO_BODY};
use crate::positions::{lock_position, save_position};
use crate::statements::placeholders::{bind_keys, list};
use crate::{Error, Store, contention};

/// The time and the key of a row.
type Place = (PrimitiveDateTime, [u8; 16]);

/// The entry of `positions`.
const OPERATION: &str = "deletion of bodies";

impl Store {
    /// Deletes bodies in the order of their time, beginning where the last call ended. A row that
    /// is written later has a later time, so no row is read twice.
    pub(super) async fn prune_bodies(
        &self,
        cutoff: PrimitiveDateTime,
        dry_run: bool,
        pruned: &mut Pruned,
        on_progress: &mut impl FnMut(Pruned),
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let began = Instant::now();
            let delete = || self.delete_bodies(cutoff, dry_run, after);
            let Some((deleted, position)) = contention::retry(delete).await? else {
                return Ok(());
            };
            // Only a dry run has to remember where it is.
            after = Some(position).filter(|_| dry_run);
            pruned.bodies += deleted;
            on_progress(*pruned);
            pause_after(began).await;
        }
    }

    /// Deletes the bodies of the next rows. Returns their number and the last row; `None` if there
    /// are no further rows.
    async fn delete_bodies(
        &self,
        cutoff: PrimitiveDateTime,
        dry_run: bool,
        after: Option<Place>,
    ) -> Result<Option<(u64, Place)>, Error> {
        let failed = Error::database("cannot delete old bodies");
        self.with_connection("deleting old bodies", async |connection| {
            let mut transaction = connection.begin().await.map_err(&failed)?;
            let stored = lock_position(&mut transaction, OPERATION).await?;
            let stored = stored.and_then(|position| {
                Some((position.fetched_at?, position.last_key.try_into().ok()?))
            });
            let mut scan = match after.or(stored) {
                Some(after) => Scan::from(cutoff, after),
                None => Scan::from_the_first(cutoff),
            };
            let keys = scan.next(&mut transaction).await?;
            if keys.is_empty() {
                // Not by dropping it: that would leave the transaction open for now.
                return transaction.rollback().await.map(|()| None).map_err(&failed);
            }
            let rows =
                format!("id IN ({}) AND fetched_at < ? AND {HAS_BODY}", list("?", keys.len()));
            let bound = bind_keys(&keys).map_err(&failed)?;
            let (last, last_key) = scan.position();
            let deleted = if dry_run {
                let count = format!("SELECT COUNT(*) FROM fetches WHERE {rows}");
                let query = sqlx::query_scalar_with(AssertSqlSafe(count), bound).persistent(false);
                let count: i64 =
                    query.bind(cutoff).fetch_one(&mut *transaction).await.map_err(&failed)?;
                transaction.rollback().await.map_err(&failed)?;
                count.unsigned_abs()
            } else {
                let delete = format!("UPDATE fetches SET {NO_BODY} WHERE {rows}");
                let query = sqlx::query_with(AssertSqlSafe(delete), bound).persistent(false);
                let deleted = query.bind(cutoff).execute(&mut *transaction).await;
                // First: the position of bodies that are still there would skip them for ever.
                let deleted = deleted.map_err(&failed)?.rows_affected();
                save_position(&mut transaction, OPERATION, &last_key, Some(last)).await?;
                transaction.commit().await.map_err(&failed)?;
                deleted
            };
            Ok(Some((deleted, (last, last_key))))
        })
        .await
    }
}
