//! The sessions of the server: their transactions and locks.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{CountKey, FetchRow, Lock, PartRow, Tables, Write};
use super::value::{Refusal, Reply};
use crate::plan::Plan;
use crate::witness::Witness;

/// Why a statement ends without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Refused(Refusal),
    /// This session holds a lock that the statement needs.
    Busy(u64),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub(super) type Ran = Result<Reply, Stop>;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    /// What the open transaction has written.
    transaction: Option<Vec<Write>>,
}

impl Session {
    pub(super) fn new(id: u64) -> Self {
        Self { id, transaction: None }
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }
}

/// The tables, and who has locked their rows.
pub(super) struct Storage {
    pub(super) tables: Tables,
    pub(super) witness: Witness,
    locks: BTreeMap<Lock, u64>,
    /// Which session waits for which.
    waits: BTreeMap<u64, u64>,
}

impl Storage {
    pub(super) fn new(witness: Witness) -> Self {
        Self { tables: Tables::default(), witness, locks: BTreeMap::new(), waits: BTreeMap::new() }
    }

    pub(super) fn plan(&self) -> &Plan {
        self.witness.plan()
    }

    pub(super) fn begin(&mut self, session: &mut Session) {
        self.commit(session);
        session.transaction = Some(Vec::new());
    }

    pub(super) fn commit(&mut self, session: &mut Session) {
        if let Some(writes) = session.transaction.take() {
            self.tables.apply(writes, &self.witness);
        }
        self.unlock(session);
    }

    pub(super) fn roll_back(&mut self, session: &mut Session) {
        session.transaction = None;
        self.unlock(session);
    }

    fn unlock(&mut self, session: &Session) {
        self.locks.retain(|_, holder| *holder != session.id);
        self.waits.remove(&session.id);
    }

    /// Whether a session that waits for another one would wait for itself.
    pub(super) fn is_deadlock(&mut self, waiting: u64, holder: u64) -> bool {
        self.waits.insert(waiting, holder);
        let (mut seen, mut at) = (BTreeSet::new(), holder);
        while let Some(next) = self.waits.get(&at) {
            if *next == waiting {
                return true;
            }
            if !seen.insert(at) {
                return false;
            }
            at = *next;
        }
        false
    }

    pub(super) fn waits_no_more(&mut self, waiting: u64) {
        self.waits.remove(&waiting);
    }

    /// Locks rows for a transaction; for a statement of its own, checks that they are free.
    pub(super) fn lock(&mut self, session: &Session, locks: Vec<Lock>) -> Result<(), Stop> {
        let other = locks
            .iter()
            .find_map(|lock| self.locks.get(lock).copied().filter(|holder| *holder != session.id));
        if let Some(holder) = other {
            return Err(Stop::Busy(holder));
        }
        if session.in_transaction() {
            self.locks.extend(locks.into_iter().map(|lock| (lock, session.id)));
        }
        Ok(())
    }

    /// Writes, within the transaction of the session if there is one.
    pub(super) fn write(&mut self, session: &mut Session, writes: Vec<Write>) -> Result<(), Stop> {
        self.lock(session, writes.iter().map(Write::lock).collect())?;
        match &mut session.transaction {
            Some(transaction) => transaction.extend(writes),
            None => self.tables.apply(writes, &self.witness),
        }
        Ok(())
    }

    /// The row of a task, as the session sees it.
    pub(super) fn fetch<'a>(
        &'a self,
        session: &'a Session,
        key: &[u8; 16],
    ) -> Option<&'a FetchRow> {
        let own = session.transaction.iter().flatten().rev().find_map(|write| match write {
            Write::Fetch(other, row) if other == key => Some(row),
            _ => None,
        });
        own.or_else(|| self.tables.fetches.get(key))
    }

    /// The row of a part, as the session sees it.
    pub(super) fn part(&self, session: &Session, key: &(String, String)) -> Option<PartRow> {
        let own = session.transaction.iter().flatten().rev().find_map(|write| match write {
            Write::Part(other, row) if other == key => Some(row.clone()),
            _ => None,
        });
        own.or_else(|| self.tables.runs.get(key).cloned())
    }

    /// The committed counts of a part.
    pub(super) fn counts(&self, run: &str, part: &str) -> Vec<(CountKey, i64)> {
        let counts = self.tables.counts.iter();
        let of_part = counts.filter(|((of_run, of_part, ..), _)| of_run == run && of_part == part);
        of_part.map(|(key, tasks)| (key.clone(), *tasks)).collect()
    }
}
