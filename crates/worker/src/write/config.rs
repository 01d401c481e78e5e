//! The settings of writing: when a batch closes.

use std::time::Duration;

use fetchline_store::MAX_BATCH_ROWS;

use crate::problem::Problems;

/// Messages are acked after their batch, so a batch closes within this time.
const MAX_BATCH_AGE: Duration = Duration::from_secs(60);

/// When a batch closes: at the first of three limits that it reaches.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The number of its rows.
    pub batch_rows: usize,
    /// The age of its first row.
    pub batch_age: Duration,
    /// The size of its rows, in bytes, roughly.
    pub batch_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { batch_rows: 500, batch_age: Duration::from_millis(250), batch_bytes: 4 << 20 }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        problems.require(
            (1..=MAX_BATCH_ROWS).contains(&self.batch_rows),
            "batch_rows",
            format!("is {}: a batch has 1 to {MAX_BATCH_ROWS} rows", self.batch_rows),
        );
        problems.require(
            self.batch_age <= MAX_BATCH_AGE,
            "batch_age",
            "is longer than a minute: messages would not be acked in time",
        );
        problems.require(
            self.batch_bytes > 0,
            "batch_bytes",
            "is 0: a batch would never contain a row",
        );
    }
}
