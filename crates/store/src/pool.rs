//! The connection pool, and the rules for every use of a connection.
//!
//! A user gets one connection and must not ask for another one, every use has a deadline, and one
//! connection is reserved for commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, MySql};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// The deadline of one use of a connection, so that a silent server is noticed. Writes get more
/// time by their weight.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long a statement waits for a row that another transaction has locked, in seconds. Both
/// servers wait for 50 s by default, and the rest of the batch would wait as well. Our own
/// transactions hold their locks for milliseconds.
const LOCK_WAIT_S: u32 = 1;
/// The part of a packet that is not rows: the statement's text and the types of its values.
const PACKET_RESERVE: usize = 256 * 1024;
/// The assumed `max_allowed_packet` until a server reports its own: the smaller one of the current
/// defaults of MySQL and MariaDB.
const DEFAULT_PACKET: usize = 16 << 20;

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A commit. One connection is reserved for commits if the pool has more than one.
    Commit,
    /// Anything else.
    Other,
}

/// A bounded number of connections.
pub(crate) struct Pool {
    connections: MySqlPool,
    size: u32,
    timeout: Duration,
    /// One permit for each connection.
    permits: Arc<Semaphore>,
    /// One permit for each connection that is not reserved for commits.
    other_permits: Arc<Semaphore>,
    /// The `max_allowed_packet` of the server of the newest connection. It may change with a
    /// failover.
    max_packet: Arc<AtomicUsize>,
}

impl Pool {
    /// Connects to nothing yet.
    pub(crate) fn new(options: MySqlConnectOptions, size: u32, timeout: Duration) -> Self {
        let max_packet = Arc::new(AtomicUsize::new(DEFAULT_PACKET));
        let reported_packet = max_packet.clone();
        let connections = MySqlPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(timeout)
            // sqlx tests a connection after each use, when nobody waits for it. A test before each
            // use would cost another round trip; a dead connection fails and is not used again.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let reported_packet = reported_packet.clone();
                Box::pin(async move {
                    let packet = prepare_session(connection).await?;
                    reported_packet.store(packet, Ordering::Relaxed);
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        let permits = |count: u32| Arc::new(Semaphore::new(count.max(1) as usize));
        Self {
            connections,
            size,
            timeout,
            permits: permits(size),
            other_permits: permits(size.saturating_sub(1)),
            max_packet,
        }
    }

    /// The maximum number of connections.
    pub(crate) fn size(&self) -> u32 {
        self.size.max(1)
    }

    /// The number of connections in use.
    pub(crate) fn in_use(&self) -> usize {
        (self.size as usize).saturating_sub(self.permits.available_permits())
    }

    /// The approximate number of bytes that the rows of one statement may have.
    pub(crate) fn packet(&self) -> usize {
        let packet = self.max_packet.load(Ordering::Relaxed);
        packet.saturating_sub(PACKET_RESERVE).max(packet / 2)
    }

    /// Lends a connection to `work`, which must not ask for another one. After a failure the
    /// connection is closed instead of returned: the server then rolls back the open transaction,
    /// and the next user finds no unread reply.
    pub(crate) async fn lend<T>(
        &self,
        lane: Lane,
        what: &'static str,
        deadline: Duration,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let permits = tokio::time::timeout(self.timeout, self.permits(lane)).await;
        let permits = permits.unwrap_or_else(|_| {
            let timeout_s = self.timeout.as_secs_f64();
            Err(Error::PoolTimeout { timeout_s, size: self.size })
        })?;
        let mut loan = Loan { connection: Some(self.connection().await?), permits: Some(permits) };
        let Some(connection) = &mut loan.connection else { unreachable!("set in this function") };
        let result = within(what, deadline, work(connection)).await;
        if result.is_ok() {
            loan.put_back();
        }
        result
    }

    pub(crate) async fn permits(&self, lane: Lane) -> Result<Permits, Error> {
        let closed = |_| Error::Connect(sqlx::Error::PoolClosed);
        let other = match lane {
            Lane::Commit => None,
            Lane::Other => Some(self.other_permits.clone().acquire_owned().await.map_err(closed)?),
        };
        let connection = self.permits.clone().acquire_owned().await.map_err(closed)?;
        Ok(Permits { _connection: connection, _other: other })
    }

    /// A pooled connection. The caller has a permit, so nobody waits for another user here: if this
    /// takes too long, the server is at fault.
    async fn connection(&self) -> Result<PoolConnection<MySql>, Error> {
        self.connections.acquire().await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => {
                Error::NoConnection { timeout_s: self.timeout.as_secs_f64() }
            }
            source => Error::Connect(source),
        })
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

/// What every statement relies on, whatever the server's defaults are. In strict mode, data that
/// does not fit is rejected, never truncated. Limits on rows would cut reports and clean-ups.
pub(crate) const SESSION: &str = "SET SESSION \
     sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     autocommit = 1, completion_type = 0, sql_safe_updates = 0, sql_big_selects = 1, \
     sql_select_limit = 18446744073709551615";

/// Sets up a new connection, and returns the server's `max_allowed_packet`.
async fn prepare_session(connection: &mut MySqlConnection) -> sqlx::Result<usize> {
    let settings = format!("{SESSION}, innodb_lock_wait_timeout = {LOCK_WAIT_S}");
    connection.execute(AssertSqlSafe(settings)).await?;
    // Read committed: fewer gap locks.
    connection
        .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
        .await?;
    let packet: u64 = sqlx::query_scalar("SELECT CAST(@@max_allowed_packet AS UNSIGNED)")
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(packet).unwrap_or(usize::MAX))
}

/// The right to use a connection.
pub(crate) struct Permits {
    _connection: OwnedSemaphorePermit,
    _other: Option<OwnedSemaphorePermit>,
}

/// A lent connection. Dropping it closes the connection, even if its user was cancelled in the
/// middle of a transaction.
struct Loan {
    connection: Option<PoolConnection<MySql>>,
    permits: Option<Permits>,
}

impl Loan {
    fn put_back(mut self) {
        let (connection, permits) = (self.connection.take(), self.permits.take());
        if let Some(mut connection) = connection {
            let returned = connection.return_to_pool();
            tokio::spawn(async move {
                _ = tokio::time::timeout(DEADLINE, returned).await;
                // The next user may start once the connection is in the pool.
                drop(permits);
            });
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

/// Runs `work`, and fails once the deadline has passed.
pub(crate) async fn within<T>(
    what: &'static str,
    deadline: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or(Err(Error::Deadline(deadline.as_secs_f64(), what)))
}
