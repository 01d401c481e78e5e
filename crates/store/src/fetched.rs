//! Reads which URLs were fetched in a period.

use time::{OffsetDateTime, PrimitiveDateTime};

use crate::clock::to_stored;
use crate::{Error, Outcome, Store};

/// The fetches of a period in the order of their end; binds the first time, twice, the last key at
/// that time, the last time of the period, and the number of rows.
pub const FETCHES_OF_PERIOD: &str = "\
     SELECT fetched_at, id, method, outcome, url FROM fetches FORCE INDEX (fetches_by_time) \
     WHERE fetched_at >= ? AND (fetched_at > ? OR id > ?) AND fetched_at <= ? \
     ORDER BY fetched_at, id LIMIT ?";

/// The number of rows that are read together.
const CHUNK: u32 = 5_000;

impl Store {
    /// The present time by the clock that rows are stamped with.
    pub async fn database_time(&self) -> Result<OffsetDateTime, Error> {
        let now: PrimitiveDateTime = self
            .with_connection("asking for the time", async |connection| {
                let now = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await;
                now.map_err(Error::database("cannot ask for the time"))
            })
            .await?;
        Ok(now.assume_utc())
    }

    /// Passes the method and the URL of each successful fetch that ended in a period to `fetched`,
    /// which returns whether to go on. Credentials in URLs are masked.
    pub async fn each_success(
        &self,
        (from, until): (OffsetDateTime, OffsetDateTime),
        mut fetched: impl FnMut(&str, &str) -> bool,
    ) -> Result<(), Error> {
        type Row = (PrimitiveDateTime, Vec<u8>, String, String, String);
        let failed = Error::database("cannot read which URLs were fetched");
        let (mut from, until, mut after) = (to_stored(from), to_stored(until), Vec::new());
        loop {
            let rows: Vec<Row> = self
                .with_connection("reading which URLs were fetched", async |connection| {
                    let query = sqlx::query_as(FETCHES_OF_PERIOD).bind(from).bind(from);
                    let query = query.bind(&after).bind(until).bind(CHUNK);
                    query.fetch_all(connection).await.map_err(&failed)
                })
                .await?;
            let is_last = rows.len() < CHUNK as usize;
            for (fetched_at, id, method, outcome, url) in rows {
                if Outcome::is_success_word(&outcome) && !fetched(&method, &url) {
                    return Ok(());
                }
                (from, after) = (fetched_at, id);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
