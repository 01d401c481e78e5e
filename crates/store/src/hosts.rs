//! Host limits, which all workers share.
//!
//! A limit belongs to one host, to the names below one (`*.shop.example`), or to all hosts (`*`).
//! The three are rows of one table and differ only in their keys. The worker decides which of them
//! apply to a request.
//!
//! The database's clock is the only clock: the table has its times, and workers convert them to
//! their own. A slot is a moment at which one request may be sent. A reservation moves the host's
//! next free moment forward (the generic cell rate algorithm). A slot that nobody uses is lost, and
//! does no other harm.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::{Error, Store, contention};

/// The database's time in microseconds since 1970.
const NOW_US: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
/// The minimum time between two reductions of a host's rate, however many workers it throttles.
const SLOW_INTERVAL: &str = "INTERVAL 10 SECOND";
/// A host that no longer throttles gets twice its reduced rate after this time.
const RECOVERY_INTERVAL: &str = "INTERVAL 60 SECOND";
/// The lowest reduced rate, in requests per second.
const MIN_SLOWED: f64 = 0.1;
/// At this rate, in requests per second, a host has recovered.
const RECOVERED: f64 = 100.0;
/// The maximum error of the clock since its last reading.
const CLOCK_ERROR: Duration = Duration::from_millis(250);

/// The limit of a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostLimit {
    /// The lower-case ASCII name, with `:port` only if the port is not the scheme's default; or
    /// `*.` and a suffix of names; or `*`.
    pub host: String,
    /// The requests per second that an operator allows.
    pub rate: Option<f64>,
    /// Whether an operator has paused the host.
    pub paused: bool,
    /// How long the host still cools down, without requests.
    pub cool_down: Option<Duration>,
    /// The reduced requests per second of a host that throttles, with two decimals.
    pub slowed: Option<f64>,
    /// The minimum time between requests by the host's robots.txt.
    pub crawl_delay: Option<Duration>,
    /// The last change that the host's answers caused, and its reason.
    pub note: Option<String>,
}

impl HostLimit {
    /// The time between two requests, by the strictest of the limits; `None` without a limit.
    pub fn interval(&self) -> Option<Duration> {
        let of_rate =
            |rate: f64| Duration::try_from_secs_f64(rate.recip()).unwrap_or(Duration::MAX);
        [self.rate.map(of_rate), self.slowed.map(of_rate), self.crawl_delay]
            .into_iter()
            .flatten()
            .max()
    }

    /// Whether it still limits anything when it was read this long ago.
    pub fn is_in_force(&self, elapsed: Duration) -> bool {
        self.paused
            || self.interval().is_some()
            || self.cool_down.is_some_and(|wait| wait > elapsed)
    }
}

/// The result of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The slots are reserved, and this is the first one. As far as the database's clock can be
    /// read, this is never too early.
    From(Instant),
    /// No slot is free soon enough; the next one is free after this time.
    Later(Duration),
    /// The host is paused.
    Paused,
    /// The host has no row.
    Unlimited,
}

impl Store {
    /// Every host that has a row, by name.
    pub async fn hosts(&self) -> Result<Vec<HostLimit>, Error> {
        self.with_connection("listing hosts", async |connection| {
            select(connection, "TRUE ORDER BY host", None).await
        })
        .await
    }

    /// Reserves consecutive slots. The first one is free within `patience`, but not before `lead`
    /// has passed: a slot before that would be lost while the answer is on its way.
    ///
    /// `host` may be the key of any limit: a name, `*.` and a suffix of names, or `*`.
    pub async fn reserve(
        &self,
        host: &str,
        slots: u32,
        interval: Duration,
        lead: Duration,
        patience: Duration,
    ) -> Result<Reserved, Error> {
        let reserve = format!(
            "UPDATE hosts SET next_us = LAST_INSERT_ID(GREATEST(next_us, {NOW_US} + ?)) + ? \
             WHERE host = ? AND NOT paused AND next_us <= {NOW_US} + ?"
        );
        contention::retry(|| {
            self.with_connection("reserving slots of a host", async |connection| {
                let asked = Instant::now();
                let reserved = sqlx::query(AssertSqlSafe(reserve.as_str()))
                    .bind(micros(lead))
                    .bind(micros(interval.saturating_mul(slots)))
                    .bind(host)
                    .bind(micros(patience))
                    .execute(&mut *connection)
                    .await
                    .map_err(Error::database("cannot reserve slots of a host"))?;
                if reserved.rows_affected() == 0 {
                    return why_not_reserved(connection, host).await;
                }
                let first_us = i64::try_from(reserved.last_insert_id()).unwrap_or(i64::MAX);
                let earliest = asked + lead;
                let latest = Instant::now() + lead.max(patience);
                Ok(Reserved::From(self.to_instant(connection, first_us, earliest, latest).await?))
            })
        })
        .await
    }

    /// The local moment at which the database's clock is at `time_us`, which lies between two
    /// moments. If the clock says otherwise, it was set since its last reading, and is read again.
    async fn to_instant(
        &self,
        connection: &mut MySqlConnection,
        time_us: i64,
        earliest: Instant,
        latest: Instant,
    ) -> Result<Instant, Error> {
        let is_plausible =
            |moment: &Instant| *moment + CLOCK_ERROR >= earliest && *moment <= latest + CLOCK_ERROR;
        let moment = match self.clock.instant_at(time_us).filter(is_plausible) {
            Some(moment) => moment,
            None => {
                read_time(connection, &self.clock).await?;
                self.clock.instant_at(time_us).unwrap_or(latest)
            }
        };
        // The statement itself guarantees these bounds.
        Ok(moment.clamp(earliest, latest))
    }

    /// Stops requests to a host for this long, because the host has asked for it. A longer
    /// cool-down that is already in force stays.
    pub async fn cool_down(&self, host: &str, wait: Duration, why: &str) -> Result<(), Error> {
        let until = "UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND";
        let stored = "COALESCE(cool_down_until, '1970-01-01')";
        let statement = format!(
            "INSERT INTO hosts (host, cool_down_until, next_us, note, changed_at) \
             VALUES (?, {until}, {NOW_US} + ?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE \
             note = IF(VALUES(cool_down_until) > {stored}, VALUES(note), note), \
             cool_down_until = GREATEST({stored}, VALUES(cool_down_until)), \
             next_us = GREATEST(next_us, VALUES(next_us)), changed_at = VALUES(changed_at)"
        );
        let wait = micros(wait);
        let statement =
            sqlx::query(AssertSqlSafe(statement)).bind(host).bind(wait).bind(wait).bind(why);
        self.execute("cooling a host down", "cannot cool a host down", statement).await.map(drop)
    }

    /// Reduces the rate of a host that throttles: to this many requests per second, or to half of
    /// its reduced rate if that is lower. [`Self::let_hosts_recover`] raises the rate again.
    pub async fn slow(&self, host: &str, rate: f64, why: &str) -> Result<(), Error> {
        let is_due =
            format!("COALESCE(slowed_at, '1970-01-01') <= UTC_TIMESTAMP(6) - {SLOW_INTERVAL}");
        let halved = format!(
            "GREATEST(LEAST(COALESCE(slowed / 2, VALUES(slowed)), VALUES(slowed)), {MIN_SLOWED})"
        );
        // Assignments run in order. The column that the condition compares comes last.
        let statement = format!(
            "INSERT INTO hosts (host, slowed, slowed_at, note, changed_at) \
             VALUES (?, GREATEST(?, {MIN_SLOWED}), UTC_TIMESTAMP(6), ?, UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE \
             note = IF({is_due}, VALUES(note), note), \
             changed_at = IF({is_due}, VALUES(changed_at), changed_at), \
             slowed = IF({is_due}, {halved}, slowed), \
             slowed_at = IF({is_due}, VALUES(slowed_at), slowed_at)"
        );
        let statement = sqlx::query(AssertSqlSafe(statement)).bind(host).bind(rate).bind(why);
        self.execute("slowing a host", "cannot slow a host", statement).await.map(drop)
    }

    /// Doubles the rate of hosts that have not throttled for a while, until they have their
    /// original rate.
    pub async fn let_hosts_recover(&self) -> Result<(), Error> {
        let statement = format!(
            "UPDATE hosts SET slowed = IF( \
                 slowed * 2 >= LEAST(COALESCE(rate, {RECOVERED}), {RECOVERED}), NULL, slowed * 2), \
             note = IF(slowed IS NULL, 'recovered: slowed no more', \
                 CONCAT('recovering: ', ROUND(slowed, 2), '/s')), \
             slowed_at = UTC_TIMESTAMP(6), changed_at = UTC_TIMESTAMP(6) \
             WHERE slowed IS NOT NULL AND slowed_at <= UTC_TIMESTAMP(6) - {RECOVERY_INTERVAL}"
        );
        let statement = sqlx::query(AssertSqlSafe(statement));
        let (what, failure) = ("letting hosts recover", "cannot let hosts recover");
        self.execute(what, failure, statement).await.map(drop)
    }

    /// Sets the time between requests that a host's robots.txt asks for; `None` lifts it.
    pub async fn set_crawl_delay(&self, host: &str, delay: Option<Duration>) -> Result<(), Error> {
        // Most hosts have no row, and lifting does not create one.
        const LIFT: &str = "UPDATE hosts SET crawl_delay = NULL, changed_at = UTC_TIMESTAMP(6) \
                            WHERE host = ? AND crawl_delay IS NOT NULL";
        match delay {
            Some(delay) => {
                self.change_host(host, "crawl_delay = ?", Some(Some(delay.as_secs_f64()))).await
            }
            None => {
                let (what, failure) = ("lifting a crawl-delay", "cannot lift a crawl-delay");
                self.execute(what, failure, sqlx::query(LIFT).bind(host)).await.map(drop)
            }
        }
    }

    /// Sets the requests per second of a host; `None` lifts the limit. Releases slots that were
    /// reserved far ahead.
    pub async fn set_rate(&self, host: &str, rate: Option<f64>) -> Result<(), Error> {
        let set = format!(
            "rate = ?, next_us = LEAST(next_us, GREATEST({NOW_US}, \
             COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', cool_down_until), 0)))"
        );
        self.change_host(host, &set, Some(rate)).await
    }

    /// Stops all requests to a host.
    pub async fn pause_host(&self, host: &str) -> Result<(), Error> {
        self.change_host(host, "paused = TRUE", None).await
    }

    /// Ends a pause, and the limits that the host's answers have caused: the cool-down and the
    /// reduced rate.
    pub async fn resume_host(&self, host: &str) -> Result<(), Error> {
        let set = "paused = FALSE, cool_down_until = NULL, slowed = NULL, slowed_at = NULL, \
                   next_us = 0, note = NULL";
        self.change_host(host, set, None).await
    }

    /// Changes the row of a host, and creates it if it is missing. `value` is for the placeholder
    /// in `set`, if there is one.
    async fn change_host(
        &self,
        host: &str,
        set: &str,
        value: Option<Option<f64>>,
    ) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO hosts (host, changed_at) VALUES (?, UTC_TIMESTAMP(6)) \
                              ON DUPLICATE KEY UPDATE host = host";
        let update =
            format!("UPDATE hosts SET {set}, changed_at = UTC_TIMESTAMP(6) WHERE host = ?");
        contention::retry(|| {
            self.with_connection("changing the limits of a host", async |connection| {
                let failed = Error::database("cannot change the limits of a host");
                let insert = sqlx::query(INSERT).bind(host);
                insert.execute(&mut *connection).await.map_err(&failed)?;
                let mut update = sqlx::query(AssertSqlSafe(update.as_str()));
                if let Some(value) = value {
                    update = update.bind(value);
                }
                update.bind(host).execute(connection).await.map(drop).map_err(&failed)
            })
        })
        .await
    }
}

async fn why_not_reserved(connection: &mut MySqlConnection, host: &str) -> Result<Reserved, Error> {
    let select = format!("SELECT next_us - {NOW_US}, paused FROM hosts WHERE host = ?");
    let row: Option<(i64, bool)> = sqlx::query_as(AssertSqlSafe(select))
        .bind(host)
        .fetch_optional(connection)
        .await
        .map_err(Error::database("cannot reserve slots of a host"))?;
    Ok(match row {
        None => Reserved::Unlimited,
        Some((_, true)) => Reserved::Paused,
        Some((wait, false)) => Reserved::Later(Duration::from_micros(wait.max(0).unsigned_abs())),
    })
}

/// Reads the database's time, and adds the reading to the clock.
pub(crate) async fn read_time(
    connection: &mut MySqlConnection,
    clock: &Clock,
) -> Result<PrimitiveDateTime, Error> {
    let asked = Instant::now();
    let query = sqlx::query_as(AssertSqlSafe(format!("SELECT UTC_TIMESTAMP(6), {NOW_US}")));
    let (now, now_us): (PrimitiveDateTime, i64) =
        query.fetch_one(connection).await.map_err(Error::database("cannot read the time"))?;
    clock.add_reading(now_us, asked, Instant::now());
    Ok(now)
}

/// The limits that changed after a time, or all limits in force. A limit that was lifted appears
/// among the changes, as one that limits nothing.
pub(crate) async fn read_limits(
    connection: &mut MySqlConnection,
    changed_after: Option<PrimitiveDateTime>,
) -> Result<Vec<HostLimit>, Error> {
    // As in `HostLimit::is_in_force`.
    const IN_FORCE: &str = "rate IS NOT NULL OR paused OR slowed IS NOT NULL \
                            OR crawl_delay IS NOT NULL OR cool_down_until > UTC_TIMESTAMP(6)";
    let condition = if changed_after.is_some() { "changed_at > ?" } else { IN_FORCE };
    select(connection, condition, changed_after).await
}

/// The limits that satisfy a condition. `value` is for the placeholder in the condition.
async fn select(
    connection: &mut MySqlConnection,
    condition: &str,
    value: Option<PrimitiveDateTime>,
) -> Result<Vec<HostLimit>, Error> {
    type Row = (String, Option<f64>, bool, Option<i64>, Option<f64>, Option<f64>, Option<String>);
    let statement = format!(
        "SELECT host, rate, paused, \
         TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), cool_down_until), ROUND(slowed, 2), \
         crawl_delay, note FROM hosts WHERE {condition}"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(statement));
    if let Some(value) = value {
        query = query.bind(value);
    }
    let rows: Vec<Row> = query
        .fetch_all(connection)
        .await
        .map_err(Error::database("cannot read the limits of hosts"))?;
    let limits =
        rows.into_iter().map(|(host, rate, paused, cool_down, slowed, crawl_delay, note)| {
            let cool_down =
                cool_down.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
            let crawl_delay =
                crawl_delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            HostLimit { host, rate, paused, cool_down, slowed, crawl_delay, note }
        });
    Ok(limits.collect())
}

fn micros(span: Duration) -> i64 {
    // A hundred years is as good as never, and does not overflow a BIGINT with a time.
    const NEVER: i64 = 100 * 365 * 86_400 * 1_000_000;
    i64::try_from(span.as_micros()).unwrap_or(NEVER).min(NEVER)
}
