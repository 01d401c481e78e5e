//! The committed tables, and the writes that change them.

use std::collections::BTreeMap;

use super::value::Value;
use crate::witness::{SeenRow, Witness};

/// What a count belongs to: run, part, outcome, product and slot.
pub(super) type CountKey = (String, String, String, String, i64);

/// What rows are counted by: run, part, outcome and product.
type Group = (String, String, String, String);

/// A row of `fetches`, as far as statements read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FetchRow {
    pub(super) run: String,
    pub(super) part: String,
    pub(super) outcome: String,
    pub(super) product: Option<String>,
    pub(super) status: Option<u64>,
    pub(super) attempts: u64,
    pub(super) worker: String,
    pub(super) fetched_at: i64,
}

/// A row of `runs`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PartRow {
    pub(super) planned: Option<i64>,
    pub(super) created_at: i64,
    pub(super) closed_at: Option<i64>,
    pub(super) cancelled_at: Option<i64>,
    pub(super) completed_at: Option<i64>,
}

/// A row of `hosts`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HostRow {
    pub(super) rate: Option<f64>,
    pub(super) paused: bool,
    pub(super) next_us: i64,
    pub(super) cool_down_until: Option<i64>,
    pub(super) slowed: Option<f64>,
    pub(super) slowed_at: Option<i64>,
    pub(super) note: Option<String>,
    pub(super) changed_at: i64,
}

/// A row of `workers`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WorkerRow {
    pub(super) started_at: i64,
    pub(super) seen_at: i64,
    /// The remaining columns, as they were bound.
    pub(super) rest: Vec<Value>,
}

/// A row of `facts`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FactRow {
    pub(super) claim: [u8; 16],
    pub(super) told: bool,
    pub(super) noted_at: i64,
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) fetches: BTreeMap<[u8; 16], FetchRow>,
    pub(super) counts: BTreeMap<CountKey, i64>,
    pub(super) runs: BTreeMap<(String, String), PartRow>,
    pub(super) hosts: BTreeMap<String, HostRow>,
    pub(super) workers: BTreeMap<(String, String), WorkerRow>,
    pub(super) facts: BTreeMap<[u8; 32], FactRow>,
    /// How often a task was begun, by whom, and when.
    pub(super) quarantine: BTreeMap<[u8; 16], (u64, String, i64)>,
    /// How many more rows a group has than its counts say. Groups without a difference are absent.
    uncounted: BTreeMap<Group, i64>,
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    Fetch([u8; 16], FetchRow),
    Count(CountKey, i64),
    DeleteCount(CountKey),
    Part((String, String), PartRow),
}

/// The row that a transaction locks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    Fetch([u8; 16]),
    Count(CountKey),
    Part((String, String)),
}

impl Write {
    pub(super) fn lock(&self) -> Lock {
        match self {
            Self::Fetch(key, _) => Lock::Fetch(*key),
            Self::Count(key, _) | Self::DeleteCount(key) => Lock::Count(key.clone()),
            Self::Part(key, _) => Lock::Part(key.clone()),
        }
    }
}

impl Tables {
    pub(super) fn apply(&mut self, writes: Vec<Write>, witness: &Witness) {
        let mut has_rows = false;
        for write in writes {
            match write {
                Write::Fetch(key, row) => {
                    has_rows = true;
                    let seen = SeenRow {
                        outcome: row.outcome.clone(),
                        status: row.status.and_then(|status| u16::try_from(status).ok()),
                        attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
                    };
                    witness.committed(&key, seen, &row.worker);
                    self.differ(group(&row), 1);
                    if let Some(replaced) = self.fetches.insert(key, row) {
                        self.differ(group(&replaced), -1);
                    }
                }
                Write::Count(key, change) => {
                    self.differ(group_of_count(&key), -change);
                    *self.counts.entry(key).or_default() += change;
                }
                Write::DeleteCount(key) => {
                    let tasks = self.counts.remove(&key).unwrap_or(0);
                    self.differ(group_of_count(&key), tasks);
                }
                Write::Part(key, row) => {
                    witness.part_committed(
                        &key.1,
                        row.closed_at.and(row.planned).map(i64::unsigned_abs),
                    );
                    self.runs.insert(key, row);
                }
            }
        }
        // The counts of each run, part, outcome and product are those of its rows.
        if has_rows && let Some((group, difference)) = self.uncounted.first_key_value() {
            witness.trace.violation(format_args!(
                "{group:?} has {difference} more rows than its count says"
            ));
        }
    }

    fn differ(&mut self, group: Group, by: i64) {
        let difference = self.uncounted.entry(group).or_default();
        *difference += by;
        if *difference == 0 {
            self.uncounted.retain(|_, difference| *difference != 0);
        }
    }
}

fn group(row: &FetchRow) -> Group {
    let product = row.product.clone().unwrap_or_default();
    (row.run.clone(), row.part.clone(), row.outcome.clone(), product)
}

fn group_of_count((run, part, outcome, product, _): &CountKey) -> Group {
    (run.clone(), part.clone(), outcome.clone(), product.clone())
}
