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
        let make = "INSERT INTO robots (origin) VALUES (?) ON DUPLICATE KEY UPDATE origin = origin";
        let lease = format!(
            "UPDATE robots SET lease_until = UTC_TIMESTAMP(6) + {LEASE} \
             WHERE origin = ? AND (lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))"
        );
        let (what, failed) = ("taking on a robots.txt", "cannot take on a robots.txt");
        self.change(what, failed, sqlx::query(make).bind(origin)).await?;
        let leased = self.change(what, failed, sqlx::query(sqlx::AssertSqlSafe(lease)).bind(origin)).await?;
        Ok(leased > 0)
    }

    /// It has turned out that there is nothing to ask for.
    pub async fn end_robots_lease(&self, origin: &str) -> Result<(), Error> {
        let end = sqlx::query("UPDATE robots SET lease_until = NULL WHERE origin = ?").bind(origin);
        self.change("giving up a robots.txt", "cannot give up a robots.txt", end).await.map(drop)
    }

    /// What came of asking for it. That ends the lease.
    pub async fn save_robots(&self, origin: &str, status: Option<u16>, body: &[u8]) -> Result<(), Error> {
        let save = sqlx::query(
            "UPDATE robots SET fetched_at = UTC_TIMESTAMP(6), status = ?, body = ?, lease_until = NULL WHERE origin = ?",
        );
        let save = save.bind(status).bind(body).bind(origin);
        self.change("writing a robots.txt", "cannot write a robots.txt", save).await.map(drop)
    }
}
