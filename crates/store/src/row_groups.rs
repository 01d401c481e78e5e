//! The rows of a run in groups, each of which is read in key order by the index `fetches_by_run`.

use sqlx::FromRow;
use sqlx::mysql::MySqlConnection;

use crate::Error;

/// The groups of a run; binds the run. Reads only the index.
pub const GROUPS_OF_RUN: &str = "SELECT DISTINCT part, outcome FROM fetches \
                                 FORCE INDEX (fetches_by_run) WHERE run = ?";
/// The groups of a part; binds the run and the part. Reads only the index.
pub const GROUPS_OF_PART: &str = "SELECT DISTINCT part, outcome FROM fetches \
                                  FORCE INDEX (fetches_by_run) WHERE run = ? AND part = ?";

/// Rows of a run that agree in these columns.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct RowGroup {
    pub(crate) part: String,
    pub(crate) outcome: String,
}

/// The groups of a run, or of one of its parts.
pub(crate) async fn read(
    connection: &mut MySqlConnection,
    run: &str,
    part: Option<&str>,
) -> Result<Vec<RowGroup>, Error> {
    let query = match part {
        Some(part) => sqlx::query_as(GROUPS_OF_PART).bind(run).bind(part),
        None => sqlx::query_as(GROUPS_OF_RUN).bind(run),
    };
    query.fetch_all(connection).await.map_err(Error::database("cannot read the rows of a run"))
}
