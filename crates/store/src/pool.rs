//! The bounded pool, and the rules that every use of a connection follows.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, MySql};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::insert::ServerThread;
use crate::upsert::Upsert;
use crate::{Error, insert, items};

/// How long one use of a connection may take: a server that has gone silent is noticed. A write may
/// take longer, by its weight.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long the health check may take where something else has just failed.
const PING_DEADLINE: Duration = Duration::from_secs(5);
/// How often a transaction that lost against another one is tried.
pub(crate) const CONTENTION_TRIES: u32 = 5;
/// The pause after the first try; it doubles with each further one.
const CONTENTION_PAUSE: Duration = Duration::from_millis(20);
/// How long a statement waits for a row that another transaction has locked, in seconds; both
/// servers wait for 50 by default, and the rest of the batch waits with it. Our own transactions
/// hold their locks for milliseconds.
const LOCK_WAIT_S: u32 = 1;
/// What a packet holds besides rows: the statement's text and the types of its values.
const PACKET_RESERVE: usize = 256 * 1024;
/// What is assumed of `max_allowed_packet` until the server was asked: MySQL's and MariaDB's smallest default of late.
const DEFAULT_PACKET: usize = 16 << 20;

/// Where the database is, and how much of it may be used.
#[derive(Clone)]
pub struct StoreConfig {
    /// `mysql://user:password@host:port/database?ssl-mode=…&ssl-ca=…`
    pub url: String,
    /// Connections at most.
    pub pool: u32,
    /// How long to wait for a connection.
    pub pool_timeout: Duration,
}

/// The database. Opening it connects to nothing yet.
pub struct Store {
    pub(crate) options: MySqlConnectOptions,
    pub(crate) upsert_fetches: Upsert,
    pub(crate) upsert_items: Upsert,
    pub(crate) clock: Clock,
    /// What a write may take before its weight is added.
    pub(crate) write_deadline: Duration,
    /// The key of the row by which this process finds out whether the server commits: nobody else's,
    /// so nobody else can lock it.
    commit_probe: [u8; 32],
    pool: MySqlPool,
    config: StoreConfig,
    /// A permit for each connection.
    connections: Arc<Semaphore>,
    /// A permit for each connection that is not kept for commits.
    not_for_commits: Arc<Semaphore>,
    /// The `max_allowed_packet` of the server that was connected to last: after a failover it may be another one's.
    max_packet: Arc<AtomicUsize>,
}

impl Store {
    /// Reads the configuration.
    pub fn open(config: StoreConfig) -> Result<Self, Error> {
        // First: the library takes any scheme, and then the password of a URL without one for a database.
        if !["mysql://", "mariadb://"].iter().any(|scheme| config.url.starts_with(scheme)) {
            return Err(Error::Url("it does not begin with mysql://".to_owned()));
        }
        let options = MySqlConnectOptions::from_str(&config.url)
            .map_err(|error| Error::Url(error.to_string()))?
            // Statements carry URLs, and URLs may carry secrets.
            .disable_statement_logging();
        if options.get_database().is_none_or(str::is_empty) {
            return Err(Error::Url("it names no database (mysql://user@host:3306/DATABASE)".to_owned()));
        }
        let max_packet = Arc::new(AtomicUsize::new(DEFAULT_PACKET));
        let learnt = max_packet.clone();
        let pool = MySqlPoolOptions::new()
            .max_connections(config.pool)
            .acquire_timeout(config.pool_timeout)
            // The library asks whether a connection answers after each use, when nobody waits for that. To do so before
            // each use, too, would cost a round trip; a dead connection shows itself, and is not used again.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let learnt = learnt.clone();
                Box::pin(async move {
                    // Strict: data that does not fit is refused, never cut. Read committed: fewer gap locks.
                    connection.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')").await?;
                    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                    let lock_wait = format!("SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S}");
                    connection.execute(AssertSqlSafe(lock_wait)).await?;
                    let packet: u64 = sqlx::query_scalar("SELECT CAST(@@max_allowed_packet AS UNSIGNED)")
                        .fetch_one(connection)
                        .await?;
                    learnt.store(usize::try_from(packet).unwrap_or(usize::MAX), Ordering::Relaxed);
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        Ok(Self {
            options,
            upsert_fetches: insert::upsert(),
            upsert_items: items::upsert(),
            clock: Clock::new(),
            write_deadline: DEADLINE,
            commit_probe: rand::random(),
            pool,
            connections: Arc::new(Semaphore::new(config.pool.max(1) as usize)),
            not_for_commits: Arc::new(Semaphore::new(config.pool.saturating_sub(1).max(1) as usize)),
            config,
            max_packet,
        })
    }

    /// Full batches have so many rows; they go out in one statement.
    #[must_use]
    pub fn with_batch_rows(self, rows: usize) -> Self {
        let upsert_fetches = self.upsert_fetches.full_batches_of(rows);
        let upsert_items = self.upsert_items.full_batches_of(rows);
        Self { upsert_fetches, upsert_items, ..self }
    }

    /// What a write may take before its weight is added; 20 s unless a test shortens it.
    #[must_use]
    pub fn with_write_deadline(self, write_deadline: Duration) -> Self {
        Self { write_deadline, ..self }
    }

    /// The database's present time, as far as [`Self::poll`] has read its clock; before that, this
    /// machine's. Of two rows of a task the later one wins, so whoever makes a row stamps it with
    /// this: a worker whose own clock is wrong by an hour then changes nothing.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now().unwrap_or_else(OffsetDateTime::now_utc)
    }

    /// Host, port and database, without user and password: what a log line may say.
    pub fn location(&self) -> String {
        let database = self.options.get_database().unwrap_or_default();
        format!("{}:{} {database}", self.options.get_host(), self.options.get_port())
    }

    /// Whether the database takes rows: one that is read-only answers, too, and is of no use. Writes
    /// nothing.
    pub async fn ping(&self) -> Result<(), Error> {
        const PING: &str = "asking whether the database takes rows";
        let ping = || self.lend(Lane::Other, PING, PING_DEADLINE, async |connection| takes_rows(connection).await);
        self.on_a_live_connection(ping).await
    }

    /// The same after a write has failed: on the connection that is kept for commits. What is left
    /// of that write in the server is ended first, since it holds its locks until then.
    pub(crate) async fn answers(&self, failed: &ServerThread) -> Result<(), Error> {
        const PING: &str = "asking whether the database answers at all";
        let ping = || {
            self.lend(Lane::Commit, PING, PING_DEADLINE, async |connection| {
                failed.end(connection).await?;
                takes_rows(connection).await
            })
        };
        self.on_a_live_connection(ping).await
    }

    /// Whether the server commits at all: its COMMIT hangs where the disk of its log is full, or no
    /// other member of its cluster answers, while statements go on as ever. Leaves nothing behind.
    pub(crate) async fn commits(&self) -> Result<(), Error> {
        const PROBE: &str = "asking whether the database commits anything";
        const WRITE: &str = "INSERT INTO quarantine (id, begun, worker, begun_at) \
                             VALUES (?, 0, 'commit probe', UTC_TIMESTAMP(6)) \
                             ON DUPLICATE KEY UPDATE begun_at = VALUES(begun_at)";
        let probe = || {
            self.lend(Lane::Commit, PROBE, PING_DEADLINE, async |connection| {
                for statement in [WRITE, "DELETE FROM quarantine WHERE id = ?"] {
                    let statement = sqlx::query(statement).bind(self.commit_probe.as_slice());
                    statement.execute(&mut *connection).await.map_err(Error::TakesNoRows)?;
                }
                Ok(())
            })
        };
        self.on_a_live_connection(probe).await.map_err(|error| match error {
            // Only an older probe can have locked its row, one whose COMMIT has not ended yet.
            Error::TakesNoRows(_) if error.is_contention() => Error::Silent(PING_DEADLINE.as_secs_f64(), PROBE),
            error => error,
        })
    }

    /// Asks something of the server that has nothing to do with any row. A connection of the pool
    /// that is lost meanwhile may have been dead for long, so another one is asked.
    pub(crate) async fn on_a_live_connection<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut lost = 0;
        loop {
            match ask().await.map_err(Error::of_no_row) {
                Err(error) if error.is_lost() && lost < self.pool_size() => lost += 1,
                result => return result,
            }
        }
    }

    /// How many connections there may be.
    pub(crate) fn pool_size(&self) -> u32 {
        self.config.pool.max(1)
    }

    /// About how many bytes the rows of one statement may have.
    pub(crate) fn packet(&self) -> usize {
        let packet = self.max_packet.load(Ordering::Relaxed);
        packet.saturating_sub(PACKET_RESERVE).max(packet / 2)
    }

    /// How many connections are in use, and how many there may be.
    pub fn connections(&self) -> (usize, usize) {
        let size = self.config.pool as usize;
        (size.saturating_sub(self.connections.available_permits()), size)
    }

    /// Lends a connection to `work`, which must not ask for another.
    pub(crate) async fn with_connection<T>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.lend(Lane::Other, what, DEADLINE, work).await
    }

    /// Lends a connection to `work`, which must not ask for another. After a failure the connection
    /// is closed, not put back: the server then rolls back whatever was under way on it, and nothing
    /// half-read is left for the next user.
    pub(crate) async fn lend<T>(
        &self,
        lane: Lane,
        what: &'static str,
        deadline: Duration,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let permits = tokio::time::timeout(self.config.pool_timeout, self.permits(lane)).await;
        let permits = permits.unwrap_or_else(|_| {
            Err(Error::PoolTimeout { timeout_s: self.config.pool_timeout.as_secs_f64(), size: self.config.pool })
        })?;
        let mut lent = Lent { connection: Some(self.connection().await?), permits: Some(permits) };
        let Some(connection) = &mut lent.connection else { unreachable!("it was just put there") };
        let result = within(what, deadline, work(connection)).await;
        if result.is_ok() {
            lent.give_back();
        }
        result
    }

    async fn permits(&self, lane: Lane) -> Result<Permits, Error> {
        let closed = |_| Error::Connect(sqlx::Error::PoolClosed);
        let not_for_commits = match lane {
            Lane::Commit => None,
            Lane::Other => Some(self.not_for_commits.clone().acquire_owned().await.map_err(closed)?),
        };
        let connection = self.connections.clone().acquire_owned().await.map_err(closed)?;
        Ok(Permits { _connection: connection, _not_for_commits: not_for_commits })
    }

    /// A connection of the pool. With a permit nobody waits for another user here, so that it takes
    /// too long is the server's doing.
    async fn connection(&self) -> Result<PoolConnection<MySql>, Error> {
        self.pool.acquire().await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => Error::NoConnection { timeout_s: self.config.pool_timeout.as_secs_f64() },
            source => Error::Connect(source),
        })
    }

    /// Runs one statement that changes rows; how many it did.
    pub(crate) async fn change(
        &self,
        what: &'static str,
        failed: &'static str,
        statement: Query<'_, MySql, MySqlArguments>,
    ) -> Result<u64, Error> {
        self.with_connection(what, async |connection| {
            let changed = statement.execute(connection).await.map_err(Error::database(failed))?;
            Ok(changed.rows_affected())
        })
        .await
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A commit, for which a connection is kept where the pool has more than one.
    Commit,
    /// Anything else.
    Other,
}

struct Permits {
    _connection: OwnedSemaphorePermit,
    _not_for_commits: Option<OwnedSemaphorePermit>,
}

/// A connection that is lent. Dropping it closes the connection, also where its user was cancelled
/// in the middle of a transaction.
struct Lent {
    connection: Option<PoolConnection<MySql>>,
    permits: Option<Permits>,
}

impl Lent {
    fn give_back(mut self) {
        let (connection, permits) = (self.connection.take(), self.permits.take());
        if let Some(mut connection) = connection {
            let back = connection.return_to_pool();
            tokio::spawn(async move {
                _ = tokio::time::timeout(DEADLINE, back).await;
                // The next user is let in once the connection is there.
                drop(permits);
            });
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

/// The health check: an update that changes nothing, so that a read-only server fails it.
pub(crate) async fn takes_rows(connection: &mut MySqlConnection) -> Result<(), Error> {
    let update = connection.execute("UPDATE fetches SET attempts = attempts WHERE id = ''");
    update.await.map(drop).map_err(Error::TakesNoRows)
}

/// Runs a transaction, and runs it again as a whole where it lost against another one: after 1205
/// the server has rolled back the statement only, so the connection was closed, and that rolls back
/// the rest.
pub(crate) async fn contended<T, F: Future<Output = Result<T, Error>>>(
    mut transaction: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        match transaction().await {
            // A busy pool has been waited for already.
            Err(error) if error.is_contention() && error.number().is_some() && tries < CONTENTION_TRIES => {
                tokio::time::sleep(pause_after(tries)).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

/// The pause after so many tries: two transactions that met do not meet again.
pub(crate) fn pause_after(tries: u32) -> Duration {
    (CONTENTION_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1).min(5))).mul_f64(rand::random_range(0.5..1.5))
}

/// Bounds a use of a connection.
pub(crate) async fn within<T>(
    what: &'static str,
    deadline: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(Error::Deadline(deadline.as_secs_f64(), what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    fn open(url: &str) -> Result<Store, Error> {
        Store::open(StoreConfig { url: url.to_owned(), pool: 1, pool_timeout: Duration::from_millis(50) })
    }

    #[tokio::test]
    async fn neither_errors_nor_log_lines_repeat_the_password() {
        let store = open("mysql://user:hunter2@db:3307/prices").unwrap();
        assert_eq!(store.location(), "db:3307 prices");
        for bad in [
            "mysql://user:hunter2@db:port/x",
            "mysql://user:hunter2@db/",
            "postgres://user:hunter2@db/x",
            "user:hunter2@db:3306/x",
        ] {
            let error = open(bad).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn waiting_for_a_connection_ends_and_says_so() {
        // Nothing listens on the discard port.
        let error = open("mysql://root@127.0.0.1:9/x").unwrap().ping().await.unwrap_err();
        assert!(error.to_string().contains("database"), "{error}");
        assert_eq!(error.class(), Class::Away);
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_commits() {
        let config = |pool| StoreConfig {
            url: "mysql://root@127.0.0.1:9/x".to_owned(),
            pool,
            pool_timeout: Duration::from_millis(50),
        };
        let store = Store::open(config(3)).unwrap();
        let others = [store.permits(Lane::Other).await.unwrap(), store.permits(Lane::Other).await.unwrap()];
        // All that others may have is in use: that is no outage.
        let busy = store.ping().await.unwrap_err();
        assert_eq!((busy.class(), store.connections()), (Class::Contention, (2, 3)), "{busy}");
        let commit = tokio::time::timeout(Duration::from_secs(5), store.permits(Lane::Commit)).await;
        drop((others, commit.unwrap().unwrap()));
        assert_eq!(store.connections(), (0, 3));
        // A pool of one is shared.
        let store = Store::open(config(1)).unwrap();
        drop(store.permits(Lane::Other).await.unwrap());
        let _commit = store.permits(Lane::Commit).await.unwrap();
        assert_eq!(store.ping().await.unwrap_err().class(), Class::Contention);
    }

    #[tokio::test]
    async fn rows_are_stamped_by_the_clock_of_the_database() {
        let store = open("mysql://root@127.0.0.1:9/x").unwrap();
        let ours = || OffsetDateTime::now_utc();
        assert!((store.now() - ours()).abs() < Duration::from_secs(60));
        // This machine's clock is an hour late.
        let told = ours() + Duration::from_secs(3600);
        let us = i64::try_from(told.unix_timestamp_nanos() / 1_000).unwrap();
        store.clock.read(us, std::time::Instant::now(), std::time::Instant::now());
        assert!((store.now() - told).abs() < Duration::from_secs(60), "{}", store.now());
    }

    #[test]
    fn pauses_grow_and_differ() {
        for tries in 1..20 {
            let (pause, longest) = (pause_after(tries), CONTENTION_PAUSE * 48);
            assert!(pause >= CONTENTION_PAUSE / 2 && pause <= longest, "{tries}: {pause:?}");
        }
        assert!(pause_after(6) > pause_after(1));
    }
}
