//! Folding: the counts of a complete part become one row per outcome and product.
//!
//! Every worker tries this now and then. A count that is written later, by a replay, gets a row of
//! its own, so the sums are right at every moment.

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;

use crate::Error;

/// The closed parts that are complete, although that is not recorded yet; of the latest 200 that
/// are not, so that parts which never become complete cost little. Binds the maximum number.
const COMPLETE_PARTS: &str = "SELECT candidate.run, candidate.part FROM \
                              (SELECT run, part, planned FROM runs FORCE INDEX (runs_incomplete) \
                              WHERE completed_at IS NULL AND closed_at IS NOT NULL \
                              ORDER BY closed_at DESC LIMIT 200) AS candidate \
                              WHERE candidate.part <> '' AND candidate.planned <= \
                              (SELECT COALESCE(SUM(counts.tasks), 0) FROM run_counts AS counts \
                              WHERE counts.run = candidate.run AND counts.part = candidate.part) \
                              LIMIT ?";
/// The maximum number of parts at a time.
const MAX_PARTS: u32 = 20;
/// The slot that receives the others.
const FOLDED_SLOT: u8 = 0;

/// Folds the counts of parts that have become complete, and records that they are.
pub(crate) async fn fold_counts(connection: &mut MySqlConnection) -> Result<(), Error> {
    let complete: Vec<(String, String)> = sqlx::query_as(COMPLETE_PARTS)
        .bind(MAX_PARTS)
        .fetch_all(&mut *connection)
        .await
        .map_err(Error::database("cannot read which parts are complete"))?;
    for (run, part) in complete {
        fold(connection, &run, &part).await?;
    }
    Ok(())
}

async fn fold(connection: &mut MySqlConnection, run: &str, part: &str) -> Result<(), Error> {
    // Only one worker gets past this lock while the part is not recorded as complete.
    const LOCK: &str = "SELECT planned FROM runs WHERE run = ? AND part = ? \
                        AND completed_at IS NULL FOR UPDATE";
    const COUNTS: &str = "SELECT outcome, product, slot, tasks FROM run_counts \
                          WHERE run = ? AND part = ? ORDER BY outcome, product, slot FOR UPDATE";
    // One by one: a count that a worker adds meanwhile was not read, and stays.
    const DELETE: &str = "DELETE FROM run_counts WHERE run = ? AND part = ? AND outcome = ? \
                          AND product = ? AND slot = ?";
    const ADD: &str = "INSERT INTO run_counts (run, part, outcome, product, slot, tasks) \
                       VALUES (?, ?, ?, ?, ?, ?) \
                       ON DUPLICATE KEY UPDATE tasks = tasks + VALUES(tasks)";
    const COMPLETE: &str =
        "UPDATE runs SET completed_at = UTC_TIMESTAMP(6) WHERE run = ? AND part = ?";
    let failed = Error::database("cannot fold the counts of a part");
    let mut transaction = connection.begin().await.map_err(&failed)?;
    let planned: Option<Option<u64>> = sqlx::query_scalar(LOCK)
        .bind(run)
        .bind(part)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
    let counts: Vec<(String, String, u8, i64)> = sqlx::query_as(COUNTS)
        .bind(run)
        .bind(part)
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
    let rows: i64 = counts.iter().map(|(.., tasks)| tasks).sum();
    let is_complete = planned
        .flatten()
        .is_some_and(|planned| i64::try_from(planned).is_ok_and(|planned| planned <= rows));
    if !is_complete {
        return transaction.rollback().await.map_err(&failed);
    }
    let others = counts.iter().filter(|(.., slot, _)| *slot != FOLDED_SLOT);
    for (outcome, product, slot, tasks) in others {
        let delete = sqlx::query(DELETE).bind(run).bind(part).bind(outcome).bind(product);
        delete.bind(slot).execute(&mut *transaction).await.map_err(&failed)?;
        let add = sqlx::query(ADD).bind(run).bind(part).bind(outcome).bind(product);
        let add = add.bind(FOLDED_SLOT).bind(tasks).execute(&mut *transaction);
        add.await.map_err(&failed)?;
    }
    let complete = sqlx::query(COMPLETE).bind(run).bind(part).execute(&mut *transaction);
    complete.await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)
}
