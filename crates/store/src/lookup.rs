//! Lookups of tasks that may already have a row.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::statements::placeholders::{bind_keys, list};
use crate::{Committed, Error, Outcome, Store};

/// What the row of a task says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFetch {
    /// `None` for an outcome of a newer release.
    pub outcome: Option<Outcome>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// The number of attempts.
    pub attempts: u32,
    /// When the last attempt ended.
    pub fetched_at: OffsetDateTime,
}

/// The result of a lookup.
#[derive(Debug)]
pub struct Lookup<R> {
    /// The tasks that have a row. The row is durable.
    pub found: Vec<(StoredFetch, Committed<R>)>,
    /// The tasks that have no row.
    pub missing: Vec<R>,
}

/// A lookup that failed.
#[derive(Debug)]
pub struct FailedLookup<R> {
    /// The tasks, to be looked up again.
    pub tasks: Vec<([u8; 16], R)>,
    /// Why the lookup failed.
    pub error: Error,
}

impl Store {
    /// The URLs of the newest rows.
    pub async fn newest_urls(&self, rows: u32) -> Result<Vec<String>, Error> {
        const SELECT: &str = "SELECT url FROM fetches ORDER BY fetched_at DESC, id DESC LIMIT ?";
        self.with_connection("reading the newest URLs", async |connection| {
            let urls = sqlx::query_scalar(SELECT).bind(rows).fetch_all(connection).await;
            urls.map_err(Error::database("cannot read the newest URLs"))
        })
        .await
    }

    /// Looks up the rows of tasks by their keys, in one statement.
    pub async fn look_up<R>(
        &self,
        tasks: Vec<([u8; 16], R)>,
    ) -> Result<Lookup<R>, FailedLookup<R>> {
        let stored = match self.stored_fetches(tasks.iter().map(|(key, _)| key)).await {
            Ok(stored) => stored,
            Err(error) => return Err(FailedLookup { tasks, error }),
        };
        let mut lookup = Lookup { found: Vec::new(), missing: Vec::new() };
        for (key, receipt) in tasks {
            match stored.get(&key) {
                Some(stored) => lookup.found.push((*stored, Committed::new(vec![receipt]))),
                None => lookup.missing.push(receipt),
            }
        }
        Ok(lookup)
    }

    async fn stored_fetches<'a>(
        &self,
        keys: impl ExactSizeIterator<Item = &'a [u8; 16]>,
    ) -> Result<HashMap<[u8; 16], StoredFetch>, Error> {
        type Row = (Vec<u8>, String, Option<u16>, u32, PrimitiveDateTime);
        let failed = Error::database("cannot look up tasks");
        if keys.len() == 0 {
            return Ok(HashMap::new());
        }
        let statement = format!(
            "SELECT id, outcome, status, attempts, fetched_at FROM fetches WHERE id IN ({})",
            list("?", keys.len())
        );
        let keys = bind_keys(keys).map_err(&failed)?;
        let rows: Vec<Row> = self
            .with_connection("looking up tasks", async |connection| {
                let query = sqlx::query_as_with(AssertSqlSafe(statement), keys).persistent(false);
                query.fetch_all(connection).await.map_err(&failed)
            })
            .await?;
        let stored = rows.into_iter().filter_map(|(id, outcome, status, attempts, fetched_at)| {
            let outcome = Outcome::of(&outcome);
            let fetched_at = fetched_at.assume_utc();
            Some((id.try_into().ok()?, StoredFetch { outcome, status, attempts, fetched_at }))
        });
        Ok(stored.collect())
    }
}
