//! What is known of tasks already.

use std::collections::HashMap;

use sqlx::Arguments;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlArguments;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::{Committed, Error, Outcome, Store};

/// What the row of a task says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// `None` for an outcome of a newer release.
    pub outcome: Option<Outcome>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Tries.
    pub attempts: u32,
    /// When the last try ended.
    pub fetched_at: OffsetDateTime,
}

/// Tasks told by whether they have a row.
#[derive(Debug)]
pub struct LookedUp<R> {
    /// Those that have one, which is durable.
    pub found: Vec<(Known, Committed<R>)>,
    /// Those that have none.
    pub missing: Vec<R>,
}

/// A look-up that failed, with what was to be looked up.
pub type NotLookedUp<R> = (Vec<([u8; 32], R)>, Error);

impl Store {
    /// Looks up the rows of tasks by their keys, in one statement.
    pub async fn look_up<R>(&self, tasks: Vec<([u8; 32], R)>) -> Result<LookedUp<R>, NotLookedUp<R>> {
        let known = match self.known(tasks.iter().map(|(key, _)| key)).await {
            Ok(known) => known,
            Err(error) => return Err((tasks, error)),
        };
        let mut looked_up = LookedUp { found: Vec::new(), missing: Vec::new() };
        for (key, receipt) in tasks {
            match known.get(&key) {
                Some(known) => looked_up.found.push((*known, Committed::of(vec![receipt]))),
                None => looked_up.missing.push(receipt),
            }
        }
        Ok(looked_up)
    }

    async fn known<'a>(&self, keys: impl Iterator<Item = &'a [u8; 32]>) -> Result<HashMap<[u8; 32], Known>, Error> {
        let failed = Error::database("cannot look up tasks");
        let mut arguments = MySqlArguments::default();
        let mut count = 0;
        for key in keys {
            arguments.add(key.as_slice()).map_err(sqlx::Error::Encode).map_err(&failed)?;
            count += 1;
        }
        if count == 0 {
            return Ok(HashMap::new());
        }
        let statement = format!(
            "SELECT id, outcome, status, attempts, fetched_at FROM fetches WHERE id IN ({})",
            vec!["?"; count].join(",")
        );
        type Row = (Vec<u8>, String, Option<u16>, u32, PrimitiveDateTime);
        let rows: Vec<Row> = self
            .with_connection("looking up tasks", async |connection| {
                let query = sqlx::query_as_with(AssertSqlSafe(statement), arguments).persistent(false);
                query.fetch_all(connection).await.map_err(&failed)
            })
            .await?;
        let known = rows.into_iter().filter_map(|(id, outcome, status, attempts, fetched_at)| {
            let known = Known { outcome: Outcome::of(&outcome), status, attempts, fetched_at: fetched_at.assume_utc() };
            Some((id.try_into().ok()?, known))
        });
        Ok(known.collect())
    }
}
