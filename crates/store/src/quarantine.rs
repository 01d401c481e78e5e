//! The quarantine: marks of tasks that were begun and have not ended.
//!
//! Many deliveries of a message prove nothing: channels are lost, and workers drain and pause. A
//! task that was redelivered several times therefore gets a mark before it begins, and loses it
//! when it ends. The marks that remain count how often a worker died with the task.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

use crate::clock::to_stored;
use crate::statements::placeholders::{bind_keys, list};
use crate::{Error, Store};

/// After this time a mark no longer counts.
const MARK_LIFETIME: &str = "INTERVAL 7 DAY";
/// The maximum number of old marks that one statement deletes.
const EXPIRY_CHUNK: u32 = 100;

impl Store {
    /// How often each of these tasks was begun without an end. The map has only tasks with a mark.
    pub async fn begun(&self, ids: &[[u8; 16]]) -> Result<HashMap<[u8; 16], u32>, Error> {
        let failed = Error::database("cannot look for tasks in quarantine");
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = bind_keys(ids).map_err(&failed)?;
        let statement =
            format!("SELECT id, begun FROM quarantine WHERE id IN ({})", list("?", ids.len()));
        let rows: Vec<(Vec<u8>, u32)> = self
            .with_connection("looking for tasks in quarantine", async |connection| {
                let query = sqlx::query_as_with(AssertSqlSafe(statement), keys).persistent(false);
                query.fetch_all(connection).await.map_err(&failed)
            })
            .await?;
        Ok(rows.into_iter().filter_map(|(id, begun)| Some((id.try_into().ok()?, begun))).collect())
    }

    /// Marks a task as begun once more. The caller does so before the fetch, and calls
    /// [`Self::end_quarantined`] however the fetch ends. `begun_at` is [`Self::now`] at the first
    /// call: repeated calls with the same worker and time count once.
    pub async fn begin_quarantined(
        &self,
        id: &[u8; 16],
        worker: &str,
        begun_at: OffsetDateTime,
    ) -> Result<(), Error> {
        // Assignments run in order. The columns that the first one compares come last.
        const BEGIN: &str = "INSERT INTO quarantine (id, begun, worker, begun_at) \
                             VALUES (?, 1, ?, ?) ON DUPLICATE KEY UPDATE \
                             begun = begun + IF(worker = VALUES(worker) \
                             AND begun_at = VALUES(begun_at), 0, 1), \
                             worker = VALUES(worker), begun_at = VALUES(begun_at)";
        let begin = sqlx::query(BEGIN).bind(id.as_slice()).bind(worker).bind(to_stored(begun_at));
        self.execute("marking a task as begun", "cannot mark a task as begun", begin).await?;
        // Old marks are deleted here, because marks are rare: a fleet that makes none has none to
        // delete. A failure does not matter, because the next mark tries again.
        _ = self.delete_old_marks().await;
        Ok(())
    }

    /// Deletes the mark of a task that has ended while its worker is alive.
    pub async fn end_quarantined(&self, id: &[u8; 16]) -> Result<(), Error> {
        let end = sqlx::query("DELETE FROM quarantine WHERE id = ?").bind(id.as_slice());
        self.execute("ending a quarantine", "cannot end a quarantine", end).await.map(drop)
    }

    async fn delete_old_marks(&self) -> Result<u64, Error> {
        let delete = format!(
            "DELETE FROM quarantine WHERE begun_at < UTC_TIMESTAMP(6) - {MARK_LIFETIME} \
             ORDER BY begun_at LIMIT {EXPIRY_CHUNK}"
        );
        let delete = sqlx::query(AssertSqlSafe(delete));
        self.execute("deleting old marks", "cannot delete old marks", delete).await
    }
}
