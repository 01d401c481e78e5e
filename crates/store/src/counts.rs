//! How many rows each run has, by part and outcome: counted as rows are written, so that nobody has to count them again.
//!
//! The counts change in the transaction that changes the rows, by exactly as much. That a row was there before is told by
//! the number of rows that its statement affected: 1 for a new one, 2 for one that was there (of which `rewrites` always
//! changes). Nearly every batch is all new; only for one that is not, the rows that were there are read first.

use std::collections::{BTreeMap, HashMap};

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::{Arguments, AssertSqlSafe};
use time::PrimitiveDateTime;

use crate::Error;
use crate::fetch::Fetch;
use crate::upsert;

/// Counts are spread over so many rows, so that transactions of several workers do not wait for each other.
const SLOTS: u8 = 16;
/// The context of a failure of that.
pub(crate) const CANNOT_COUNT: &str = "cannot count a batch";
/// Where rows that are deleted are counted.
pub(crate) const DELETED: u8 = 255;
/// The text of a statement for more values than this is not kept prepared.
const USUAL: usize = 16;

/// A row that is there, as far as it is counted.
#[derive(Debug)]
pub(crate) struct Present {
    run: String,
    outcome: String,
    fetched_at: PrimitiveDateTime,
}

/// What a count is kept of.
type Counted<'a> = (&'a str, &'a str, &'a str);

/// By how much the counts change.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes<'a> {
    /// By run, part and outcome; in this order they are written, so that transactions do not dead-lock each other.
    counts: BTreeMap<Counted<'a>, i64>,
    /// How many rows the statements affect, if nothing else was there.
    pub(crate) affected: u64,
}

impl<'a> Changes<'a> {
    /// What writing these rows changes, in this order and in key order, where `present` is there already.
    pub(crate) fn of(rows: &[&'a Fetch], present: &'a HashMap<[u8; 32], Present>) -> Self {
        let mut changes = Self::default();
        let mut last: Option<(&[u8; 32], Counted<'a>, PrimitiveDateTime)> = None;
        for row in rows {
            let part = row.part.as_deref().unwrap_or_default();
            let (new, at) = ((row.run.as_str(), part, row.outcome.as_str()), stored(row.fetched_at_utc()));
            // The part stands in the key of the task: it is the same for all of its rows.
            let before = match last {
                Some((id, counted, at)) if *id == row.id => Some((counted, at)),
                _ => present.get(&row.id).map(|row| ((row.run.as_str(), part, row.outcome.as_str()), row.fetched_at)),
            };
            let now = match before {
                None => {
                    changes.affected += 1;
                    changes.add(new, 1);
                    (new, at)
                }
                Some(before) => {
                    changes.affected += 2;
                    if at >= before.1 {
                        changes.add(before.0, -1);
                        changes.add(new, 1);
                        (new, at)
                    } else {
                        before
                    }
                }
            };
            last = Some((&row.id, now.0, now.1));
        }
        changes.counts.retain(|_, change| *change != 0);
        changes
    }

    /// So many rows of a run are not there any more.
    pub(crate) fn deleted(run: &'a str, outcome: &'a str, rows: u64) -> Self {
        let mut changes = Self::default();
        changes.add((run, "", outcome), -i64::try_from(rows).unwrap_or(i64::MAX));
        changes
    }

    fn add(&mut self, counted: Counted<'a>, change: i64) {
        *self.counts.entry(counted).or_default() += change;
    }

    /// Changes the counts, in the transaction of `connection`: last of all, since others wait for these rows.
    pub(crate) async fn write(&self, connection: &mut MySqlConnection, slot: u8) -> Result<(), Error> {
        if self.counts.is_empty() {
            return Ok(());
        }
        let failed = Error::database(CANNOT_COUNT);
        let mut values = MySqlArguments::default();
        let mut bind = |(run, part, outcome): &Counted<'_>, change: i64| {
            values.add(*run)?;
            values.add(*part)?;
            values.add(*outcome)?;
            values.add(slot)?;
            values.add(change)
        };
        for (counted, change) in &self.counts {
            bind(counted, *change).map_err(sqlx::Error::Encode).map_err(&failed)?;
        }
        let statement = format!(
            "INSERT INTO run_counts (run, part, outcome, slot, tasks) VALUES {} \
             ON DUPLICATE KEY UPDATE tasks = tasks + VALUES(tasks)",
            upsert::list("(?,?,?,?,?)", self.counts.len())
        );
        let query = sqlx::query_with(AssertSqlSafe(statement), values).persistent(self.counts.len() <= USUAL);
        query.execute(connection).await.map_err(&failed)?;
        Ok(())
    }
}

/// Any of the slots.
pub(crate) fn any_slot() -> u8 {
    rand::random_range(0..SLOTS)
}

/// Another one than this; by and by it is each of them.
pub(crate) fn other_slot(slot: u8) -> u8 {
    // Not the next one: who has locked one has likely locked its neighbours.
    (slot + 5) % SLOTS
}

/// Those of these rows that are there, locked until the transaction ends.
pub(crate) async fn lock(
    connection: &mut MySqlConnection,
    rows: &[&Fetch],
) -> Result<HashMap<[u8; 32], Present>, Error> {
    let failed = Error::database("cannot read what a batch replaces");
    let mut ids = MySqlArguments::default();
    for row in rows {
        ids.add(row.id.as_slice()).map_err(sqlx::Error::Encode).map_err(&failed)?;
    }
    // In key order, as all locks of rows are taken.
    let statement = format!(
        "SELECT id, run, outcome, fetched_at FROM fetches WHERE id IN ({}) ORDER BY id FOR UPDATE",
        upsert::list("?", rows.len())
    );
    type Row = (Vec<u8>, String, String, PrimitiveDateTime);
    let query = sqlx::query_as_with(AssertSqlSafe(statement), ids).persistent(false);
    let present: Vec<Row> = query.fetch_all(connection).await.map_err(&failed)?;
    let present = present
        .into_iter()
        .filter_map(|(id, run, outcome, fetched_at)| Some((id.try_into().ok()?, Present { run, outcome, fetched_at })));
    Ok(present.collect())
}

/// A time as the database keeps it, to the microsecond.
fn stored(at: PrimitiveDateTime) -> PrimitiveDateTime {
    at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;

    use super::*;
    use crate::Outcome;

    fn row(id: u8, outcome: Outcome, second: u64) -> Fetch {
        Fetch {
            part: Some("p".to_owned()),
            fetched_at: OffsetDateTime::UNIX_EPOCH + Duration::new(second, 999),
            ..Fetch::bare_of([id; 32], "r", outcome)
        }
    }

    fn present(id: u8, outcome: &str, second: u64) -> ([u8; 32], Present) {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second);
        let fetched_at = PrimitiveDateTime::new(at.date(), at.time());
        ([id; 32], Present { run: "r".to_owned(), outcome: outcome.to_owned(), fetched_at })
    }

    fn changes(rows: &[Fetch], present: &[(&str, u64)]) -> (Vec<(String, i64)>, u64) {
        let present = (1..).zip(present).map(|(id, (outcome, second))| self::present(id, outcome, *second)).collect();
        let changes = Changes::of(&rows.iter().collect::<Vec<_>>(), &present);
        let counts = changes.counts.iter().map(|((_, _, outcome), change)| ((*outcome).to_owned(), *change));
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
    fn a_newer_outcome_takes_the_place_of_the_older_one() {
        let moved = (vec![("ok".to_owned(), 1), ("timeout".to_owned(), -1)], 2);
        assert_eq!(changes(&[row(1, Outcome::Ok, 6)], &[("timeout", 5)]), moved);
        // To the microsecond they are of one time, and then the later write counts.
        assert_eq!(changes(&[row(1, Outcome::Ok, 5)], &[("timeout", 5)]), moved);
        assert_eq!(changes(&[row(1, Outcome::Timeout, 4)], &[("ok", 5)]), (vec![], 2));
    }
}
