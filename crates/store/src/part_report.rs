//! Part reports: the messages of producers about the parts of a run.

use time::OffsetDateTime;

/// A producer's report that a part of a run began, or how many tasks it has. Writing reports twice
/// and in any order is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// The run, at most 100 characters.
    pub run: String,
    /// The part, at most 100 characters.
    pub part: String,
    /// The number of published tasks; `None` if the part only began.
    pub planned: Option<u64>,
    /// When the producer made the report, by its own clock.
    pub at: OffsetDateTime,
}
