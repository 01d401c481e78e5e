//! robots.txt files, which one worker fetches for all.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::{Error, Store};

/// How long one worker may take to fetch a robots.txt before another one may try.
const LEASE: &str = "INTERVAL 60 SECOND";

/// The stored robots.txt of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotsFile {
    /// The status of the answer; `None` if there was no answer.
    pub status: Option<u16>,
    /// The first bytes of a 2xx answer; empty for other answers.
    pub body: Vec<u8>,
    /// The time since the file was fetched.
    pub age: Duration,
}

impl Store {
    /// The robots.txt of an origin (`https://shop.example:8443`); `None` if no worker has fetched
    /// it yet.
    pub async fn robots(&self, origin: &str) -> Result<Option<RobotsFile>, Error> {
        const READ: &str = "SELECT status, body, \
                            TIMESTAMPDIFF(MICROSECOND, fetched_at, UTC_TIMESTAMP(6)) \
                            FROM robots WHERE origin = ?";
        type Row = (Option<u16>, Option<Vec<u8>>, Option<i64>);
        self.with_connection("reading a robots.txt", async |connection| {
            let row = sqlx::query_as(READ).bind(origin).fetch_optional(connection).await;
            let row: Option<Row> = row.map_err(Error::database("cannot read a robots.txt"))?;
            // A row without a time belongs to a file that is being fetched for the first time.
            Ok(row.and_then(|(status, body, age)| {
                let age = Duration::from_micros(age?.max(0).unsigned_abs());
                Some(RobotsFile { status, body: body.unwrap_or_default(), age })
            }))
        })
        .await
    }

    /// Returns whether this worker has to fetch the file. If so, no other worker does for a minute,
    /// or until the answer is stored.
    pub async fn lease_robots(&self, origin: &str) -> Result<bool, Error> {
        let insert =
            "INSERT INTO robots (origin) VALUES (?) ON DUPLICATE KEY UPDATE origin = origin";
        let lease = format!(
            "UPDATE robots SET lease_until = UTC_TIMESTAMP(6) + {LEASE} \
             WHERE origin = ? AND (lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))"
        );
        let (what, failure) = ("leasing a robots.txt", "cannot lease a robots.txt");
        self.execute(what, failure, sqlx::query(insert).bind(origin)).await?;
        let lease = sqlx::query(AssertSqlSafe(lease)).bind(origin);
        Ok(self.execute(what, failure, lease).await? > 0)
    }

    /// Ends a lease without an answer.
    pub async fn end_robots_lease(&self, origin: &str) -> Result<(), Error> {
        let end = sqlx::query("UPDATE robots SET lease_until = NULL WHERE origin = ?").bind(origin);
        let (what, failure) = ("ending a robots.txt lease", "cannot end a robots.txt lease");
        self.execute(what, failure, end).await.map(drop)
    }

    /// Stores the answer, and ends the lease.
    pub async fn save_robots(
        &self,
        origin: &str,
        status: Option<u16>,
        body: &[u8],
    ) -> Result<(), Error> {
        const SAVE: &str = "UPDATE robots SET fetched_at = UTC_TIMESTAMP(6), status = ?, \
                            body = ?, lease_until = NULL WHERE origin = ?";
        let save = sqlx::query(SAVE).bind(status).bind(body).bind(origin);
        self.execute("writing a robots.txt", "cannot write a robots.txt", save).await.map(drop)
    }

    /// Keeps the stored file as one of this age, and ends the lease: the site gives no newer one.
    pub async fn renew_robots(&self, origin: &str, age: Duration) -> Result<(), Error> {
        const RENEW: &str = "UPDATE robots \
                             SET fetched_at = UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND, \
                             lease_until = NULL WHERE origin = ?";
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let renew = sqlx::query(RENEW).bind(age).bind(origin);
        self.execute("renewing a robots.txt", "cannot renew a robots.txt", renew).await.map(drop)
    }
}
