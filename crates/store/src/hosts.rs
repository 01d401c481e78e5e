//! The limits of hosts, which all workers share.
//!
//! A limit is kept for one host, for the names below one (`*.shop.example`), or for all hosts (`*`):
//! the three are rows of one table and differ in their keys alone. Which of them apply to a request
//! is for the worker to say.
//!
//! The database's clock is the only clock: what is stored are its times, and a worker is told what they are by its own.
//! A slot is a moment at which one request may be sent. Slots are reserved by moving a host's next free moment on (the
//! generic cell rate algorithm); a slot that nobody uses is lost, and nothing else.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;

use crate::clock::Clock;
use crate::{Error, Store};

/// The database's time in microseconds since 1970.
const NOW_US: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
/// A host is slowed down again after this long at the earliest, however many workers see it refuse.
const SLOWED_AGAIN_AFTER: &str = "INTERVAL 10 SECOND";
/// A host that was slowed and refuses no more gets twice as much after this long.
const RECOVERS_AFTER: &str = "INTERVAL 60 SECOND";
/// The slowest that a host is slowed to, in requests per second.
const SLOWEST: f64 = 0.1;
/// A host that is back at this many requests per second is slowed no more.
const RECOVERED: f64 = 100.0;
/// What a reading of the clock, and its reckoning since, may be wrong by.
const CLOCK_ERROR: Duration = Duration::from_millis(250);

/// What limits a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostLimit {
    /// Its lower-case ASCII name, with `:port` only where that is not the scheme's default; or
    /// `*.` and the end of names; or `*`.
    pub host: String,
    /// Requests per second, set by an operator.
    pub rate: Option<f64>,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// For how long nothing may be sent.
    pub cool_down: Option<Duration>,
    /// Requests per second, while it refuses too many.
    pub slowed: Option<f64>,
    /// The least time between requests by its robots.txt.
    pub crawl_delay: Option<Duration>,
    /// What was changed last by the host itself, and why.
    pub note: Option<String>,
}

impl HostLimit {
    /// The time from one request to the next: the longest of what limits it. `None` where nothing does.
    pub fn interval(&self) -> Option<Duration> {
        let of_rate = |rate: f64| Duration::try_from_secs_f64(rate.recip()).unwrap_or(Duration::MAX);
        [self.rate.map(of_rate), self.slowed.map(of_rate), self.crawl_delay].into_iter().flatten().max()
    }
}

/// What came of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The slots are ours; this is the first. It is never earlier than it really is in the
    /// database's time, as far as its clock can be read.
    From(Instant),
    /// There is none within the time that the caller has; the next one is after this time.
    Later(Duration),
    /// The host is paused.
    Paused,
    /// The host has no row.
    Unlimited,
}

type Row = (String, Option<f64>, bool, Option<i64>, Option<f64>, Option<f64>, Option<String>);

impl Store {
    /// Every host that has a row, by name.
    pub async fn hosts(&self) -> Result<Vec<HostLimit>, Error> {
        self.with_connection("listing hosts", async |connection| read(connection, "TRUE ORDER BY host", None).await)
            .await
    }

    /// Reserves so many slots in a row. The first is free within `patience`, and not before `lead`
    /// is over: a slot that comes while the answer is still on its way would be lost.
    ///
    /// `host` may be any key of a limit: a name, `*.` and the end of names, or `*`.
    pub async fn reserve(
        &self,
        host: &str,
        slots: u32,
        interval: Duration,
        lead: Duration,
        patience: Duration,
    ) -> Result<Reserved, Error> {
        let statement = format!(
            "UPDATE hosts SET next_us = LAST_INSERT_ID(GREATEST(next_us, {NOW_US} + ?)) + ? \
             WHERE host = ? AND NOT paused AND next_us <= {NOW_US} + ?"
        );
        self.with_connection("reserving slots of a host", async |connection| {
            let failed = Error::database("cannot reserve slots of a host");
            let asked = Instant::now();
            let moved = sqlx::query(AssertSqlSafe(statement))
                .bind(micros(lead))
                .bind(micros(interval.saturating_mul(slots)))
                .bind(host)
                .bind(micros(patience))
                .execute(&mut *connection)
                .await
                .map_err(&failed)?;
            if moved.rows_affected() > 0 {
                let first = i64::try_from(moved.last_insert_id()).unwrap_or(i64::MAX);
                let within = (asked + lead, Instant::now() + lead.max(patience));
                return Ok(Reserved::From(self.moment(connection, first, within).await?));
            }
            let found: Option<(i64, bool)> =
                sqlx::query_as(AssertSqlSafe(format!("SELECT next_us - {NOW_US}, paused FROM hosts WHERE host = ?")))
                    .bind(host)
                    .fetch_optional(connection)
                    .await
                    .map_err(&failed)?;
            Ok(match found {
                None => Reserved::Unlimited,
                Some((_, true)) => Reserved::Paused,
                Some((wait, false)) => Reserved::Later(Duration::from_micros(wait.max(0).unsigned_abs())),
            })
        })
        .await
    }

    /// When it is `time_us` in the database, by our clock, where that is known to lie between two
    /// moments. A clock that says otherwise was set since it was read, and is read again.
    async fn moment(
        &self,
        connection: &mut MySqlConnection,
        time_us: i64,
        (earliest, latest): (Instant, Instant),
    ) -> Result<Instant, Error> {
        let moment = match self.clock.at(time_us) {
            Some(moment) if moment + CLOCK_ERROR >= earliest && moment <= latest + CLOCK_ERROR => moment,
            _ => {
                read_time(connection, &self.clock).await?;
                self.clock.at(time_us).unwrap_or(latest)
            }
        };
        // The statement itself vouches for these.
        Ok(moment.clamp(earliest, latest))
    }

    /// The host has asked for this long without requests. A longer wait that it has asked for before stays.
    pub async fn cool_down(&self, host: &str, wait: Duration, why: &str) -> Result<(), Error> {
        let until = "UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND";
        let statement = format!(
            "INSERT INTO hosts (host, cool_down_until, next_us, note, changed_at) \
             VALUES (?, {until}, {NOW_US} + ?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE \
             note = IF(VALUES(cool_down_until) > COALESCE(cool_down_until, '1970-01-01'), VALUES(note), note), \
             cool_down_until = GREATEST(COALESCE(cool_down_until, '1970-01-01'), VALUES(cool_down_until)), \
             next_us = GREATEST(next_us, VALUES(next_us)), changed_at = VALUES(changed_at)"
        );
        let wait = micros(wait);
        let statement = sqlx::query(AssertSqlSafe(statement)).bind(host).bind(wait).bind(wait).bind(why);
        self.change("cooling a host down", "cannot cool a host down", statement).await.map(drop)
    }

    /// The host refuses too many requests: from now on it gets so many per second, or half of what it was slowed to
    /// before. It recovers by [`Self::let_hosts_recover`].
    pub async fn slow(&self, host: &str, rate: f64, why: &str) -> Result<(), Error> {
        let due = format!("COALESCE(slowed_at, '1970-01-01') <= UTC_TIMESTAMP(6) - {SLOWED_AGAIN_AFTER}");
        // Assigned in order: what the others compare comes last.
        let statement = format!(
            "INSERT INTO hosts (host, slowed, slowed_at, note, changed_at) \
             VALUES (?, GREATEST(?, {SLOWEST}), UTC_TIMESTAMP(6), ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE \
             note = IF({due}, VALUES(note), note), \
             changed_at = IF({due}, VALUES(changed_at), changed_at), \
             slowed = IF({due}, GREATEST(LEAST(COALESCE(slowed / 2, VALUES(slowed)), VALUES(slowed)), {SLOWEST}), slowed), \
             slowed_at = IF({due}, VALUES(slowed_at), slowed_at)"
        );
        let statement = sqlx::query(AssertSqlSafe(statement)).bind(host).bind(rate).bind(why);
        self.change("slowing a host", "cannot slow a host", statement).await.map(drop)
    }

    /// Hosts that were slowed a while ago and have not refused since get twice as much, and in the end what they had.
    pub async fn let_hosts_recover(&self) -> Result<(), Error> {
        let statement = format!(
            "UPDATE hosts SET \
             slowed = IF(slowed * 2 >= LEAST(COALESCE(rate, {RECOVERED}), {RECOVERED}), NULL, slowed * 2), \
             note = IF(slowed IS NULL, 'recovered: slowed no more', CONCAT('recovering: ', ROUND(slowed, 2), '/s')), \
             slowed_at = UTC_TIMESTAMP(6), changed_at = UTC_TIMESTAMP(6) \
             WHERE slowed IS NOT NULL AND slowed_at <= UTC_TIMESTAMP(6) - {RECOVERS_AFTER}"
        );
        let statement = sqlx::query(AssertSqlSafe(statement));
        self.change("letting hosts recover", "cannot let hosts recover", statement).await.map(drop)
    }

    /// The host's robots.txt asks for so much time between requests; `None` where it does not, or no more.
    pub async fn set_crawl_delay(&self, host: &str, delay: Option<Duration>) -> Result<(), Error> {
        let Some(delay) = delay else {
            // Most hosts have no row, and need none.
            let lift = "UPDATE hosts SET crawl_delay = NULL, changed_at = UTC_TIMESTAMP(6) \
                        WHERE host = ? AND crawl_delay IS NOT NULL";
            let lift = sqlx::query(lift).bind(host);
            return self.change("lifting a crawl-delay", "cannot lift a crawl-delay", lift).await.map(drop);
        };
        self.change_host(host, "crawl_delay = ?", Some(Some(delay.as_secs_f64()))).await
    }

    /// Sets the requests per second of a host; `None` lifts the limit. What was reserved far ahead is given up.
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

    /// Ends a pause, and besides what the host itself has brought about: cooling down and being slowed.
    pub async fn resume_host(&self, host: &str) -> Result<(), Error> {
        let set = "paused = FALSE, cool_down_until = NULL, slowed = NULL, slowed_at = NULL, next_us = 0, note = NULL";
        self.change_host(host, set, None).await
    }

    /// Makes the row of a host where there is none, and changes it. `value` is for the placeholder in `set`, if it has one.
    async fn change_host(&self, host: &str, set: &str, value: Option<Option<f64>>) -> Result<(), Error> {
        let make =
            "INSERT INTO hosts (host, changed_at) VALUES (?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE host = host";
        let change = format!("UPDATE hosts SET {set}, changed_at = UTC_TIMESTAMP(6) WHERE host = ?");
        self.with_connection("changing the limits of a host", async |connection| {
            let failed = Error::database("cannot change the limits of a host");
            sqlx::query(make).bind(host).execute(&mut *connection).await.map_err(&failed)?;
            let mut change = sqlx::query(AssertSqlSafe(change));
            if let Some(value) = value {
                change = change.bind(value);
            }
            change.bind(host).execute(connection).await.map(drop).map_err(&failed)
        })
        .await
    }
}

/// Asks for the database's time, and sets the clock.
pub(crate) async fn read_time(connection: &mut MySqlConnection, clock: &Clock) -> Result<PrimitiveDateTime, Error> {
    let asked = Instant::now();
    let query = sqlx::query_as(AssertSqlSafe(format!("SELECT UTC_TIMESTAMP(6), {NOW_US}")));
    let (now, now_us): (PrimitiveDateTime, i64) =
        query.fetch_one(connection).await.map_err(Error::database("cannot ask for the time"))?;
    clock.read(now_us, asked, Instant::now());
    Ok(now)
}

/// The limits that were changed after a moment, or those that hold. One that was lifted is among
/// the changes, as one that limits nothing.
pub(crate) async fn read_since(
    connection: &mut MySqlConnection,
    since: Option<PrimitiveDateTime>,
) -> Result<Vec<HostLimit>, Error> {
    const HOLDS: &str = "rate IS NOT NULL OR paused OR slowed IS NOT NULL OR crawl_delay IS NOT NULL \
                         OR cool_down_until > UTC_TIMESTAMP(6)";
    read(connection, if since.is_some() { "changed_at > ?" } else { HOLDS }, since).await
}

/// The limits of the hosts that fit a condition.
async fn read(
    connection: &mut MySqlConnection,
    condition: &str,
    since: Option<PrimitiveDateTime>,
) -> Result<Vec<HostLimit>, Error> {
    let statement = format!(
        "SELECT host, rate, paused, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), cool_down_until), slowed, crawl_delay, \
         note FROM hosts WHERE {condition}"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(statement));
    if let Some(since) = since {
        query = query.bind(since);
    }
    let rows: Vec<Row> =
        query.fetch_all(connection).await.map_err(Error::database("cannot read the limits of hosts"))?;
    let limits = rows.into_iter().map(|(host, rate, paused, cool_down, slowed, crawl_delay, note)| {
        let cool_down = cool_down.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
        let crawl_delay = crawl_delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        HostLimit { host, rate, paused, cool_down, slowed, crawl_delay, note }
    });
    Ok(limits.collect())
}

fn micros(span: Duration) -> i64 {
    // A hundred years is as good as never, and does not overflow a BIGINT that holds a time.
    const NEVER: i64 = 100 * 365 * 86_400 * 1_000_000;
    i64::try_from(span.as_micros()).unwrap_or(NEVER).min(NEVER)
}
