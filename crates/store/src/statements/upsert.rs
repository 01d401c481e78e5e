//! Upserts: statements that write many rows, each of which replaces an older one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::AssertSqlSafe;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection};

use super::placeholders::list;

/// The most bytes of a statement, unless a single row has more. The values are copied twice, into
/// the statement and into its packet: copies of this size stay in the processor's cache, and the
/// allocator keeps their memory for the next statement (`.cargo/config.toml`).
const MAX_STATEMENT_BYTES: usize = 768 * 1024;

/// An upsert into one table, and the texts of its statement by the number of rows.
#[derive(Debug)]
pub(crate) struct Upsert {
    table: &'static str,
    columns: &'static [&'static str],
    /// Columns that keep the value of the first write.
    insert_only: &'static [&'static str],
    /// Assignments that come before those of the other columns, and so see their old values.
    first: &'static [&'static str],
    /// The number of rows of a full batch.
    full: usize,
    texts: Mutex<HashMap<usize, Arc<str>>>,
}

impl Upsert {
    /// The first column is the key, the last one the time. A row that is older than the stored one
    /// changes nothing.
    pub(crate) fn new(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self {
            table,
            columns,
            insert_only: &[],
            first: &[],
            full: usize::MAX,
            texts: Mutex::default(),
        }
    }

    /// Sets the columns that an upsert of an existing row does not assign by the general rule.
    pub(crate) fn with_insert_only(self, insert_only: &'static [&'static str]) -> Self {
        Self { insert_only, ..self }
    }

    /// Sets assignments for existing rows that come before those of the other columns.
    pub(crate) fn with_first(self, first: &'static [&'static str]) -> Self {
        Self { first, ..self }
    }

    /// Sets the number of rows of a full batch, which is written by one statement.
    pub(crate) fn with_full_batch(self, rows: usize) -> Self {
        Self { full: rows.max(1), ..self }
    }

    /// Writes rows in chunks that fit into a packet, and returns the number of rows that the server
    /// reports as affected. `encode` binds the values of a chunk.
    pub(crate) async fn write<T>(
        &self,
        connection: &mut MySqlConnection,
        rows: &[T],
        packet: usize,
        weight: impl Fn(&T) -> usize,
        encode: impl Fn(&[T]) -> Result<MySqlArguments, BoxDynError>,
    ) -> sqlx::Result<u64> {
        let (mut rest, mut affected) = (rows, 0);
        while !rest.is_empty() {
            let chunk;
            (chunk, rest) = self.next_chunk(rest, packet, &weight);
            let values = encode(chunk).map_err(sqlx::Error::Encode)?;
            let statement = AssertSqlSafe(self.text(chunk.len()));
            let written = sqlx::query_with(statement, values).execute(&mut *connection).await?;
            affected += written.rows_affected();
        }
        Ok(affected)
    }

    /// Splits off the rows of the next statement: as many as fit into a packet and into
    /// [`MAX_STATEMENT_BYTES`]. Their number is that of a full batch, or a power of two. This keeps
    /// the number of statement texts small, so the database has already prepared each of them,
    /// whatever the size of a batch.
    fn next_chunk<'a, T>(
        &self,
        rows: &'a [T],
        packet: usize,
        weight: impl Fn(&T) -> usize,
    ) -> (&'a [T], &'a [T]) {
        let (mut sum, most) = (0, packet.min(MAX_STATEMENT_BYTES));
        let fitting = rows.iter().take_while(|row| {
            sum += weight(row);
            sum <= most
        });
        rows.split_at(match fitting.count() {
            0 => rows.len().min(1),
            count if count >= self.full => self.full,
            count => 1 << count.ilog2(),
        })
    }

    /// The statement for this number of rows. Values are bound row by row, in column order.
    fn text(&self, rows: usize) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.entry(rows).or_insert_with(|| self.build(rows).into()).clone()
    }

    /// `VALUES(…)` is deprecated on MySQL, but MariaDB has nothing else.
    fn build(&self, rows: usize) -> String {
        let Self { table, columns, insert_only, first, .. } = self;
        let placeholders = format!("({})", list("?", columns.len()));
        let values = list(&placeholders, rows);
        let time = columns.last().copied().unwrap_or_default();
        // Assignments run in order. The time comes last, because the others compare it.
        let newer = columns[1..].iter().filter(|column| !insert_only.contains(column));
        let newer = newer.map(|column| {
            format!("{column} = IF(VALUES({time}) >= {time}, VALUES({column}), {column})")
        });
        let first = first.iter().map(|&assignment| assignment.to_owned());
        let updates: Vec<_> = first.chain(newer).collect();
        let columns = columns.join(", ");
        format!(
            "INSERT INTO {table} ({columns}) VALUES {values} ON DUPLICATE KEY UPDATE {}",
            updates.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_written_with_few_statement_texts() {
        let upsert = Upsert::new("t", &["id", "at"]).with_full_batch(500);
        let mut texts = std::collections::HashSet::new();
        for rows in 1..=1000 {
            let mut rest = &vec![(); rows][..];
            while !rest.is_empty() {
                let chunk;
                (chunk, rest) = upsert.next_chunk(rest, usize::MAX, |()| 300);
                texts.insert(chunk.len());
            }
        }
        assert_eq!(texts, [1, 2, 4, 8, 16, 32, 64, 128, 256, 500].into());
    }

    #[test]
    fn a_statement_fits_into_a_packet() {
        let upsert = Upsert::new("t", &["id", "at"]).with_full_batch(500);
        let fitting =
            |weights: &[usize]| upsert.next_chunk(weights, 2_000, |weight| *weight).0.len();
        assert_eq!(fitting(&[400, 400, 10_300]), 2);
        // It goes alone. A row that exceeds the packet by itself has already lost its body.
        assert_eq!(fitting(&[10_300, 400]), 1);
        // A large packet is not filled.
        let half = MAX_STATEMENT_BYTES / 2;
        let fitting =
            |weights: &[usize]| upsert.next_chunk(weights, 64 << 20, |weight| *weight).0.len();
        assert_eq!((fitting(&[half; 8]), fitting(&[4 * half; 8])), (2, 1));
    }

    #[test]
    fn the_time_that_the_others_compare_is_assigned_last() {
        assert_eq!(
            &*Upsert::new("t", &["id", "a", "at"]).text(2),
            "INSERT INTO t (id, a, at) VALUES (?,?,?),(?,?,?) ON DUPLICATE KEY UPDATE \
             a = IF(VALUES(at) >= at, VALUES(a), a), at = IF(VALUES(at) >= at, VALUES(at), at)"
        );
        let first = Upsert::new("t", &["id", "born", "at"])
            .with_insert_only(&["born"])
            .with_first(&["n = n + 1"])
            .text(1);
        assert!(first.contains("(id, born, at)"), "{first}");
        assert!(first.contains("UPDATE n = n + 1, at = "), "{first}");
    }
}
