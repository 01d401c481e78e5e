//! The state of a run, or of some of its parts.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::part::{Part, Selection};
use crate::outcome::Outcome;

/// The state of the selected parts of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What was selected.
    pub selection: Selection,
    /// The selected parts that are known, the newest first. Empty for a run of other programs'
    /// messages without a part, and for a run that no worker knows.
    pub parts: Vec<Part>,
    /// The rows by outcome. They include those that belong to no part if all parts are selected,
    /// or if the run has no parts.
    pub outcomes: BTreeMap<String, u64>,
    /// The same rows by what their pages contain. Rows without a page are missing.
    pub products: BTreeMap<String, u64>,
    /// When this was read, by the database's clock.
    pub asked_at: OffsetDateTime,
}

impl Run {
    /// Whether the database knows the run, or the part that was selected.
    pub fn is_known(&self) -> bool {
        !self.parts.is_empty() || !self.outcomes.is_empty()
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// The number of rows with this outcome.
    pub fn rows_with(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// The number of rows that are successes.
    pub fn succeeded(&self) -> u64 {
        let succeeded = self.outcomes.iter().filter(|(word, _)| Outcome::is_success_word(word));
        succeeded.map(|(_, rows)| rows).sum()
    }

    /// The number of rows that are no successes.
    pub fn failed(&self) -> u64 {
        self.rows() - self.succeeded()
    }

    /// The number of pages that have not changed, so that their contents were not read again.
    pub fn unchanged(&self) -> u64 {
        self.rows_with(Outcome::Unchanged)
    }

    /// The number of published tasks; `None` while a part is open, and without a part.
    pub fn planned(&self) -> Option<u64> {
        self.parts.first()?;
        let planned = |part: &Part| part.planned.or(part.cancelled_at.map(|_| part.rows));
        self.parts.iter().map(planned).sum()
    }

    /// The number of tasks that have no row yet; `None` if that is unknown.
    pub fn remaining(&self) -> Option<u64> {
        self.planned()?;
        Some(self.parts.iter().filter_map(Part::remaining).sum())
    }

    /// Whether the selected parts are known and all of them are complete.
    pub fn is_complete(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(Part::is_complete)
    }

    /// Whether all selected parts were cancelled.
    pub fn is_cancelled(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| part.cancelled_at.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(planned: Option<u64>, rows: u64) -> Part {
        let created_at = OffsetDateTime::UNIX_EPOCH;
        Part {
            part: "p".to_owned(),
            planned,
            rows,
            created_at,
            closed_at: planned.map(|_| created_at),
            cancelled_at: None,
            completed_at: None,
        }
    }

    fn run(parts: Vec<Part>) -> Run {
        Run {
            selection: Selection::All,
            parts,
            outcomes: BTreeMap::new(),
            products: BTreeMap::new(),
            asked_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_not_known_is_not_complete() {
        for unknown in [vec![], vec![part(None, 5)], vec![part(Some(2), 2), part(None, 0)]] {
            let run = run(unknown);
            assert!(!run.is_complete() && run.remaining().is_none(), "{run:?}");
        }
        let under_way = run(vec![part(Some(2), 1), part(Some(2), 3)]);
        assert!(!under_way.is_complete() && under_way.remaining() == Some(1), "{under_way:?}");
        assert!(run(vec![part(Some(2), 2), part(Some(0), 0)]).is_complete());
    }

    #[test]
    fn a_part_stays_complete_when_its_rows_are_deleted() {
        let completed_at = Some(OffsetDateTime::UNIX_EPOCH);
        let run = run(vec![Part { completed_at, ..part(Some(100), 3) }]);
        assert!(run.is_complete() && run.remaining() == Some(0), "{run:?}");
    }

    #[test]
    fn only_a_selection_of_cancelled_parts_is_cancelled() {
        let cancelled = || Part { cancelled_at: Some(OffsetDateTime::UNIX_EPOCH), ..part(None, 3) };
        let monday = run(vec![cancelled()]);
        assert!(monday.is_cancelled() && monday.is_complete() && monday.planned() == Some(3));
        let week = run(vec![part(Some(2), 2), cancelled()]);
        assert!(!week.is_cancelled() && week.is_complete(), "{week:?}");
    }
}
