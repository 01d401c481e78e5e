//! Facts: what many workers notice, and one of them reports or carries out.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use time::PrimitiveDateTime;

use crate::{Error, Store};

/// A worker that has claimed a fact and has not reported it after this time is dead or cut off.
pub const FACT_LEASE: Duration = Duration::from_secs(30);
/// Facts are forgotten after this time. No fact may count for longer.
const LIFETIME: &str = "INTERVAL 8 DAY";
/// The maximum number of old facts that one statement deletes.
const EXPIRY_CHUNK: u32 = 100;

impl Store {
    /// Claims a fact for this worker. `None` if another worker has reported it within `window`, or
    /// is about to.
    pub async fn claim_fact(
        &self,
        fact: &[u8; 32],
        window: Duration,
    ) -> Result<Option<ClaimedFact>, Error> {
        self.claim_fact_since(fact, window, None).await
    }

    /// Like [`Self::claim_fact`] for a fact that was noticed this long ago, and that another one
    /// ends: what has ended since it was reported is reported again within `window` too.
    pub async fn claim_fact_again(
        &self,
        fact: &[u8; 32],
        window: Duration,
        end: &[u8; 32],
        noticed_ago: Duration,
    ) -> Result<Option<ClaimedFact>, Error> {
        let age_us = i64::try_from(noticed_ago.as_micros()).unwrap_or(i64::MAX);
        let ended_at: Option<PrimitiveDateTime> = self
            .with_connection("claiming a fact", async |connection| {
                // An end that came after the fact was noticed is that of this very fact.
                let select = "SELECT noted_at FROM facts \
                              WHERE fact = ? AND noted_at <= UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND";
                let select = sqlx::query_scalar(select).bind(end.as_slice()).bind(age_us);
                let ended_at = select.fetch_optional(connection).await;
                ended_at.map_err(Error::database("cannot claim a fact"))
            })
            .await?;
        self.claim_fact_since(fact, window, ended_at).await
    }

    /// Claims a fact that nobody has reported within `window`, or since it has ended.
    async fn claim_fact_since(
        &self,
        fact: &[u8; 32],
        window: Duration,
        ended_at: Option<PrimitiveDateTime>,
    ) -> Result<Option<ClaimedFact>, Error> {
        let claim: [u8; 16] = rand::random();
        let is_free = format!(
            "noted_at <= UTC_TIMESTAMP(6) - INTERVAL IF(told, ?, {}) SECOND OR noted_at < ?",
            FACT_LEASE.as_secs()
        );
        // Assignments run in order: the last two follow the first one.
        let statement = format!(
            "INSERT INTO facts (fact, claim, told, noted_at) \
             VALUES (?, ?, FALSE, UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE claim = IF({is_free}, VALUES(claim), claim), \
             told = IF(claim = VALUES(claim), FALSE, told), \
             noted_at = IF(claim = VALUES(claim), VALUES(noted_at), noted_at)"
        );
        let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        let owner: Option<Vec<u8>> = self
            .with_connection("claiming a fact", async |connection| {
                let failed = Error::database("cannot claim a fact");
                let insert = sqlx::query(AssertSqlSafe(statement));
                let insert = insert.bind(fact.as_slice()).bind(claim.as_slice());
                let insert = insert.bind(seconds).bind(ended_at);
                insert.execute(&mut *connection).await.map_err(&failed)?;
                let select = sqlx::query_scalar("SELECT claim FROM facts WHERE fact = ?");
                let owner = select.bind(fact.as_slice()).fetch_optional(connection).await;
                owner.map_err(&failed)
            })
            .await?;
        // Facts are deleted here, because they are rare. A failure does not matter, because the
        // next one tries again.
        _ = self.delete_old_facts().await;
        let is_own = owner.is_some_and(|owner| owner == claim);
        Ok(is_own.then_some(ClaimedFact { fact: *fact, claim }))
    }

    /// Records that a claimed fact is reported.
    pub async fn fact_reported(
        &self,
        ClaimedFact { fact, claim }: ClaimedFact,
    ) -> Result<(), Error> {
        let update = sqlx::query("UPDATE facts SET told = TRUE WHERE fact = ? AND claim = ?")
            .bind(fact.to_vec())
            .bind(claim.to_vec());
        self.execute("recording a fact", "cannot record a fact", update).await.map(drop)
    }

    async fn delete_old_facts(&self) -> Result<u64, Error> {
        let delete = format!(
            "DELETE FROM facts WHERE noted_at < UTC_TIMESTAMP(6) - {LIFETIME} \
             ORDER BY noted_at LIMIT {EXPIRY_CHUNK}"
        );
        let delete = sqlx::query(AssertSqlSafe(delete));
        self.execute("deleting old facts", "cannot delete old facts", delete).await
    }
}

/// The right and the duty to report a fact. If it is dropped, another worker may claim the fact
/// after [`FACT_LEASE`].
#[derive(Debug)]
#[must_use = "a fact that is not reported is reported by another worker"]
pub struct ClaimedFact {
    fact: [u8; 32],
    claim: [u8; 16],
}
