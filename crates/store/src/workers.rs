//! The workers that run.

use sqlx::AssertSqlSafe;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::clock::to_stored;
use crate::{Error, Store};

/// A worker that was not seen for this long is lost.
const LOST_AFTER: &str = "INTERVAL 30 SECOND";

/// A worker that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerState {
    /// Its name.
    pub pod: String,
    /// When its process started.
    pub started_at: OffsetDateTime,
    /// Since when it is paused; `None` while it takes tasks.
    pub paused_since: Option<OffsetDateTime>,
    /// How many fetches it makes at the same time.
    pub concurrency: u32,
    /// How many messages it holds.
    pub unacked: u32,
    /// The offset of the last directive that it has obeyed; `None` if there was none.
    pub directive: Option<u64>,
    /// Why it fetches nothing; `None` while it can.
    pub obstacle: Option<String>,
}

/// The most characters of an obstacle.
const MAX_OBSTACLE: usize = 500;

impl Store {
    /// Records that a worker of a fleet runs. Returns whether it was not known before.
    pub async fn worker_seen(&self, prefix: &str, worker: &WorkerState) -> Result<bool, Error> {
        const SEEN: &str = "INSERT INTO workers \
             (prefix, pod, started_at, seen_at, paused_since, concurrency, unacked, directive, \
             obstacle) VALUES (?, ?, ?, UTC_TIMESTAMP(6), ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
             started_at = VALUES(started_at), seen_at = VALUES(seen_at), \
             paused_since = VALUES(paused_since), concurrency = VALUES(concurrency), \
             unacked = VALUES(unacked), directive = VALUES(directive), \
             obstacle = VALUES(obstacle)";
        let obstacle = worker.obstacle.as_ref();
        let obstacle = obstacle.map(|it| it.chars().take(MAX_OBSTACLE).collect::<String>());
        let seen = sqlx::query(SEEN)
            .bind(prefix)
            .bind(&worker.pod)
            .bind(to_stored(worker.started_at))
            .bind(worker.paused_since.map(to_stored))
            .bind(worker.concurrency)
            .bind(worker.unacked)
            .bind(worker.directive)
            .bind(obstacle);
        let rows = self.execute("recording a worker", "cannot record a worker", seen).await?;
        // An update counts as two rows, since the time changes.
        Ok(rows == 1)
    }

    /// The workers of a fleet that run.
    pub async fn workers(&self, prefix: &str) -> Result<Vec<WorkerState>, Error> {
        type Time = PrimitiveDateTime;
        type Row = (String, Time, Option<Time>, u32, u32, Option<u64>, Option<String>);
        let statement = format!(
            "SELECT pod, started_at, paused_since, concurrency, unacked, directive, obstacle \
             FROM workers WHERE prefix = ? AND seen_at > UTC_TIMESTAMP(6) - {LOST_AFTER} \
             ORDER BY pod"
        );
        let rows: Vec<Row> = self
            .with_connection("listing workers", async |connection| {
                let query = sqlx::query_as(AssertSqlSafe(statement)).bind(prefix);
                let rows = query.fetch_all(connection).await;
                rows.map_err(Error::database("cannot list workers"))
            })
            .await?;
        let worker = |row: Row| {
            let (pod, started_at, paused_since, concurrency, unacked, directive, obstacle) = row;
            let started_at = started_at.assume_utc();
            let paused_since = paused_since.map(PrimitiveDateTime::assume_utc);
            WorkerState { pod, started_at, paused_since, concurrency, unacked, directive, obstacle }
        };
        Ok(rows.into_iter().map(worker).collect())
    }

    /// The name of the first worker of a fleet that runs, in the order of names.
    pub async fn first_worker(&self, prefix: &str) -> Result<Option<String>, Error> {
        let statement = format!(
            "SELECT pod FROM workers WHERE prefix = ? \
             AND seen_at > UTC_TIMESTAMP(6) - {LOST_AFTER} ORDER BY pod LIMIT 1"
        );
        self.with_connection("looking for the first worker", async |connection| {
            let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(prefix);
            let first = query.fetch_optional(connection).await;
            first.map_err(Error::database("cannot look for the first worker"))
        })
        .await
    }

    /// Removes a worker that ends.
    pub async fn worker_ended(
        &self,
        prefix: &str,
        pod: &str,
        started_at: OffsetDateTime,
    ) -> Result<(), Error> {
        // A successor of the same name may run already.
        let delete =
            sqlx::query("DELETE FROM workers WHERE prefix = ? AND pod = ? AND started_at = ?");
        let delete = delete.bind(prefix).bind(pod).bind(to_stored(started_at));
        self.execute("removing a worker", "cannot remove a worker", delete).await.map(drop)
    }

    /// Removes the workers of a fleet that were not seen for half a minute, and returns their
    /// names. One caller gets each name.
    pub async fn lost_workers(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let is_lost = format!("prefix = ? AND seen_at <= UTC_TIMESTAMP(6) - {LOST_AFTER}");
        let select = format!("SELECT pod FROM workers WHERE {is_lost}");
        let pods: Vec<String> = self
            .with_connection("looking for lost workers", async |connection| {
                let query = sqlx::query_scalar(AssertSqlSafe(select)).bind(prefix);
                let pods = query.fetch_all(connection).await;
                pods.map_err(Error::database("cannot look for lost workers"))
            })
            .await?;
        let mut lost = Vec::new();
        for pod in pods {
            let delete = format!("DELETE FROM workers WHERE {is_lost} AND pod = ?");
            let delete = sqlx::query(AssertSqlSafe(delete)).bind(prefix).bind(&pod);
            let failure = "cannot remove a lost worker";
            if self.execute("removing a lost worker", failure, delete).await? == 1 {
                lost.push(pod);
            }
        }
        Ok(lost)
    }
}
