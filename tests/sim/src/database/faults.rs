//! The faults of the database, which follow from the seed while there is trouble.

use std::time::Duration;

use crate::chance::Chance;

/// How likely each fault is, by statement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A statement of a transaction fails with a deadlock.
    pub deadlock: f64,
    /// A statement of a transaction waits too long for a lock.
    pub lock_wait: f64,
    /// A COMMIT fails with a deadlock, as on Galera.
    pub commit_deadlock: f64,
    /// The connection is lost at a COMMIT; half of those have committed.
    pub commit_unknown: f64,
    /// The connection is lost at any statement.
    pub lost: f64,
    /// The server does not answer for so long that the client gives up.
    pub silence: f64,
    /// The server takes some time.
    pub slow: f64,
}

/// What happens to one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Deadlock,
    LockWait,
    /// The connection is lost after the statement was carried out, or before.
    Lost {
        after: bool,
    },
}

impl Faults {
    pub(super) fn pause(&self, chance: &mut Chance) -> Duration {
        if chance.happens(self.silence) {
            return Duration::from_secs(60);
        }
        match chance.happens(self.slow) {
            true => chance.wait(1, 3_000),
            false if chance.happens(0.3) => chance.wait(0, 10),
            false => Duration::ZERO,
        }
    }

    pub(super) fn fault(
        &self,
        chance: &mut Chance,
        in_transaction: bool,
        is_commit: bool,
    ) -> Option<Fault> {
        if is_commit {
            if chance.happens(self.commit_unknown) {
                return Some(Fault::Lost { after: chance.happens(0.5) });
            }
            return chance.happens(self.commit_deadlock).then_some(Fault::Deadlock);
        }
        if in_transaction && chance.happens(self.deadlock) {
            return Some(Fault::Deadlock);
        }
        if in_transaction && chance.happens(self.lock_wait) {
            return Some(Fault::LockWait);
        }
        chance.happens(self.lost).then(|| Fault::Lost { after: chance.happens(0.5) })
    }
}
