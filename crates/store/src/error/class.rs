//! The classes of database errors, and the server error numbers that belong to each.

use std::ops::Range;

use sqlx::mysql::MySqlDatabaseError;

/// What a failure means, and so what the caller has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The database accepts writes from nobody. The caller waits until it does.
    Away,
    /// Another transaction was working on the same rows, or all connections were in use. A retry
    /// succeeds.
    Contention,
    /// A statement exceeded its deadline. A smaller one may be fast enough.
    Slow,
    /// The server or the driver rejects this statement because of its data. Every unknown error
    /// belongs here, so that no page can stop a worker.
    Rejected,
}

impl Class {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Configuration(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Away,
            // The remaining errors come from the data, which cannot be encoded or decoded.
            other => number(other).map_or(Self::Rejected, Self::of_number),
        }
    }

    pub(super) fn of_number(number: u16) -> Self {
        if CONTENTION.contains(&number) {
            Self::Contention
        } else if AWAY.contains(&number) || SYSTEM.contains(&number) {
            Self::Away
        } else {
            Self::Rejected
        }
    }
}

/// The server's error number, if the server sent the error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

// The error numbers of MySQL 8 to 9 and MariaDB 10.11 and later that are not about a row. Sources:
// the servers' own lists (`perror` of MariaDB; "Server Error Message Reference" of MySQL), and
// errors observed on Galera and Group Replication. A number that only a new connection can receive
// is not listed: see `Error::Connect`.

/// Errors of the server's operating system: `ERROR 3 (HY000): Error writing file (Errcode: 28 "No
/// space left on device")`.
const SYSTEM: Range<u16> = 0..1000;

/// The server, the schema or the account is in a state in which nobody can write. Numbers from
/// 2000 on are client errors: a proxy passes on what it received as a client.
const AWAY: &[u16] = &[
    1021, // ER_DISK_FULL
    1026, // ER_ERROR_ON_WRITE
    1030, // ER_GET_ERRNO: the storage engine failed; MySQL also reports a full disk this way
    1036, // ER_OPEN_AS_READONLY: the table is read-only
    1037, // ER_OUTOFMEMORY
    1038, // ER_OUT_OF_SORTMEMORY
    1040, // ER_CON_COUNT_ERROR: too many connections
    1041, // ER_OUT_OF_RESOURCES
    1044, // ER_DBACCESS_DENIED_ERROR
    1045, // ER_ACCESS_DENIED_ERROR
    1047, // ER_UNKNOWN_COM_ERROR: sent by a Galera node outside of the primary component
    1049, // ER_BAD_DB_ERROR: no such database
    1053, // ER_SERVER_SHUTDOWN; MySQL also sends this to a connection that was killed
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
    1180, // ER_ERROR_DURING_COMMIT: observed while the replication of a cluster breaks
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
    4031, // ER_CLIENT_INTERACTION_TIMEOUT (MySQL): the server closed an idle connection
    4082, // ER_DA_CONN_LIMIT (MySQL): the connection used too much memory and is closed
    4083, // ER_DA_GLOBAL_CONN_LIMIT (MySQL): all connections together used too much memory
    9001, // ProxySQL: no server answers in time
];

/// The transaction lost against another one, or somebody ended it.
const CONTENTION: &[u16] = &[
    1020, // ER_CHECKREAD: the row changed since it was read (MariaDB, snapshot isolation)
    LOCK_WAIT_TIMEOUT,
    1206, // ER_LOCK_TABLE_FULL: all transactions together hold too many locks
    1213, // ER_LOCK_DEADLOCK; on Galera also at COMMIT
    1243, // ER_UNKNOWN_STMT_HANDLER: a proxy switched to another server
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

/// ER_LOCK_WAIT_TIMEOUT; rolls back the statement only.
pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Contention that shows at once, without a wait: a few more tries are cheap.
pub(super) const IMMEDIATE: &[u16] = &[1020, 1213, 1243, 1412, 1615, 3101, 3572];

/// The server no longer knows a statement that was prepared on this connection. Another connection
/// prepares it again.
pub(super) const STALE_STATEMENT: &[u16] = &[1243, 1615];

/// Either the server is in trouble, or this statement caused the failure. Whether other statements
/// still succeed decides. The lists above have the names.
pub(super) const SUSPECT: &[u16] = &[
    5, // EE_OUTOFMEMORY
    1030, 1037, 1041, 1053, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1927, 2002, 2003, 2006, 2013,
    2026, 2055, 3100, 3169, 4031, 4082,
];

/// What a person has to correct before the server takes a connection or a statement.
pub(super) fn remedy(number: u16) -> Option<&'static str> {
    match number {
        // Also an account that may not come from here, or whose password has expired, or that is
        // locked (ER_ACCOUNT_HAS_BEEN_LOCKED: 3118 of MySQL, 4151 of MariaDB).
        1045 | 1130 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            Some("correct user and password of --database-url, or the account")
        }
        // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR.
        1044 | 1142 | 1143 => Some("grant the account the rights on this database"),
        // ER_BAD_DB_ERROR.
        1049 => Some("run `fetchline migrate`, which creates the database"),
        // ER_UNKNOWN_CHARACTER_SET, ER_COLLATION_CHARSET_MISMATCH, ER_UNKNOWN_COLLATION.
        1115 | 1253 | 1273 => Some("correct `charset` or `collation` of --database-url"),
        1298 => Some("correct `time-zone` of --database-url, or load the server's time zones"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::server_error;

    #[tokio::test]
    async fn the_class_of_a_server_error_is_that_of_its_number() {
        for (code, class) in
            [(1205, Class::Contention), (1290, Class::Away), (1406, Class::Rejected)]
        {
            let error = server_error(code).await;
            assert_eq!((number(&error), Class::of(&error)), (Some(code), class));
        }
        assert_eq!(number(&sqlx::Error::RowNotFound), None);
    }

    #[test]
    fn what_a_person_has_to_correct_is_named() {
        for (number, word) in
            [(1045, "password"), (1142, "rights"), (1049, "fetchline migrate"), (1273, "collation")]
        {
            assert!(remedy(number).is_some_and(|text| text.contains(word)), "{number}");
        }
        assert_eq!(remedy(1205), None);
    }

    #[test]
    fn an_unknown_number_is_about_the_row() {
        // These include JSON keys and values that only MySQL finds too long (3151, 1301).
        for number in
            [1048, 1153, 1264, 1301, 1366, 1406, 1644, 3140, 3151, 3819, 4025, 9999, 65_000]
        {
            assert_eq!(Class::of_number(number), Class::Rejected, "{number}");
        }
    }

    #[test]
    fn a_server_that_accepts_no_writes_is_away() {
        for number in [
            3, 5, 28, 1021, 1040, 1045, 1047, 1053, 1054, 1114, 1142, 1146, 1203, 1290, 1461, 1637,
            1792, 1836, 2002, 2003, 2006, 2013, 2026, 2055, 3100, 4082, 4083, 9001,
        ] {
            assert_eq!(Class::of_number(number), Class::Away, "{number}");
        }
    }

    #[test]
    fn a_transaction_that_lost_against_another_one_is_contention() {
        for number in [1020, 1205, 1206, 1213, 1243, 1317, 1412, 1615, 1927, 1969, 3024, 3101, 3572]
        {
            assert_eq!(Class::of_number(number), Class::Contention, "{number}");
        }
    }
}
