//! Probes of the server after a write has failed: is it the server's fault, or the batch's?

use super::server_thread::ServerThread;
use crate::pool::{LIGHT_DEADLINE, Lane};
use crate::store::check_writable;
use crate::{Error, Store};

/// Checks that the server answers, on the connection that is reserved for commits. First kills what
/// is left of the failed write in the server, because it holds its locks until then.
pub(super) async fn check_answering(store: &Store, failed: &ServerThread) -> Result<(), Error> {
    const PING: &str = "checking that the database answers at all";
    let ping = || {
        store.pool.lend(Lane::Commit, PING, LIGHT_DEADLINE, async |connection| {
            failed.kill(connection).await?;
            check_writable(connection).await
        })
    };
    store.on_live_connection(ping).await
}

/// Checks that the server commits. If the disk of its log is full, or no other member of its
/// cluster answers, a COMMIT hangs while statements run as usual. Leaves no row behind.
pub(super) async fn check_committing(store: &Store) -> Result<(), Error> {
    const PROBE: &str = "checking that the database commits anything";
    const WRITE: &str = "INSERT INTO quarantine (id, begun, worker, begun_at) \
                         VALUES (?, 0, 'commit probe', UTC_TIMESTAMP(6)) \
                         ON DUPLICATE KEY UPDATE begun_at = VALUES(begun_at)";
    let probe = || {
        store.pool.lend(Lane::Commit, PROBE, LIGHT_DEADLINE, async |connection| {
            for statement in [WRITE, "DELETE FROM quarantine WHERE id = ?"] {
                let statement = sqlx::query(statement).bind(store.commit_probe.as_slice());
                statement.execute(&mut *connection).await.map_err(Error::TakesNoRows)?;
            }
            Ok(())
        })
    };
    store.on_live_connection(probe).await.map_err(|error| match error {
        // Only an older probe, whose COMMIT has not ended, can have locked the row.
        Error::TakesNoRows(_) if error.is_contention() => {
            Error::Silent(LIGHT_DEADLINE.as_secs_f64(), PROBE)
        }
        error => error,
    })
}
