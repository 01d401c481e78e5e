//! The server's thread for a connection, which can outlive the client's interest in it.

use std::sync::{Mutex, PoisonError};

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::Error;

/// Identifies the server; several servers may share an address.
const SERVER: &str = "CONCAT(@@hostname, ':', @@port, ':', @@server_id)";

/// The server and the thread number of the connection that ran the last transaction.
///
/// A statement that exceeds the client's deadline continues in the server. It keeps its locks,
/// which would block the next try.
#[derive(Debug, Default)]
pub(crate) struct ServerThread(Mutex<Option<(String, u64)>>);

impl ServerThread {
    /// Begins a transaction, and remembers its thread. Takes one round trip.
    pub(super) async fn begin(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        self.forget();
        let begin =
            format!("SELECT {SERVER}, CAST(CONNECTION_ID() AS UNSIGNED); START TRANSACTION");
        let rows = sqlx::raw_sql(AssertSqlSafe(begin))
            .fetch_all(connection)
            .await
            .map_err(Error::TakesNoRows)?;
        // If the server answers with other types, its threads cannot be killed.
        let thread = rows.iter().find_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = thread;
        Ok(())
    }

    /// Forgets the thread, because nothing is left of its transaction and the connection may
    /// belong to another user by now.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Kills what is left of the transaction, on another connection. Succeeds as well if nothing is
    /// left.
    pub(super) async fn kill(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((server, thread)) = thread else { return Ok(()) };
        let failed = Error::database("cannot end an old statement");
        let ask = format!("SELECT {SERVER}, CAST(CONNECTION_ID() AS UNSIGNED)");
        let (this_server, this_thread): (String, u64) = sqlx::query_as(AssertSqlSafe(ask))
            .fetch_one(&mut *connection)
            .await
            .map_err(&failed)?;
        if this_server == server && this_thread != thread {
            // Prepared, because a proxy takes a bare KILL as a command for itself, with one of its
            // own thread numbers.
            let kill = format!(
                "PREPARE fetchline_kill FROM 'KILL CONNECTION {thread}'; EXECUTE fetchline_kill"
            );
            let killed = sqlx::raw_sql(AssertSqlSafe(kill)).execute(connection).await;
            // An error from the server means that the thread has already ended.
            if let Err(error) = killed.map_err(&failed)
                && error.number().is_none()
            {
                return Err(error);
            }
        }
        self.forget();
        Ok(())
    }
}
