//! The bounded pool, and the rules that every use of a connection follows.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Executor, MySql};

use crate::clock::Clock;
use crate::upsert::Upsert;
use crate::{Error, batch, items};

/// How long one use of a connection may take, whatever is done with it: a server that has gone silent is noticed.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often a transaction that lost against another one is tried again at once.
const CONTENTION_TRIES: u32 = 5;
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
    pool: MySqlPool,
    config: StoreConfig,
    /// Connections that are lent.
    lent: AtomicUsize,
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
            upsert_fetches: batch::upsert(),
            upsert_items: items::upsert(),
            clock: Clock::new(),
            pool,
            config,
            lent: AtomicUsize::new(0),
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

    /// Host, port and database, without user and password: what a log line may say.
    pub fn location(&self) -> String {
        let database = self.options.get_database().unwrap_or_default();
        format!("{}:{} {database}", self.options.get_host(), self.options.get_port())
    }

    /// Whether the database takes rows: one that is read-only answers, too, and is of no use. Writes nothing.
    pub async fn ping(&self) -> Result<(), Error> {
        self.with_connection("asking whether the database takes rows", async |connection| {
            connection
                .execute("UPDATE fetches SET attempts = attempts WHERE id = ''")
                .await
                .map_err(Error::database("the database takes no rows"))
                .map(drop)
        })
        .await
    }

    /// About how many bytes the rows of one statement may have.
    pub(crate) fn packet(&self) -> usize {
        let packet = self.max_packet.load(Ordering::Relaxed);
        packet.saturating_sub(PACKET_RESERVE).max(packet / 2)
    }

    /// How many connections are in use, and how many there may be.
    pub fn connections(&self) -> (usize, usize) {
        (self.lent.load(Ordering::Relaxed), self.config.pool as usize)
    }

    /// Whether every connection is in use: those who use them will see how the database is.
    pub fn is_busy(&self) -> bool {
        self.lent.load(Ordering::Relaxed) >= self.config.pool as usize
    }

    /// Lends a connection to `work`, which must not ask for another. After a failure the connection is closed, not put
    /// back: the server then rolls back whatever was under way on it, and nothing half-read is left for the next user.
    pub(crate) async fn with_connection<T>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = self.pool.acquire().await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => {
                Error::PoolTimeout { timeout_s: self.config.pool_timeout.as_secs_f64(), size: self.config.pool }
            }
            source => Error::Database { context: "cannot connect to the database", source },
        })?;
        let _lent = Lent::one_of(&self.lent);
        let result = within(what, work(&mut connection)).await;
        match result {
            Ok(_) => _ = tokio::spawn(tokio::time::timeout(DEADLINE, connection.return_to_pool())),
            Err(_) => drop(connection.detach()),
        }
        result
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

/// A connection that is lent, as a count.
struct Lent<'a>(&'a AtomicUsize);

impl<'a> Lent<'a> {
    fn one_of(lent: &'a AtomicUsize) -> Self {
        lent.fetch_add(1, Ordering::Relaxed);
        Self(lent)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a transaction, and runs it again as a whole where it lost against another one: after 1205 the server has rolled
/// back the statement only, so the connection was closed, and that rolls back the rest.
pub(crate) async fn contended<T, F: Future<Output = Result<T, Error>>>(
    mut transaction: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut tries = 0;
    loop {
        match transaction().await {
            Err(error) if error.is_contention() && tries < CONTENTION_TRIES => tries += 1,
            result => return result,
        }
    }
}

/// Bounds a use of a connection.
pub(crate) async fn within<T>(what: &'static str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or(Err(Error::Deadline(DEADLINE.as_secs(), what)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
