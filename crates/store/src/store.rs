//! The store: the handle through which callers use the database.

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::query::Query;
use sqlx::{Execute, Executor, MySql};
use time::OffsetDateTime;

use crate::Error;
use crate::clock::Clock;
use crate::connector::Connector;
use crate::pool::{DEADLINE, LIGHT_DEADLINE, Lane, Pool};
use crate::statements::upsert::Upsert;
use crate::statements::{fetches, items, pages};
use crate::{contention, url};

/// The configuration of a [`Store`].
#[derive(Clone)]
pub struct StoreConfig {
    /// `mysql://user:password@host:port/database?ssl-mode=…&ssl-ca=…`. Several nodes of a cluster
    /// are listed as `mysql://user:password@host1:port,host2:port/database`, or as whole URLs with
    /// commas between them.
    pub url: String,
    /// The maximum number of connections.
    pub pool: u32,
    /// How long a call waits for a connection.
    pub pool_timeout: Duration,
}

/// The database.
pub struct Store {
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) upsert_fetches: Upsert,
    pub(crate) upsert_items: Upsert,
    pub(crate) upsert_pages: Upsert,
    /// The deadline of a write, before its weight is added.
    pub(crate) write_deadline: Duration,
    /// The key of the row with which this process checks that the server commits. No other process
    /// has it, so no other process can lock the row.
    pub(crate) commit_probe: [u8; 16],
}

impl Store {
    /// Checks the configuration. Connects to nothing yet.
    pub fn open(config: StoreConfig) -> Result<Self, Error> {
        let connector = Connector::new(url::parse(&config.url)?, config.pool_timeout);
        Ok(Self {
            pool: Pool::new(connector, config.pool, config.pool_timeout),
            clock: Clock::new(),
            upsert_fetches: fetches::upsert(),
            upsert_items: items::upsert(),
            upsert_pages: pages::upsert(),
            write_deadline: DEADLINE,
            commit_probe: rand::random(),
        })
    }

    /// Sets the number of rows of a full batch, which is written by one statement.
    #[must_use]
    pub fn with_batch_rows(self, rows: usize) -> Self {
        let upsert_fetches = self.upsert_fetches.with_full_batch(rows);
        let upsert_items = self.upsert_items.with_full_batch(rows);
        let upsert_pages = self.upsert_pages.with_full_batch(rows);
        Self { upsert_fetches, upsert_items, upsert_pages, ..self }
    }

    /// Sets the deadline of a write, before its weight is added. The default is 20 s; tests shorten
    /// it.
    #[must_use]
    pub fn with_write_deadline(self, write_deadline: Duration) -> Self {
        Self { write_deadline, ..self }
    }

    /// The database's present time by the readings of [`Self::poll`]; before the first reading, the
    /// time of this machine. The later one of two rows of a task wins, so rows are stamped with
    /// this time: a worker whose own clock is wrong by an hour does no harm.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now().unwrap_or_else(OffsetDateTime::now_utc)
    }

    /// Hosts, ports and database, without user and password, for log lines.
    pub fn location(&self) -> String {
        self.pool.connector().location()
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        self.pool.connector().database()
    }

    /// The node that was connected to last; `None` before the first connection.
    pub fn node(&self) -> Option<String> {
        self.pool.connector().node().map(|node| node.to_string())
    }

    /// The number of connections in use, and their maximum number.
    pub fn connections(&self) -> (usize, usize) {
        (self.pool.in_use(), self.pool.size() as usize)
    }

    /// Checks that the database accepts writes: a read-only server answers as well, but is of no
    /// use. Writes nothing.
    pub async fn ping(&self) -> Result<(), Error> {
        const PING: &str = "checking that the database accepts writes";
        let ping = || self.pool.lend(Lane::Other, PING, LIGHT_DEADLINE, check_writable);
        self.on_live_connection(ping).await
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs statements that involve no row. A pooled connection that is lost meanwhile may have
    /// been dead for a long time, so `ask` runs again on another one.
    pub(crate) async fn on_live_connection<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut lost = 0;
        loop {
            match ask().await.map_err(Error::without_row) {
                Err(error) if error.is_lost_connection() && lost < self.pool.size() => lost += 1,
                result => return result,
            }
        }
    }

    /// Lends a connection to `work`, which must not ask for another one.
    pub(crate) async fn with_connection<T>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.pool.lend(Lane::Other, what, DEADLINE, work).await
    }

    /// Runs one statement that changes rows, and returns the number of affected rows. It runs again
    /// if it lost against another one.
    pub(crate) async fn execute(
        &self,
        what: &'static str,
        failure: &'static str,
        mut statement: Query<'_, MySql, MySqlArguments>,
    ) -> Result<u64, Error> {
        let arguments = statement.take_arguments().map_err(sqlx::Error::Encode);
        let arguments = arguments.map_err(Error::database(failure))?.unwrap_or_default();
        let sql = statement.sql();
        contention::retry(|| {
            let statement = sqlx::query_with(sql.clone(), arguments.clone());
            self.with_connection(what, async |connection| {
                let executed = statement.execute(connection).await;
                Ok(executed.map_err(Error::database(failure))?.rows_affected())
            })
        })
        .await
    }
}

/// The health check: an update that changes nothing, so that a read-only server fails it.
pub(crate) async fn check_writable(connection: &mut MySqlConnection) -> Result<(), Error> {
    let update = connection.execute("UPDATE fetches SET attempts = attempts WHERE id = ''");
    update.await.map(drop).map_err(Error::TakesNoRows)
}

#[cfg(test)]
impl Store {
    /// A store whose database does not answer: nothing listens on the discard port.
    pub(crate) fn unreachable(pool: u32) -> Self {
        let url = "mysql://root@127.0.0.1:9/x".to_owned();
        Self::open(StoreConfig { url, pool, pool_timeout: Duration::from_millis(50) }).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    fn open(url: &str, pool: u32) -> Result<Store, Error> {
        let pool_timeout = Duration::from_millis(50);
        Store::open(StoreConfig { url: url.to_owned(), pool, pool_timeout })
    }

    #[tokio::test]
    async fn neither_errors_nor_log_lines_repeat_the_password() {
        let store = open("mysql://user:hunter2@db:3307/prices", 1).unwrap();
        assert_eq!(store.location(), "db:3307 prices");
        let store = open("mysql://user:hunter2@a,b:3307,[fd00::1]/prices", 1).unwrap();
        assert_eq!(store.location(), "a:3306,b:3307,[fd00::1]:3306 prices");
        for bad in [
            "mysql://user:hunter2@db:port/x",
            "mysql://user:hunter2@db/",
            "postgres://user:hunter2@db/x",
            "user:hunter2@db:3306/x",
            "mysql://user:hunter2@a:port,b/x",
            "mysql://user:hunter2@a/x,user:hunter2@b/x",
            "mysql://user:hunter2@a/x,mysql://user:hunter2@b/y",
            "mysql://user:hunter2@a/x,b/x",
        ] {
            let error = open(bad, 1).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn waiting_for_a_connection_ends_with_an_error_that_says_so() {
        let error = Store::unreachable(1).ping().await.unwrap_err();
        assert!(error.to_string().contains("database"), "{error}");
        assert_eq!(error.class(), Class::Away);
    }

    #[tokio::test]
    async fn a_connection_is_reserved_for_commits() {
        let store = Store::unreachable(3);
        let permits = async |store: &Store, lane| store.pool.permits(lane).await.unwrap();
        let others = [permits(&store, Lane::Other).await, permits(&store, Lane::Other).await];
        // All other connections are in use, which is no outage.
        let busy = store.ping().await.unwrap_err();
        assert_eq!((busy.class(), store.connections()), (Class::Contention, (2, 3)), "{busy}");
        let commit = permits(&store, Lane::Commit);
        let commit = tokio::time::timeout(Duration::from_secs(5), commit).await;
        drop((others, commit.unwrap()));
        assert_eq!(store.connections(), (0, 3));
        // A pool of one connection is shared.
        let store = Store::unreachable(1);
        drop(permits(&store, Lane::Other).await);
        let _commit = permits(&store, Lane::Commit).await;
        assert_eq!(store.ping().await.unwrap_err().class(), Class::Contention);
    }

    #[tokio::test]
    async fn rows_are_stamped_with_the_time_of_the_database() {
        let store = Store::unreachable(1);
        let local = || OffsetDateTime::now_utc();
        assert!((store.now() - local()).abs() < Duration::from_secs(60));
        // The clock of this machine is an hour late.
        let database = local() + Duration::from_secs(3600);
        let us = i64::try_from(database.unix_timestamp_nanos() / 1_000).unwrap();
        store.clock.add_reading(us, tokio::time::Instant::now(), tokio::time::Instant::now());
        assert!((store.now() - database).abs() < Duration::from_secs(60), "{}", store.now());
    }
}
