//! The row counts of each run, by part, outcome and product, in `run_counts`.
//!
//! Counts change in the transaction that changes the rows, by exactly as much, so that nobody has
//! to count rows later. The number of affected rows shows whether a row existed before: 1 for a new
//! row, 2 for an existing one, which always changes because of `rewrites`. Nearly every batch has
//! only new rows. For the others, the existing rows are read first.

use std::collections::{BTreeMap, HashMap};

use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe, FromRow};
use time::PrimitiveDateTime;

use super::placeholders::{bind_keys, list};
use crate::Error;
use crate::clock::to_stored;
use crate::error::CANNOT_COUNT;
use crate::fetch::Fetch;
use crate::product::ProductStatus;

/// The number of slots that each count is spread over, so that transactions of several workers
/// rarely wait for each other.
const SLOTS: u8 = 16;
/// The slot for the counts of deleted rows.
pub(crate) const DELETED_SLOT: u8 = 255;
/// A statement for more counts than this is not kept prepared.
const MAX_PERSISTENT: usize = 16;

/// What a count depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CountKey<'a> {
    run: &'a str,
    part: &'a str,
    outcome: &'a str,
    /// What the page contained; empty if no page was read.
    product: &'a str,
}

/// The columns of a stored row that say where it is counted.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct CountedRow {
    pub(crate) run: String,
    /// Empty for a row that an earlier release wrote, whatever part it was counted with: the sums
    /// over the parts are right.
    pub(crate) part: String,
    pub(crate) outcome: String,
    pub(crate) product: Option<String>,
}

impl CountedRow {
    fn key<'a>(&'a self, part: &'a str) -> CountKey<'a> {
        let product = self.product.as_deref().unwrap_or_default();
        CountKey { run: &self.run, part, outcome: &self.outcome, product }
    }
}

/// A row that exists.
#[derive(Debug)]
pub(crate) struct ExistingRow {
    row: CountedRow,
    fetched_at: PrimitiveDateTime,
}

/// The changes of counts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CountChanges<'a> {
    /// Written in key order, so that transactions do not deadlock.
    changes: BTreeMap<CountKey<'a>, i64>,
    /// The number of rows that the upsert affects if no other rows exist.
    pub(crate) affected: u64,
}

impl<'a> CountChanges<'a> {
    /// The changes that an upsert of these rows causes. The rows are written in this order, which
    /// is key order; `existing` has the rows that exist.
    pub(crate) fn of_upsert(
        rows: &[&'a Fetch],
        existing: &'a HashMap<[u8; 16], ExistingRow>,
    ) -> Self {
        let mut changes = Self::default();
        let mut previous: Option<(&[u8; 16], CountKey<'a>, PrimitiveDateTime)> = None;
        for row in rows {
            // The key of a task depends on its part, so all rows of a task have the same part.
            let part = row.part.as_deref().unwrap_or_default();
            let product = row.product.map(ProductStatus::as_str).unwrap_or_default();
            let key = CountKey { run: &row.run, part, outcome: row.outcome.as_str(), product };
            let at = to_microseconds(to_stored(row.fetched_at));
            let replaced = match previous {
                Some((id, key, at)) if *id == row.id => Some((key, at)),
                _ => existing.get(&row.id).map(|stored| (stored.row.key(part), stored.fetched_at)),
            };
            changes.affected += if replaced.is_some() { 2 } else { 1 };
            let (key, at) = match replaced {
                Some((newer, newer_at)) if at < newer_at => (newer, newer_at),
                replaced => {
                    if let Some((older, _)) = replaced {
                        changes.add(older, -1);
                    }
                    changes.add(key, 1);
                    (key, at)
                }
            };
            previous = Some((&row.id, key, at));
        }
        changes.changes.retain(|_, change| *change != 0);
        changes
    }

    /// Adds the change that the deletion of a row causes.
    pub(crate) fn remove(&mut self, row: &'a CountedRow) {
        self.add(row.key(&row.part), -1);
    }

    fn add(&mut self, key: CountKey<'a>, change: i64) {
        *self.changes.entry(key).or_default() += change;
    }

    /// Changes the counts, in the transaction of `connection`. This is the last statement of a
    /// transaction, because other transactions wait for these rows.
    pub(crate) async fn write(
        &self,
        connection: &mut MySqlConnection,
        slot: u8,
    ) -> Result<(), Error> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let failed = Error::database(CANNOT_COUNT);
        let values = self.encode(slot).map_err(sqlx::Error::Encode).map_err(&failed)?;
        let statement = format!(
            "INSERT INTO run_counts (run, part, outcome, product, slot, tasks) VALUES {} \
             ON DUPLICATE KEY UPDATE tasks = tasks + VALUES(tasks)",
            list("(?,?,?,?,?,?)", self.changes.len())
        );
        let query = sqlx::query_with(AssertSqlSafe(statement), values)
            .persistent(self.changes.len() <= MAX_PERSISTENT);
        query.execute(connection).await.map(drop).map_err(&failed)
    }

    fn encode(&self, slot: u8) -> Result<MySqlArguments, BoxDynError> {
        let mut values = MySqlArguments::default();
        for (CountKey { run, part, outcome, product }, change) in &self.changes {
            values.add(*run)?;
            values.add(*part)?;
            values.add(*outcome)?;
            values.add(*product)?;
            values.add(slot)?;
            values.add(*change)?;
        }
        Ok(values)
    }
}

/// A random slot.
pub(crate) fn random_slot() -> u8 {
    rand::random_range(0..SLOTS)
}

/// The slot to try after this one. Repeated calls visit every slot.
pub(crate) fn next_slot(slot: u8) -> u8 {
    // Not the neighbour: a worker that has locked a slot has probably locked its neighbours.
    (slot + 5) % SLOTS
}

/// Reads which of these rows exist, and locks them until the transaction ends.
pub(crate) async fn lock_existing(
    connection: &mut MySqlConnection,
    rows: &[&Fetch],
) -> Result<HashMap<[u8; 16], ExistingRow>, Error> {
    let failed = Error::database("cannot read the rows that a batch replaces");
    let keys = bind_keys(rows.iter().map(|row| &row.id)).map_err(&failed)?;
    // In key order, as all row locks are taken.
    let statement = format!(
        "SELECT id, run, part, outcome, product, fetched_at FROM fetches WHERE id IN ({}) \
         ORDER BY id FOR UPDATE",
        list("?", rows.len())
    );
    type Row = (Vec<u8>, String, String, String, Option<String>, PrimitiveDateTime);
    let query = sqlx::query_as_with(AssertSqlSafe(statement), keys).persistent(false);
    let existing: Vec<Row> = query.fetch_all(connection).await.map_err(&failed)?;
    let existing = existing.into_iter().filter_map(|(id, run, part, outcome, product, at)| {
        let row = CountedRow { run, part, outcome, product };
        Some((id.try_into().ok()?, ExistingRow { row, fetched_at: at }))
    });
    Ok(existing.collect())
}

/// A time as the database stores it, without its nanoseconds.
fn to_microseconds(at: PrimitiveDateTime) -> PrimitiveDateTime {
    at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;

    use super::*;
    use crate::outcome::Outcome;

    fn row(id: u8, outcome: Outcome, second: u64) -> Fetch {
        Fetch {
            part: Some("p".to_owned()),
            fetched_at: OffsetDateTime::UNIX_EPOCH + Duration::new(second, 999),
            ..Fetch::example(id, "r", outcome)
        }
    }

    fn existing(id: u8, outcome: &str, second: u64) -> ([u8; 16], ExistingRow) {
        let fetched_at = to_stored(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second));
        let row = CountedRow {
            run: "r".to_owned(),
            part: "p".to_owned(),
            outcome: outcome.to_owned(),
            product: None,
        };
        ([id; 16], ExistingRow { row, fetched_at })
    }

    fn changes(rows: &[Fetch], stored: &[(&str, u64)]) -> (Vec<(String, i64)>, u64) {
        let existing = (1..)
            .zip(stored)
            .map(|(id, (outcome, second))| existing(id, outcome, *second))
            .collect();
        let changes = CountChanges::of_upsert(&rows.iter().collect::<Vec<_>>(), &existing);
        let counts = changes.changes.iter().map(|(key, change)| (key.outcome.to_owned(), *change));
        (counts.collect(), changes.affected)
    }

    #[test]
    fn new_rows_are_added() {
        let rows = [row(1, Outcome::Ok, 1), row(2, Outcome::Ok, 1), row(3, Outcome::Dns, 1)];
        assert_eq!(changes(&rows, &[]), (vec![("dns".to_owned(), 1), ("ok".to_owned(), 2)], 3));
    }

    #[test]
    fn a_row_that_is_written_again_counts_once() {
        assert_eq!(changes(&[row(1, Outcome::Ok, 5)], &[("ok", 5)]), (vec![], 2));
        // The same task twice in one batch.
        let twice = [row(1, Outcome::Ok, 1), row(1, Outcome::Ok, 2)];
        assert_eq!(changes(&twice, &[]), (vec![("ok".to_owned(), 1)], 3));
    }

    #[test]
    fn what_pages_contain_is_counted_and_a_change_of_it_moves_the_count() {
        let found = |product| Fetch { product: Some(product), ..row(1, Outcome::Ok, 6) };
        let existing = existing(1, "ok", 5);
        let row = CountedRow { product: Some("found".to_owned()), ..existing.1.row };
        let existing = HashMap::from([(existing.0, ExistingRow { row, ..existing.1 })]);
        let products = |row: &Fetch| {
            let changes = CountChanges::of_upsert(&[row], &existing).changes;
            changes.iter().map(|(key, change)| (key.product.to_owned(), *change)).collect()
        };
        let moved: Vec<(String, i64)> = products(&found(ProductStatus::NoPrice));
        assert_eq!(moved, [("found".to_owned(), -1), ("no_price".to_owned(), 1)]);
        assert_eq!(products(&found(ProductStatus::Found)), []);
    }

    #[test]
    fn a_newer_outcome_replaces_the_older_one() {
        let moved = (vec![("ok".to_owned(), 1), ("timeout".to_owned(), -1)], 2);
        assert_eq!(changes(&[row(1, Outcome::Ok, 6)], &[("timeout", 5)]), moved);
        // To the microsecond the times are equal, so the later write counts.
        assert_eq!(changes(&[row(1, Outcome::Ok, 5)], &[("timeout", 5)]), moved);
        assert_eq!(changes(&[row(1, Outcome::Timeout, 4)], &[("ok", 5)]), (vec![], 2));
    }

    #[test]
    fn a_deleted_row_is_taken_from_the_count_of_its_part() {
        let (_, ExistingRow { row, .. }) = existing(1, "ok", 5);
        let mut changes = CountChanges::default();
        changes.remove(&row);
        changes.remove(&row);
        let key = CountKey { run: "r", part: "p", outcome: "ok", product: "" };
        assert_eq!(changes.changes, BTreeMap::from([(key, -2)]));
        assert_eq!(changes.encode(DELETED_SLOT).unwrap().len(), 6);
    }

    #[test]
    fn counts_are_spread_over_all_slots() {
        let slots = |first| std::iter::successors(Some(first), |slot| Some(next_slot(*slot)));
        let all: Vec<u8> = (0..SLOTS).collect();
        for first in all.iter().copied() {
            let mut visited: Vec<u8> = slots(first).take(all.len()).collect();
            visited.sort_unstable();
            assert_eq!(visited, all);
        }
        let mut random: Vec<u8> = (0..2_000).map(|_| random_slot()).collect();
        random.sort_unstable();
        random.dedup();
        assert_eq!(random, all);
    }

    #[test]
    fn times_are_compared_as_the_database_stores_them() {
        let at = |nanosecond| {
            to_stored(OffsetDateTime::UNIX_EPOCH).replace_nanosecond(nanosecond).unwrap()
        };
        assert_eq!(to_microseconds(at(123_456_789)), at(123_456_000));
    }
}
