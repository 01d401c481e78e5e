//! What can go wrong between fetchline and its database, and what each failure means.

use self::numbers::{AWAY, CONTENTION, OF_SYSTEM, PROMPT, STALE_STATEMENT, SUSPECT};
use crate::counts;

/// What a failure says, and so what is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The database takes nothing from anybody. Everything waits until it does.
    Away,
    /// Somebody else was at work on the same rows, or had the connections. A retry succeeds.
    Contention,
    /// A statement took longer than its deadline. A smaller one may be quick enough.
    Slow,
    /// The server, or the driver, does not take this statement: the fault is in its data. Every
    /// error that is not known belongs here, so that no page can stop a worker.
    Rejected,
}

/// The error numbers of MySQL 8 to 9 and MariaDB 10.11 and later that are not about a row. Sources:
/// the servers' own lists (`perror` of MariaDB; "Server Error Message Reference" of MySQL), and
/// what was seen on Galera and Group Replication. A number that only a new connection can get is not
/// listed: see [`Error::Connect`].
mod numbers {
    /// What a server answers with a number of these comes from its system: `ERROR 3 (HY000): Error
    /// writing file (Errcode: 28 "No space left on device")`.
    pub(super) const OF_SYSTEM: std::ops::Range<u16> = 0..1000;

    /// The server, the schema or the account is in a state in which nobody's rows are taken. Numbers
    /// from 2000 on are those of a client: a proxy passes on what it got as one.
    pub(super) const AWAY: &[u16] = &[
        1021, // ER_DISK_FULL
        1026, // ER_ERROR_ON_WRITE
        1030, // ER_GET_ERRNO: the storage engine failed; MySQL says this also of a full disk
        1036, // ER_OPEN_AS_READONLY: the table is read-only
        1037, // ER_OUTOFMEMORY
        1038, // ER_OUT_OF_SORTMEMORY
        1040, // ER_CON_COUNT_ERROR: too many connections
        1041, // ER_OUT_OF_RESOURCES
        1044, // ER_DBACCESS_DENIED_ERROR
        1045, // ER_ACCESS_DENIED_ERROR
        1047, // ER_UNKNOWN_COM_ERROR: a Galera node that is not in the primary component says this
        1049, // ER_BAD_DB_ERROR: no such database
        1053, // ER_SERVER_SHUTDOWN; MySQL says this also to a connection that was killed
        1054, // ER_BAD_FIELD_ERROR: no such column
        1077, // ER_NORMAL_SHUTDOWN
        1078, // ER_GOT_SIGNAL
        1079, // ER_SHUTDOWN_COMPLETE
        1114, // ER_RECORD_FILE_FULL: the table is full
        1129, // ER_HOST_IS_BLOCKED
        1130, // ER_HOST_NOT_PRIVILEGED
        1135, // ER_CANT_CREATE_THREAD
        1142, // ER_TABLEACCESS_DENIED_ERROR
        1143, // ER_COLUMNACCESS_DENIED_ERROR
        1146, // ER_NO_SUCH_TABLE
        1152, // ER_ABORTING_CONNECTION
        1158, // ER_NET_READ_ERROR
        1159, // ER_NET_READ_INTERRUPTED
        1160, // ER_NET_ERROR_ON_WRITE
        1161, // ER_NET_WRITE_INTERRUPTED
        1180, // ER_ERROR_DURING_COMMIT: seen while the replication of a cluster breaks
        1184, // ER_NEW_ABORTING_CONNECTION
        1194, // ER_CRASHED_ON_USAGE
        1195, // ER_CRASHED_ON_REPAIR
        1203, // ER_TOO_MANY_USER_CONNECTIONS
        1226, // ER_USER_LIMIT_REACHED
        1227, // ER_SPECIFIC_ACCESS_DENIED_ERROR
        1290, // ER_OPTION_PREVENTS_STATEMENT: --read-only, --super-read-only
        1461, // ER_MAX_PREPARED_STMT_COUNT_REACHED
        1637, // ER_TOO_MANY_CONCURRENT_TRXS
        1698, // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
        1792, // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        1812, // ER_TABLESPACE_MISSING
        1814, // ER_TABLESPACE_DISCARDED
        1820, // ER_MUST_CHANGE_PASSWORD
        1836, // ER_READ_ONLY_MODE
        1862, // ER_MUST_CHANGE_PASSWORD_LOGIN
        1874, // ER_INNODB_READ_ONLY
        1877, // ER_TABLE_CORRUPT
        1932, // ER_NO_SUCH_TABLE_IN_ENGINE
        1950, // ER_GTID_STRICT_OUT_OF_ORDER (MariaDB): a former primary
        2002, // CR_CONNECTION_ERROR
        2003, // CR_CONN_HOST_ERROR
        2006, // CR_SERVER_GONE_ERROR
        2013, // CR_SERVER_LOST
        2026, // CR_SSL_CONNECTION_ERROR
        2055, // CR_SERVER_LOST_EXTENDED
        3019, // ER_INNODB_UNDO_LOG_FULL (MySQL)
        3032, // ER_SERVER_OFFLINE_MODE (MySQL)
        3100, // ER_RUN_HOOK_ERROR (MySQL): a member of a group without a quorum
        3168, // ER_SERVER_ISNT_AVAILABLE (MySQL)
        3989, // ER_SCHEMA_READ_ONLY (MySQL)
        4031, // ER_CLIENT_INTERACTION_TIMEOUT (MySQL): it has closed an idle connection
        4082, // ER_DA_CONN_LIMIT (MySQL): the connection has used too much memory, and is closed
        4083, // ER_DA_GLOBAL_CONN_LIMIT (MySQL): the same of all connections together
        9001, // ProxySQL: no server answers in time
    ];

    /// The transaction lost against somebody else, or somebody has ended it.
    pub(super) const CONTENTION: &[u16] = &[
        1020, // ER_CHECKREAD: the row has changed since it was read (MariaDB, snapshot isolation)
        1205, // ER_LOCK_WAIT_TIMEOUT; rolls back the statement only
        1206, // ER_LOCK_TABLE_FULL: all transactions together hold too many locks
        1213, // ER_LOCK_DEADLOCK; on Galera also at COMMIT
        1243, // ER_UNKNOWN_STMT_HANDLER: a proxy has gone on with another server
        1317, // ER_QUERY_INTERRUPTED: KILL QUERY
        1412, // ER_TABLE_DEF_CHANGED
        1615, // ER_NEED_REPREPARE
        1927, // ER_CONNECTION_KILLED (MariaDB)
        1969, // ER_STATEMENT_TIMEOUT (MariaDB, max_statement_time)
        3024, // ER_QUERY_TIMEOUT (MySQL, max_execution_time)
        3101, // ER_TRANSACTION_ROLLBACK_DURING_COMMIT (MySQL): Group Replication's certification
        3169, // ER_SESSION_WAS_KILLED (MySQL)
        3572, // ER_LOCK_NOWAIT (MySQL)
    ];

    /// Contention that shows at once, without a wait: a few more tries cost nothing.
    pub(super) const PROMPT: &[u16] = &[1020, 1213, 1243, 1412, 1615, 3101, 3572];

    /// The server knows a statement no longer that was prepared on this connection. Another one
    /// prepares it anew.
    pub(super) const STALE_STATEMENT: &[u16] = &[1243, 1615];

    /// Either the server is in trouble or this statement has brought it about: whether others still
    /// get through tells.
    pub(super) const SUSPECT: &[u16] = &[
        5, // EE_OUTOFMEMORY
        1030, 1037, 1041, 1053, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1927, 2002, 2003, 2006, 2013, 2026, 2055,
        3100, 3169, 4031, 4082,
    ];
}

/// A failure at the boundary to MySQL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database URL cannot be read. The text never repeats the URL, which may hold a password.
    #[error("the database URL is not usable: {0}")]
    Url(String),
    /// The server refuses a connection, or there is none to it.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
    /// The server accepts no connection.
    #[error("no database connection within {timeout_s} s: the database does not answer (--pool-timeout)")]
    NoConnection {
        /// How long was waited.
        timeout_s: f64,
    },
    /// All connections of this process were in use.
    #[error("all {size} database connections have been in use for {timeout_s} s (--pool, --pool-timeout)")]
    PoolTimeout {
        /// How long was waited.
        timeout_s: f64,
        /// How many connections there may be.
        size: u32,
    },
    /// A statement failed; [`Self::class`] tells why.
    #[error("{context}")]
    Database {
        /// What was being done.
        context: &'static str,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The health check failed: a statement that changes nothing is not taken.
    #[error("the database takes no rows")]
    TakesNoRows(#[source] sqlx::Error),
    /// A call took too long.
    #[error("the database did not answer within {0:.0} s ({1})")]
    Deadline(f64, &'static str),
    /// Not even the health check was answered in time.
    #[error("the database does not answer: {1} took more than {0:.0} s")]
    Silent(f64, &'static str),
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

    /// What this failure says. Only [`Class::Away`] is an outage.
    pub fn class(&self) -> Class {
        match self {
            Self::PoolTimeout { .. } => Class::Contention,
            Self::Deadline(..) => Class::Slow,
            Self::Database { source, .. } => class_of(source),
            // A statement that touches no row says nothing of rows.
            Self::TakesNoRows(source) if class_of(source) == Class::Contention => Class::Contention,
            Self::TakesNoRows(_)
            | Self::Url(_)
            | Self::Connect(_)
            | Self::NoConnection { .. }
            | Self::Silent(..)
            | Self::EveryRowRefused(_)
            | Self::SchemaMissing
            | Self::SchemaTooOld { .. }
            | Self::Migration(_)
            | Self::MigrationLocked(_) => Class::Away,
        }
    }

    /// The server's error number, where the server answered with one.
    pub fn number(&self) -> Option<u16> {
        match self {
            Self::Connect(source) | Self::Database { source, .. } | Self::TakesNoRows(source) => number_of(source),
            _ => None,
        }
    }

    /// What the server said.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Connect(source) | Self::Database { source, .. } | Self::TakesNoRows(source) => source.to_string(),
            other => other.to_string(),
        }
    }

    /// Whether the connection was lost under a statement, or something else happened that a
    /// statement may itself have brought about. Whether the server answers others tells.
    pub(crate) fn is_suspect(&self) -> bool {
        matches!(self, Self::Database { .. }) && self.is_lost()
    }

    /// Whether a connection that had been there was lost. One of a pool may have been so for long:
    /// that says nothing of the server.
    pub(crate) fn is_lost(&self) -> bool {
        let (Self::Database { source, .. } | Self::TakesNoRows(source)) = self else { return false };
        match number_of(source) {
            Some(number) => SUSPECT.contains(&number),
            None => class_of(source) == Class::Away,
        }
    }

    /// The same failure where no row was involved: whatever it is but contention, it is no row's
    /// fault.
    pub(crate) fn of_no_row(self) -> Self {
        match self {
            Self::Database { source, .. } => Self::TakesNoRows(source),
            Self::Deadline(seconds, what) => Self::Silent(seconds, what),
            other => other,
        }
    }

    /// Whether the connection is good for another transaction once this one was rolled back.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        match self.class() {
            Class::Contention => self.number().is_some_and(|number| !STALE_STATEMENT.contains(&number)),
            Class::Rejected => true,
            Class::Away | Class::Slow => false,
        }
    }

    /// Whether rows that count, rather than rows of tasks, are locked.
    pub(crate) fn is_wait_for_counts(&self) -> bool {
        const LOCK_WAIT_TIMEOUT: u16 = 1205;
        matches!(self, Self::Database { context, .. } if *context == counts::CANNOT_COUNT)
            && self.number() == Some(LOCK_WAIT_TIMEOUT)
    }

    /// Whether a transaction lost against another one, and did so at once.
    pub(crate) fn is_prompt(&self) -> bool {
        self.number().is_some_and(|number| PROMPT.contains(&number))
    }

    /// Whether somebody else was at work on the same rows, or had the connections: it may just be
    /// tried again.
    pub fn is_contention(&self) -> bool {
        self.class() == Class::Contention
    }

    /// Whether waiting cannot help: a person has to do something first.
    pub fn is_configuration(&self) -> bool {
        // The server's numbers for a user or password that it does not let in.
        const ACCESS_DENIED: [u16; 3] = [1044, 1045, 1698];
        matches!(self, Self::Url(_) | Self::SchemaMissing | Self::SchemaTooOld { .. })
            || self.number().is_some_and(|number| ACCESS_DENIED.contains(&number))
    }
}

fn number_of(error: &sqlx::Error) -> Option<u16> {
    match error {
        sqlx::Error::Database(error) => {
            error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|error| error.number())
        }
        _ => None,
    }
}

fn class_of(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Configuration(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Class::Away,
        // What is left comes from the data: it cannot be encoded, or cannot be decoded.
        other => number_of(other).map_or(Class::Rejected, class_of_number),
    }
}

fn class_of_number(number: u16) -> Class {
    match number {
        _ if CONTENTION.contains(&number) => Class::Contention,
        _ if AWAY.contains(&number) || OF_SYSTEM.contains(&number) => Class::Away,
        _ => Class::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(source: sqlx::Error) -> Error {
        Error::database("cannot write")(source)
    }

    #[test]
    fn a_number_that_nobody_knows_is_about_the_row() {
        // Among them JSON keys and values that only MySQL finds too long (3151, 1301).
        for number in [1048, 1153, 1264, 1301, 1366, 1406, 1644, 3140, 3151, 3819, 4025, 9999, 65_000] {
            assert_eq!(class_of_number(number), Class::Rejected, "{number}");
        }
    }

    #[test]
    fn a_server_that_takes_nothing_from_anybody_is_away() {
        for number in [
            3, 5, 28, 1021, 1040, 1045, 1047, 1053, 1054, 1114, 1142, 1146, 1203, 1290, 1461, 1637, 1792, 1836, 2002,
            2003, 2006, 2013, 2026, 2055, 3100, 4082, 4083, 9001,
        ] {
            assert_eq!(class_of_number(number), Class::Away, "{number}");
        }
        let lost = || sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into());
        assert_eq!(database(lost()).class(), Class::Away);
        assert_eq!(Error::Connect(lost()).class(), Class::Away);
        assert_eq!(Error::EveryRowRefused(String::new()).class(), Class::Away);
        // Even an error that would be a row's: the health check has no row.
        assert_eq!(Error::TakesNoRows(sqlx::Error::RowNotFound).class(), Class::Away);
        assert_eq!(Error::Silent(5.0, "the health check").class(), Class::Away);
    }

    #[test]
    fn who_lost_against_others_or_waited_for_a_connection_just_tries_again() {
        for number in [1020, 1205, 1206, 1213, 1243, 1317, 1412, 1615, 1927, 1969, 3024, 3101, 3572] {
            assert_eq!(class_of_number(number), Class::Contention, "{number}");
        }
        assert!(Error::PoolTimeout { timeout_s: 5.0, size: 4 }.is_contention());
        assert_eq!(Error::Deadline(20.0, "writing").class(), Class::Slow);
    }

    #[test]
    fn a_value_that_the_driver_cannot_encode_is_about_the_row() {
        assert_eq!(database(sqlx::Error::Encode("too long".into())).class(), Class::Rejected);
    }

    #[test]
    fn a_lost_connection_is_suspect_only_while_a_statement_is_under_way() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into());
        assert!(database(lost()).is_suspect());
        assert!(!Error::Connect(lost()).is_suspect() && !Error::TakesNoRows(lost()).is_suspect());
        assert!(!database(sqlx::Error::Encode("too long".into())).is_suspect());
        for number in [5, 1037, 1041, 2006, 2013, 3100, 4082] {
            assert!(SUSPECT.contains(&number), "{number}");
        }
        // A health check loses a connection of the pool that had been dead for long.
        assert!(database(lost()).of_no_row().is_lost() && !Error::Connect(lost()).is_lost());
    }

    #[test]
    fn what_fails_before_there_is_a_row_is_no_fault_of_any_row() {
        assert_eq!(database(sqlx::Error::RowNotFound).of_no_row().class(), Class::Away);
        assert_eq!(Error::Deadline(5.0, "asking").of_no_row().class(), Class::Away);
        assert!(Error::PoolTimeout { timeout_s: 5.0, size: 4 }.of_no_row().is_contention());
    }
}
