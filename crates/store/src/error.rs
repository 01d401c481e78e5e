//! What can go wrong between fetchline and its database.

/// A failure at the boundary to MySQL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database URL cannot be read. The text never repeats the URL, which may hold a password.
    #[error("the database URL is not usable: {0}")]
    Url(String),
    /// The database does not answer, or does not take what it is given. Trying again could help.
    #[error("{context}")]
    Database {
        /// What was being done.
        context: &'static str,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// A call took too long.
    #[error("the database did not answer within {0} s ({1})")]
    Deadline(u64, &'static str),
    /// No connection could be had in time.
    #[error(
        "no database connection within {timeout_s} s: the database does not answer, or all {size} connections are in \
         use (--pool, --pool-timeout)"
    )]
    PoolTimeout {
        /// How long was waited.
        timeout_s: f64,
        /// How many connections there may be.
        size: u32,
    },
    /// The database takes none of the rows, and no bare row either.
    #[error("the database refuses every row of a batch: {0}")]
    EveryRowRefused(String),
    /// There are no tables.
    #[error("the database has no fetchline schema: run `fetchline migrate` first")]
    SchemaMissing,
    /// The tables are older than this program.
    #[error("the database has schema version {found}, and this program needs {needed}: run `fetchline migrate` first")]
    SchemaTooOld {
        /// The newest migration that was applied.
        found: i64,
        /// The newest migration that this program knows.
        needed: i64,
    },
    /// A migration failed.
    #[error("a migration failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Another process has been migrating for too long.
    #[error("another process has held the migration lock for {0} s")]
    MigrationLocked(u64),
}

impl Error {
    pub(crate) fn database(context: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { context, source }
    }

    /// The server's error number, where the server answered with one.
    pub fn number(&self) -> Option<u16> {
        match self {
            Self::Database { source: sqlx::Error::Database(error), .. } => {
                error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|error| error.number())
            }
            _ => None,
        }
    }

    /// What the server said.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Database { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }

    /// Whether the server says that a row is not acceptable, or too large: 1048 null, 1153 packet, 1264 range, 1366 and
    /// 1406 text, 3140 and 4025 JSON and constraints (MariaDB), 3819 constraints (MySQL).
    pub(crate) fn is_refusal(&self) -> bool {
        const REFUSALS: [u16; 8] = [1048, 1153, 1264, 1366, 1406, 3140, 3819, 4025];
        self.number().is_some_and(|number| REFUSALS.contains(&number))
    }

    /// Whether the transaction lost against another one, and may just be tried again: 1205 lock wait, 1213 deadlock.
    pub fn is_contention(&self) -> bool {
        self.number().is_some_and(|number| matches!(number, 1205 | 1213))
    }

    /// Whether waiting cannot help: a person has to do something first.
    pub fn is_configuration(&self) -> bool {
        // The server's numbers for a user or password that it does not let in.
        const ACCESS_DENIED: [u16; 3] = [1044, 1045, 1698];
        matches!(self, Self::Url(_) | Self::SchemaMissing | Self::SchemaTooOld { .. })
            || self.number().is_some_and(|number| ACCESS_DENIED.contains(&number))
    }
}
