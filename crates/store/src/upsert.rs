//! Many rows in one statement, of which each replaces an older one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The texts of a statement that writes rows, by their number.
#[derive(Debug)]
pub(crate) struct Upsert {
    table: &'static str,
    columns: &'static [&'static str],
    /// A column that counts how often a row was written again.
    rewrites: Option<&'static str>,
    /// Rows of a full batch.
    full: usize,
    texts: Mutex<HashMap<usize, Arc<str>>>,
}

impl Upsert {
    /// The first of the columns is the key, and the last one is the time: a row that is older than what is there changes
    /// nothing.
    pub(crate) fn new(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self { table, columns, rewrites: None, full: usize::MAX, texts: Mutex::default() }
    }

    /// The same, and this column counts how often a row was written again: so a row that was there is always changed.
    pub(crate) fn counting(self, rewrites: &'static str) -> Self {
        Self { rewrites: Some(rewrites), ..self }
    }

    /// The same, and most batches have so many rows.
    pub(crate) fn full_batches_of(self, rows: usize) -> Self {
        Self { full: rows.max(1), ..self }
    }

    /// How many of the rows go into the next statement: as many as fit into a packet. A full batch, or else powers of two,
    /// keep the number of statement texts small, so that the database has prepared each of them already, whatever size a
    /// batch happens to have.
    pub(crate) fn fitting<T>(&self, rows: &[T], packet: usize, weight: impl Fn(&T) -> usize) -> usize {
        let mut sum = 0;
        let fitting = rows.iter().take_while(|row| {
            sum += weight(row);
            sum <= packet
        });
        match fitting.count() {
            0 => 1,
            count if count >= self.full => self.full,
            count => 1 << count.ilog2(),
        }
    }

    /// The statement for so many rows. Values are bound row by row, in the order of the columns.
    pub(crate) fn text(&self, rows: usize) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.entry(rows).or_insert_with(|| self.write(rows).into()).clone()
    }

    /// `VALUES(…)` is deprecated on MySQL, and all that MariaDB knows.
    fn write(&self, rows: usize) -> String {
        let Self { table, columns, rewrites, .. } = self;
        let placeholders = format!("({})", list("?", columns.len()));
        let values = list(&placeholders, rows);
        let time = columns.last().copied().unwrap_or_default();
        // Assigned in order: the time, which the others compare, comes last.
        let newer = columns[1..]
            .iter()
            .map(|column| format!("{column} = IF(VALUES({time}) >= {time}, VALUES({column}), {column})"));
        let counted = rewrites.map(|column| format!("{column} = {column} + 1"));
        let newer: Vec<_> = counted.into_iter().chain(newer).collect();
        let columns = columns.join(", ");
        format!("INSERT INTO {table} ({columns}) VALUES {values} ON DUPLICATE KEY UPDATE {}", newer.join(", "))
    }
}

/// So many times the same, with commas.
pub(crate) fn list(element: &str, count: usize) -> String {
    vec![element; count].join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_written_by_few_statement_texts() {
        let upsert = Upsert::new("t", &["id", "at"]).full_batches_of(500);
        let mut texts = std::collections::HashSet::new();
        for rows in 1..=1000 {
            let mut rest = &vec![(); rows][..];
            while !rest.is_empty() {
                let rows = upsert.fitting(rest, usize::MAX, |()| 300);
                texts.insert(rows);
                rest = &rest[rows..];
            }
        }
        assert_eq!(texts, [1, 2, 4, 8, 16, 32, 64, 128, 256, 500].into());
    }

    #[test]
    fn a_statement_fits_into_a_packet() {
        let upsert = Upsert::new("t", &["id", "at"]).full_batches_of(500);
        let fitting = |weights: &[usize]| upsert.fitting(weights, 2_000, |weight| *weight);
        assert_eq!(fitting(&[400, 400, 10_300]), 2);
        // It goes alone; what is too large for the packet by itself has lost its body before.
        assert_eq!(fitting(&[10_300, 400]), 1);
    }

    #[test]
    fn the_time_that_the_others_compare_is_assigned_last() {
        assert_eq!(
            &*Upsert::new("t", &["id", "a", "at"]).text(2),
            "INSERT INTO t (id, a, at) VALUES (?,?,?),(?,?,?) ON DUPLICATE KEY UPDATE \
             a = IF(VALUES(at) >= at, VALUES(a), a), at = IF(VALUES(at) >= at, VALUES(at), at)"
        );
        let counting = Upsert::new("t", &["id", "at"]).counting("n").text(1);
        assert!(counting.contains("UPDATE n = n + 1, at = "), "{counting}");
    }
}
