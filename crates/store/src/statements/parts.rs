//! The statements that write part reports into `runs`.

use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::clock::to_stored;
use crate::part_report::PartReport;

/// A part began. If it is already known, only an earlier beginning changes it.
const BEGIN: &str = "INSERT INTO runs (run, part, created_at) VALUES (?, ?, ?) \
                     ON DUPLICATE KEY UPDATE created_at = LEAST(created_at, VALUES(created_at))";
/// A part ended; of several ends the latest counts. Assignments run in order, so `closed_at`, which
/// is compared, comes after `planned`.
const CLOSE: &str = "INSERT INTO runs (run, part, planned, created_at, closed_at) \
                     VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
                     planned = IF(closed_at > VALUES(closed_at), planned, VALUES(planned)), \
                     closed_at = GREATEST(COALESCE(closed_at, VALUES(closed_at)), \
                     VALUES(closed_at)), \
                     created_at = LEAST(created_at, VALUES(created_at))";
/// Cancels a part that began before its run was cancelled, but whose report arrives later. The
/// cancellation gets the present time, so that pollers, which read recent changes, notice it.
const CANCEL_LATE: &str = "UPDATE runs AS part JOIN runs AS cancelled \
                           ON cancelled.run = part.run AND cancelled.part = '' \
                           SET part.cancelled_at = UTC_TIMESTAMP(6) \
                           WHERE part.run = ? AND part.part = ? AND part.cancelled_at IS NULL \
                           AND part.created_at <= cancelled.cancelled_at";

/// Writes part reports in the transaction of `connection`. The reports come in key order, because
/// all row locks are taken in key order.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    reports: &[&PartReport],
) -> Result<(), Error> {
    let failed = Error::database("cannot write the parts of runs");
    for PartReport { run, part, planned, at } in reports {
        let at = to_stored(*at);
        let write = match planned {
            None => sqlx::query(BEGIN).bind(run).bind(part).bind(at),
            Some(planned) => {
                sqlx::query(CLOSE).bind(run).bind(part).bind(*planned).bind(at).bind(at)
            }
        };
        write.execute(&mut *connection).await.map_err(&failed)?;
        let cancel = sqlx::query(CANCEL_LATE).bind(run).bind(part);
        cancel.execute(&mut *connection).await.map_err(&failed)?;
    }
    Ok(())
}

/// Writes a part that belongs to no run; the caller rolls it back. If the database accepts it, a
/// part that it refuses is itself at fault.
pub(crate) async fn write_sample(connection: &mut MySqlConnection) -> Result<(), Error> {
    const SAMPLE: &str =
        "INSERT INTO runs (run, part, created_at) VALUES ('', 'sample', UTC_TIMESTAMP(6))";
    let written = sqlx::query(SAMPLE).execute(connection).await;
    written.map(drop).map_err(Error::database("cannot write a part of a run"))
}
