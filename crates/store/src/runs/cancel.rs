//! Cancellation of the parts of a run.

use sqlx::Connection;

use crate::contention;
use crate::{Error, Store};

impl Store {
    /// Cancels the known parts of a run, its parts that have begun and whose reports arrive later,
    /// and for [some hours](crate::Store::poll) its messages that belong to no part. Parts that
    /// begin later are fetched. Returns the number of known parts that were cancelled.
    pub async fn cancel_run(&self, run: &str) -> Result<u64, Error> {
        const WITHOUT_PART: &str = "INSERT INTO runs (run, part, created_at, cancelled_at) \
                                    VALUES (?, '', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
                                    ON DUPLICATE KEY UPDATE cancelled_at = VALUES(cancelled_at)";
        // No task of a complete part waits, so the part stays as it is.
        const PARTS: &str = "UPDATE runs SET cancelled_at = UTC_TIMESTAMP(6) \
                             WHERE run = ? AND part <> '' AND cancelled_at IS NULL \
                             AND completed_at IS NULL \
                             AND (planned IS NULL OR planned > \
                             (SELECT COALESCE(SUM(counts.tasks), 0) FROM run_counts AS counts \
                             WHERE counts.run = runs.run AND counts.part = runs.part))";
        let cancel = || {
            self.with_connection("cancelling a run", async |connection| {
                let failed = Error::database("cannot cancel a run");
                let mut transaction = connection.begin().await.map_err(&failed)?;
                let without_part = sqlx::query(WITHOUT_PART).bind(run);
                without_part.execute(&mut *transaction).await.map_err(&failed)?;
                let parts = sqlx::query(PARTS).bind(run).execute(&mut *transaction).await;
                let cancelled = parts.map_err(&failed)?.rows_affected();
                transaction.commit().await.map_err(&failed)?;
                Ok(cancelled)
            })
        };
        contention::retry(cancel).await
    }
}
