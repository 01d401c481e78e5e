//! How far a long operation has come, in the table `positions`.

use sqlx::mysql::MySqlConnection;
use time::PrimitiveDateTime;

use crate::Error;

/// The last row that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) last_key: Vec<u8>,
    pub(crate) fetched_at: Option<PrimitiveDateTime>,
}

/// Reads the position of an operation, and locks it until the end of the transaction, so that one
/// process at a time carries on from it. `None` at the beginning.
pub(crate) async fn lock_position(
    connection: &mut MySqlConnection,
    operation: &str,
) -> Result<Option<Position>, Error> {
    const BEGIN: &str = "INSERT INTO positions (operation, last_key) VALUES (?, '') \
                         ON DUPLICATE KEY UPDATE last_key = last_key";
    const READ: &str = "SELECT last_key, fetched_at FROM positions WHERE operation = ? FOR UPDATE";
    let failed = Error::database("cannot read how far an operation has come");
    sqlx::query(BEGIN).bind(operation).execute(&mut *connection).await.map_err(&failed)?;
    let read = sqlx::query_as(READ).bind(operation).fetch_one(connection).await;
    let (last_key, fetched_at): (Vec<u8>, _) = read.map_err(&failed)?;
    Ok((!last_key.is_empty()).then_some(Position { last_key, fetched_at }))
}

/// Records that everything up to this row is done, in the transaction that does it.
pub(crate) async fn save_position(
    connection: &mut MySqlConnection,
    operation: &str,
    last_key: &[u8],
    fetched_at: Option<PrimitiveDateTime>,
) -> Result<(), Error> {
    let save = sqlx::query("UPDATE positions SET last_key = ?, fetched_at = ? WHERE operation = ?")
        .bind(last_key)
        .bind(fetched_at)
        .bind(operation);
    let saved = save.execute(connection).await;
    saved.map(drop).map_err(Error::database("cannot record how far an operation has come"))
}
