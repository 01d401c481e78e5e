//! Remedies: what a write does about a failure.

use crate::contention;
use crate::{Class, Error};

/// How often a batch is tried whose rows others lock for longer than a statement waits. Each of its
/// pieces is tried once.
const LOCK_WAIT_TRIES: u32 = 2;
/// How often something is tried that loses its connection while the server answers others. A single
/// row is tried once more.
const SUSPECT_TRIES: u32 = 2;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Write the same again.
    Retry,
    /// Write several pieces, most of which may succeed.
    Split,
    /// Refuse the row, because it is at fault.
    Refuse,
    /// Leave the row unwritten. It may succeed later, and its neighbours are not affected.
    Skip,
    /// Leave everything that is left unwritten, because the write has taken too long in all. What
    /// is known about rows by now holds.
    OutOfTime,
    /// Leave everything that is left unwritten, because the database accepts no writes at present.
    Stop,
}

/// The size of what has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// A single row or part report.
    pub(super) is_single: bool,
    /// A piece of something that failed before.
    pub(super) is_piece: bool,
}

impl Remedy {
    /// The remedy for a failure; `failures` counts those of its kind, this one included. If in
    /// doubt, the caller has already checked that the server answers.
    pub(super) fn of(error: &Error, scope: Scope, failures: u32) -> Self {
        let split_or = |remedy| if scope.is_single { remedy } else { Self::Split };
        if error.is_locked_count() {
            // No row of a task is locked, so a smaller write would wait as well.
            return Self::Skip;
        }
        if error.is_suspect() {
            let tries = SUSPECT_TRIES + u32::from(scope.is_single);
            return if failures < tries { Self::Retry } else { split_or(Self::Refuse) };
        }
        let tries = if error.is_immediate_contention() {
            contention::MAX_TRIES
        } else if scope.is_piece {
            1
        } else {
            LOCK_WAIT_TRIES
        };
        match error.class() {
            // The pool is busy, which is not the fault of a row: every row waits for a connection.
            Class::Contention if error.number().is_none() => Self::Stop,
            Class::Contention if failures < tries => Self::Retry,
            Class::Contention | Class::Slow => split_or(Self::Skip),
            Class::Rejected => split_or(Self::Refuse),
            Class::Away => Self::Stop,
        }
    }
}

/// The failures of one write by kind, because failures of different kinds do not add up.
#[derive(Debug, Default)]
pub(super) struct Failures {
    suspect: u32,
    immediate_contention: u32,
    other: u32,
}

impl Failures {
    /// Adds a failure, and returns the number of failures of its kind.
    pub(super) fn add(&mut self, error: &Error) -> u32 {
        let failures = if error.is_suspect() {
            &mut self.suspect
        } else if error.is_immediate_contention() {
            &mut self.immediate_contention
        } else {
            &mut self.other
        };
        *failures += 1;
        *failures
    }

    pub(super) fn total(&self) -> u32 {
        self.suspect + self.immediate_contention + self.other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CANNOT_COUNT, server_error};

    const BATCH: Scope = Scope { is_single: false, is_piece: false };
    const PIECE: Scope = Scope { is_single: false, is_piece: true };
    const SINGLE: Scope = Scope { is_single: true, is_piece: true };

    fn unexpected_eof() -> sqlx::Error {
        sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into())
    }

    fn lost() -> Error {
        Error::database("cannot write")(unexpected_eof())
    }

    #[test]
    fn a_single_row_that_loses_its_connection_again_and_again_is_refused() {
        assert_eq!(Remedy::of(&lost(), BATCH, 1), Remedy::Retry);
        assert_eq!(Remedy::of(&lost(), PIECE, 2), Remedy::Split);
        assert_eq!(Remedy::of(&lost(), SINGLE, 2), Remedy::Retry);
        assert_eq!(Remedy::of(&lost(), SINGLE, 3), Remedy::Refuse);
    }

    #[tokio::test]
    async fn failures_of_different_kinds_do_not_add_up_to_a_refusal() {
        let other = Error::TakesNoRows(sqlx::Error::RowNotFound);
        let deadlock = Error::database("cannot write")(server_error(1213).await);
        let mut failures = Failures::default();
        assert_eq!([failures.add(&lost()), failures.add(&lost())], [1, 2]);
        assert_eq!([failures.add(&other), failures.add(&lost())], [1, 3]);
        assert_eq!([failures.add(&deadlock), failures.add(&deadlock)], [1, 2]);
        assert_eq!(failures.total(), 6);
    }

    #[tokio::test]
    async fn a_transaction_that_lost_is_repeated_then_split_and_a_single_row_is_skipped() {
        let deadlock = Error::database("cannot write")(server_error(1213).await);
        for scope in [BATCH, PIECE, SINGLE] {
            assert_eq!(Remedy::of(&deadlock, scope, 4), Remedy::Retry, "{scope:?}");
        }
        assert_eq!(Remedy::of(&deadlock, BATCH, 5), Remedy::Split);
        assert_eq!(Remedy::of(&deadlock, SINGLE, 5), Remedy::Skip);
        // The statement has waited for the lock, so a piece is not tried again.
        let locked = Error::database("cannot write")(server_error(1205).await);
        assert_eq!(Remedy::of(&locked, BATCH, 1), Remedy::Retry);
        assert_eq!(Remedy::of(&locked, BATCH, 2), Remedy::Split);
        assert_eq!(Remedy::of(&locked, PIECE, 1), Remedy::Split);
        assert_eq!(Remedy::of(&locked, SINGLE, 1), Remedy::Skip);
        let locked_count = Error::database(CANNOT_COUNT)(server_error(1205).await);
        assert_eq!(Remedy::of(&locked_count, BATCH, 1), Remedy::Skip);
    }

    #[test]
    fn a_write_that_is_too_slow_is_split_and_a_single_row_is_skipped() {
        let slow = Error::Deadline(20.0, "writing");
        assert_eq!(Remedy::of(&slow, BATCH, 1), Remedy::Split);
        assert_eq!(Remedy::of(&slow, SINGLE, 1), Remedy::Skip);
    }

    #[test]
    fn a_failure_that_is_not_the_fault_of_a_row_stops_the_write() {
        let no_connection = Error::NoNode { failures: String::new(), decisive: None };
        let busy = Error::PoolTimeout { timeout_s: 5.0, size: 2 };
        let silent = Error::Silent(5.0, "asking");
        let unhealthy = Error::TakesNoRows(unexpected_eof());
        for error in [no_connection, busy, silent, unhealthy] {
            for is_single in [false, true] {
                let scope = Scope { is_single, is_piece: false };
                assert_eq!(Remedy::of(&error, scope, 1), Remedy::Stop, "{error}");
            }
        }
    }

    #[test]
    fn a_value_that_cannot_be_encoded_is_found_by_splitting() {
        let bad = Error::database("cannot write")(sqlx::Error::Encode("too long".into()));
        assert_eq!(Remedy::of(&bad, BATCH, 1), Remedy::Split);
        assert_eq!(Remedy::of(&bad, SINGLE, 1), Remedy::Refuse);
    }
}
