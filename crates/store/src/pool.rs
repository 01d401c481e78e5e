//! The connection pool, and the rules for every use of a connection.
//!
//! A user gets one connection and must not ask for another one, every use has a deadline, and one
//! connection is reserved for commits.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, PoolError, QueueMode};
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;
use crate::connector::{Connected, Connector, Purpose};

/// The deadline of one use of a connection, so that a silent server is noticed. Writes get more
/// time by their weight.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// The deadline of a use that asks for next to nothing, such as the health check.
pub(crate) const LIGHT_DEADLINE: Duration = Duration::from_secs(5);

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
    connections: deadpool::managed::Pool<Connector>,
    size: u32,
    timeout: Duration,
    /// One permit for each connection.
    permits: Arc<Semaphore>,
    /// One permit for each connection that is not reserved for commits.
    other_permits: Arc<Semaphore>,
}

impl Pool {
    /// Connects to nothing yet.
    pub(crate) fn new(connector: Connector, size: u32, timeout: Duration) -> Self {
        let connections = deadpool::managed::Pool::builder(connector)
            .max_size(size.max(1) as usize)
            // The rest become idle, and are closed.
            .queue_mode(QueueMode::Lifo)
            .build();
        let permits = |count: u32| Arc::new(Semaphore::new(count.max(1) as usize));
        Self {
            connections: connections.unwrap_or_else(|_| unreachable!("no timeout needs a runtime")),
            size,
            timeout,
            permits: permits(size),
            other_permits: permits(size.saturating_sub(1)),
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

    /// The deadline of a query that asks for little and may wait if there is no other node.
    pub(crate) fn light_deadline(&self) -> Duration {
        if self.connector().has_several_nodes() { LIGHT_DEADLINE } else { DEADLINE }
    }

    /// How connections are made.
    pub(crate) fn connector(&self) -> &Connector {
        self.connections.manager()
    }

    /// A connection that is not pooled.
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<MySqlConnection, Error> {
        Ok(self.connector().connect(purpose).await?.connection)
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
        let mut loan =
            Loan { connected: Some(Box::pin(self.connection()).await?), _permits: permits };
        let Some(connected) = &mut loan.connected else { unreachable!("set in this function") };
        let node = connected.node.clone();
        let result = tokio::select! {
            result = within(what, deadline, work(&mut connected.connection)) => result,
            () = Box::pin(self.connector().silence_of(&node)) => {
                Err(Error::NodeSilent(node.to_string()))
            }
        };
        self.connector().judge(&node, &result, deadline <= LIGHT_DEADLINE);
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
    async fn connection(&self) -> Result<Object<Connector>, Error> {
        self.connections.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            // Only the first of these is possible.
            PoolError::Closed | PoolError::Timeout(_) | PoolError::PostCreateHook(_) => {
                Error::Connect(sqlx::Error::PoolClosed)
            }
            PoolError::NoRuntimeSpecified => Error::Connect(sqlx::Error::WorkerCrashed),
        })
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        let idle = self.connections.retain(|_, _| false).removed;
        self.connections.close();
        for Connected { connection, .. } in idle {
            _ = tokio::time::timeout(LIGHT_DEADLINE, connection.close()).await;
        }
    }
}

/// The right to use a connection.
pub(crate) struct Permits {
    _connection: OwnedSemaphorePermit,
    _other: Option<OwnedSemaphorePermit>,
}

/// A lent connection. Dropping it closes the connection, even if its user was cancelled in the
/// middle of a transaction.
struct Loan {
    connected: Option<Object<Connector>>,
    _permits: Permits,
}

impl Loan {
    /// Returns the connection before the permits.
    fn put_back(mut self) {
        drop(self.connected.take());
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(connected) = self.connected.take() {
            drop(Object::take(connected));
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
