//! The errors of this crate, and what each of them means for the caller.

mod class;
mod failures;
#[cfg(test)]
mod server_error;

pub use self::class::Class;
pub(crate) use self::failures::{Failures, is_answer};
#[cfg(test)]
pub(crate) use self::server_error::server_error;

use self::class::{IMMEDIATE, LOCK_WAIT_TIMEOUT, STALE_STATEMENT, SUSPECT, number};

/// The context of a failure to update `run_counts`, which is retried in its own way.
pub(crate) const CANNOT_COUNT: &str = "cannot count a batch";

/// A failure at the boundary to the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database URL is invalid. The text never repeats the URL, which may contain a password.
    #[error("the database URL is invalid: {0}")]
    Url(String),
    /// The server refuses a connection, or is unreachable.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
    /// No node takes a connection.
    #[error("cannot connect to the database ({failures})")]
    NoNode {
        /// Each node, and why it takes none.
        failures: String,
        /// The error that says most; `None` if no node answers.
        decisive: Option<sqlx::Error>,
    },
    /// A node was left because it does not answer.
    #[error("the node {0} of the database does not answer")]
    NodeSilent(String),
    /// All connections of this process were in use.
    #[error(
        "all {size} database connections were in use for {timeout_s} s: raise the pool size or the \
         pool timeout"
    )]
    PoolTimeout {
        /// The time after which the call gave up.
        timeout_s: f64,
        /// The maximum number of connections.
        size: u32,
    },
    /// A statement failed; see [`Self::class`].
    #[error("{context}")]
    Database {
        /// What failed.
        context: &'static str,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// A statement failed that touches no row or changes nothing, such as the health check.
    #[error("the database takes no rows")]
    TakesNoRows(#[source] sqlx::Error),
    /// A call exceeded its deadline: the deadline in seconds, and what it was doing.
    #[error("the database did not answer within {0:.0} s ({1})")]
    Deadline(f64, &'static str),
    /// Even a statement that touches no row exceeded its deadline.
    #[error("the database does not answer: {1} took longer than {0:.0} s")]
    Silent(f64, &'static str),
    /// The database refuses every row of a batch, and bare rows as well.
    #[error("the database refuses every row of a batch: {0}")]
    EveryRowRefused(String),
    /// The database has no tables.
    #[error("the database has no fetchline schema")]
    SchemaMissing,
    /// The schema is older than this program.
    #[error("the database has schema version {found}, but this program needs version {needed}")]
    SchemaTooOld {
        /// The newest migration that was applied.
        found: i64,
        /// The newest migration that this program contains.
        needed: i64,
    },
    /// Another program uses the database: the names of its tables that are also ours.
    #[error("the database has tables of another program: {0}")]
    ForeignTables(String),
    /// Parts of the schema are missing: their names.
    #[error("the schema of the database lacks {0}")]
    SchemaDamaged(String),
}

impl Error {
    pub(crate) fn database(context: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { context, source }
    }

    /// What this failure means. Only [`Class::Away`] is an outage.
    pub fn class(&self) -> Class {
        match self {
            Self::PoolTimeout { .. } => Class::Contention,
            Self::Deadline(..) => Class::Slow,
            Self::Database { source, .. } => Class::of(source),
            // A statement that touches no row cannot be rejected because of a row.
            Self::TakesNoRows(source) if Class::of(source) == Class::Contention => {
                Class::Contention
            }
            Self::TakesNoRows(_)
            | Self::Url(_)
            | Self::Connect(_)
            | Self::NoNode { .. }
            | Self::NodeSilent(_)
            | Self::Silent(..)
            | Self::EveryRowRefused(_)
            | Self::SchemaMissing
            | Self::SchemaTooOld { .. }
            | Self::ForeignTables(_)
            | Self::SchemaDamaged(_) => Class::Away,
        }
    }

    /// The server's error number, if the server sent the error.
    pub fn number(&self) -> Option<u16> {
        self.driver_error().and_then(number)
    }

    /// What the server or the driver says, for people.
    pub(crate) fn reason(&self) -> String {
        self.driver_error().map_or_else(|| self.to_string(), ToString::to_string)
    }

    fn driver_error(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Connect(source) | Self::Database { source, .. } | Self::TakesNoRows(source) => {
                Some(source)
            }
            Self::NoNode { decisive, .. } => decisive.as_ref(),
            Self::Url(_)
            | Self::NodeSilent(_)
            | Self::PoolTimeout { .. }
            | Self::Deadline(..)
            | Self::Silent(..)
            | Self::EveryRowRefused(_)
            | Self::SchemaMissing
            | Self::SchemaTooOld { .. }
            | Self::ForeignTables(_)
            | Self::SchemaDamaged(_) => None,
        }
    }

    /// Whether a use of a connection ended like this because of the node that it leads to.
    pub(crate) fn is_of_node(&self) -> bool {
        match self {
            Self::Deadline(..) | Self::Silent(..) => true,
            Self::Database { .. } | Self::TakesNoRows(_) => self.class() == Class::Away,
            _ => false,
        }
    }

    /// Whether the connection was lost during a statement, or something else happened that the
    /// statement itself may have caused. Whether the server answers others decides.
    pub(crate) fn is_suspect(&self) -> bool {
        matches!(self, Self::Database { .. }) && self.is_lost_connection()
    }

    /// Whether an established connection was lost. A pooled connection may have been dead for a
    /// long time, so this alone does not mean that the server is away.
    pub(crate) fn is_lost_connection(&self) -> bool {
        let (Self::Database { source, .. } | Self::TakesNoRows(source)) = self else {
            return false;
        };
        match number(source) {
            Some(number) => SUSPECT.contains(&number),
            None => Class::of(source) == Class::Away,
        }
    }

    /// The same failure of a statement that involves no row. Unless it is contention, it is never
    /// the fault of a row.
    pub(crate) fn without_row(self) -> Self {
        match self {
            Self::Database { source, .. } => Self::TakesNoRows(source),
            Self::Deadline(seconds, what) => Self::Silent(seconds, what),
            other => other,
        }
    }

    /// Whether the connection can run another transaction once this one has been rolled back.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        match self.class() {
            Class::Contention => {
                self.number().is_some_and(|number| !STALE_STATEMENT.contains(&number))
            }
            Class::Rejected => true,
            Class::Away | Class::Slow => false,
        }
    }

    /// Whether rows of `run_counts`, rather than rows of tasks, are locked.
    pub(crate) fn is_locked_count(&self) -> bool {
        matches!(self, Self::Database { context, .. } if *context == CANNOT_COUNT)
            && self.number() == Some(LOCK_WAIT_TIMEOUT)
    }

    /// Whether a transaction lost against another one without a wait.
    pub(crate) fn is_immediate_contention(&self) -> bool {
        self.number().is_some_and(|number| IMMEDIATE.contains(&number))
    }

    /// Whether another transaction was working on the same rows, or all connections were in use. A
    /// plain retry succeeds.
    pub fn is_contention(&self) -> bool {
        self.class() == Class::Contention
    }

    /// Whether waiting cannot help, because a person has to act first.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Url(_)) || self.refusal().is_some()
    }

    /// What a person has to correct before another attempt can succeed.
    pub fn refusal(&self) -> Option<&'static str> {
        if matches!(self, Self::SchemaMissing | Self::SchemaTooOld { .. }) {
            return Some("run `fetchline migrate` first");
        }
        if matches!(self, Self::ForeignTables(_)) {
            return Some("name a database of its own in --database-url");
        }
        if matches!(self, Self::SchemaDamaged(_)) {
            return Some(
                "restore it from a backup, or grant the account the rights on it: `fetchline \
                 migrate` creates each part once",
            );
        }
        let error = self.driver_error()?;
        match number(error) {
            Some(number) => class::remedy(number),
            None if matches!(error, sqlx::Error::Configuration(_)) => {
                Some("correct host and port of --database-url: the usual port is 3306")
            }
            None if is_tls(error) => Some(
                "correct `ssl-mode` and `ssl-ca` of --database-url: the server has to use TLS, and \
                 its certificate has to be signed by that authority, for the host of the URL",
            ),
            None => None,
        }
    }
}

/// Whether TLS fails for another reason than a lost connection. TLS reports what it receives as
/// invalid data.
fn is_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(source: sqlx::Error) -> Error {
        Error::database("cannot write")(source)
    }

    fn lost() -> sqlx::Error {
        sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into())
    }

    #[test]
    fn an_unreachable_server_is_away() {
        assert_eq!(database(lost()).class(), Class::Away);
        assert_eq!(Error::Connect(lost()).class(), Class::Away);
        assert_eq!(Error::EveryRowRefused(String::new()).class(), Class::Away);
        // Even an error that would otherwise be about a row: the health check has no row.
        assert_eq!(Error::TakesNoRows(sqlx::Error::RowNotFound).class(), Class::Away);
        assert_eq!(Error::Silent(5.0, "the health check").class(), Class::Away);
    }

    #[test]
    fn a_busy_pool_is_contention_and_a_missed_deadline_is_slow() {
        assert!(Error::PoolTimeout { timeout_s: 5.0, size: 4 }.is_contention());
        assert_eq!(Error::Deadline(20.0, "writing").class(), Class::Slow);
    }

    #[test]
    fn a_value_that_the_driver_cannot_encode_is_about_the_row() {
        assert_eq!(database(sqlx::Error::Encode("too long".into())).class(), Class::Rejected);
    }

    #[test]
    fn a_lost_connection_is_suspect_only_during_a_statement() {
        assert!(database(lost()).is_suspect());
        assert!(!Error::Connect(lost()).is_suspect() && !Error::TakesNoRows(lost()).is_suspect());
        assert!(!database(sqlx::Error::Encode("too long".into())).is_suspect());
        for number in [5, 1037, 1041, 2006, 2013, 3100, 4082] {
            assert!(SUSPECT.contains(&number), "{number}");
        }
        // A health check may lose a pooled connection that had been dead for a long time.
        assert!(database(lost()).without_row().is_lost_connection());
        assert!(!Error::Connect(lost()).is_lost_connection());
    }

    #[test]
    fn a_failure_without_a_row_is_not_the_fault_of_a_row() {
        assert_eq!(database(sqlx::Error::RowNotFound).without_row().class(), Class::Away);
        assert_eq!(Error::Deadline(5.0, "asking").without_row().class(), Class::Away);
        assert!(Error::PoolTimeout { timeout_s: 5.0, size: 4 }.without_row().is_contention());
    }
}
