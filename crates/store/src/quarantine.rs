//! Evidence of poison: tasks that were begun and have not ended.
//!
//! That a message was delivered often proves nothing: channels are lost, workers drain and pause. A
//! task that has come back several times gets a mark before it is begun, and loses it when it ends.
//! Marks that are left over count how often a worker went down with the task.

use std::collections::HashMap;

use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, AssertSqlSafe};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::{Error, Store, upsert};

/// A task that comes back later than this is a new one to us.
const FORGOTTEN_AFTER: &str = "INTERVAL 7 DAY";
/// Old marks that are deleted together.
const FORGOTTEN_AT_ONCE: u32 = 100;

impl Store {
    /// How often each of these tasks was begun without coming to an end; only tasks with a mark are
    /// in the answer.
    pub async fn begun(&self, ids: &[[u8; 32]]) -> Result<HashMap<[u8; 32], u32>, Error> {
        let failed = Error::database("cannot look for tasks in quarantine");
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut arguments = MySqlArguments::default();
        for id in ids {
            arguments.add(id.as_slice()).map_err(sqlx::Error::Encode).map_err(&failed)?;
        }
        let statement = format!("SELECT id, begun FROM quarantine WHERE id IN ({})", upsert::list("?", ids.len()));
        let rows: Vec<(Vec<u8>, u32)> = self
            .with_connection("looking for tasks in quarantine", async |connection| {
                let query = sqlx::query_as_with(AssertSqlSafe(statement), arguments).persistent(false);
                query.fetch_all(connection).await.map_err(&failed)
            })
            .await?;
        Ok(rows.into_iter().filter_map(|(id, begun)| Some((id.try_into().ok()?, begun))).collect())
    }

    /// Marks a task as begun once more. To be called before its fetch, and followed by
    /// [`Self::end_quarantined`] however it ends. `begun_at` is [`Self::now`] at the first try:
    /// repeated with the same worker and time, it counts once.
    pub async fn begin_quarantined(&self, id: &[u8; 32], worker: &str, begun_at: OffsetDateTime) -> Result<(), Error> {
        // Assigned in order: what the first one compares comes last.
        const BEGIN: &str = "INSERT INTO quarantine (id, begun, worker, begun_at) VALUES (?, 1, ?, ?) \
                             ON DUPLICATE KEY UPDATE \
                             begun = begun + IF(worker = VALUES(worker) AND begun_at = VALUES(begun_at), 0, 1), \
                             worker = VALUES(worker), begun_at = VALUES(begun_at)";
        let begun_at = PrimitiveDateTime::new(begun_at.date(), begun_at.time());
        let begin = sqlx::query(BEGIN).bind(id.as_slice()).bind(worker).bind(begun_at);
        self.change("marking a task as begun", "cannot mark a task as begun", begin).await?;
        // Here, since marks are rare: whoever makes none has nothing to forget. Whatever goes wrong,
        // the next mark tries it again.
        _ = self.forget_old_marks().await;
        Ok(())
    }

    /// The task has come to an end, and its worker is alive.
    pub async fn end_quarantined(&self, id: &[u8; 32]) -> Result<(), Error> {
        let end = sqlx::query("DELETE FROM quarantine WHERE id = ?").bind(id.as_slice());
        self.change("ending a quarantine", "cannot end a quarantine", end).await.map(drop)
    }

    async fn forget_old_marks(&self) -> Result<u64, Error> {
        let forget = format!(
            "DELETE FROM quarantine WHERE begun_at < UTC_TIMESTAMP(6) - {FORGOTTEN_AFTER} \
             ORDER BY begun_at LIMIT {FORGOTTEN_AT_ONCE}"
        );
        let forget = sqlx::query(AssertSqlSafe(forget));
        self.change("forgetting old marks", "cannot forget old marks", forget).await
    }
}
