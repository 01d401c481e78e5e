//! robots.txt, asked for by one worker for all.

use std::time::Duration;

use crate::{Error, Store};

/// How long one worker may take to ask a site for its robots.txt, before another one may try.
const LEASE: &str = "INTERVAL 60 SECOND";

/// What is known of the robots.txt of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotsFile {
    /// The status of the answer; `None` where there was none.
    pub status: Option<u16>,
    /// What a 2xx answer had, up to a limit.
    pub body: Vec<u8>,
    /// How long ago that was.
    pub age: Duration,
}

impl Store {
    /// The robots.txt of an origin (`https://shop.example:8443`); `None` where nobody has asked for it yet.
    pub async fn robots(&self, origin: &str) -> Result<Option<RobotsFile>, Error> {
        type Row = (Option<u16>, Option<Vec<u8>>, Option<i64>);
        self.with_connection("reading a robots.txt", async |connection| {
            let row: Option<Row> = sqlx::query_as(
                "SELECT status, body, TIMESTAMPDIFF(MICROSECOND, fetched_at, UTC_TIMESTAMP(6)) FROM robots WHERE origin = ?",
            )
            .bind(origin)
            .fetch_optional(connection)
            .await
            .map_err(Error::database("cannot read a robots.txt"))?;
            // A row without a time is one that is being asked for, for the first time.
            Ok(row.and_then(|(status, body, age)| {
                let age = Duration::from_micros(age?.max(0).unsigned_abs());
                Some(RobotsFile { status, body: body.unwrap_or_default(), age })
            }))
        })
        .await
    }

    /// Whether it is for this worker to ask for it. If so, nobody else does for a minute, or until the answer is there.
    pub async fn lease_robots(&self, origin: &str) -> Result<bool, Error> {
        let failed = Error::database("cannot take on a robots.txt");
        let make = "INSERT INTO robots (origin) VALUES (?) ON DUPLICATE KEY UPDATE origin = origin";
        let lease = format!(
            "UPDATE robots SET lease_until = UTC_TIMESTAMP(6) + {LEASE} \
             WHERE origin = ? AND (lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))"
        );
        self.with_connection("taking on a robots.txt", async |connection| {
            sqlx::query(make).bind(origin).execute(&mut *connection).await.map_err(&failed)?;
            let leased = sqlx::query(sqlx::AssertSqlSafe(lease)).bind(origin).execute(connection).await;
            Ok(leased.map_err(&failed)?.rows_affected() > 0)
        })
        .await
    }

    /// It has turned out that there is nothing to ask for.
    pub async fn end_robots_lease(&self, origin: &str) -> Result<(), Error> {
        self.with_connection("giving up a robots.txt", async |connection| {
            let ended = sqlx::query("UPDATE robots SET lease_until = NULL WHERE origin = ?").bind(origin);
            ended.execute(connection).await.map(drop).map_err(Error::database("cannot give up a robots.txt"))
        })
        .await
    }

    /// What came of asking for it. That ends the lease.
    pub async fn save_robots(&self, origin: &str, status: Option<u16>, body: &[u8]) -> Result<(), Error> {
        self.with_connection("writing a robots.txt", async |connection| {
            sqlx::query(
                "UPDATE robots SET fetched_at = UTC_TIMESTAMP(6), status = ?, body = ?, lease_until = NULL WHERE origin = ?",
            )
            .bind(status)
            .bind(body)
            .bind(origin)
            .execute(connection)
            .await
            .map(drop)
            .map_err(Error::database("cannot write a robots.txt"))
        })
        .await
    }
}
