//! A part of a run: one `produce`.

use time::OffsetDateTime;

/// The parts of a run that a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The part that began last.
    Newest,
    /// The part with this name.
    Part(String),
    /// All parts, and the tasks that belong to none.
    All,
}

/// A part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub part: String,
    /// The number of published tasks; `None` while the part is open.
    pub planned: Option<u64>,
    /// The number of its tasks that have a row.
    pub rows: u64,
    /// When it began, by the clock of its producer.
    pub created_at: OffsetDateTime,
    /// When all tasks had been published, by the same clock.
    pub closed_at: Option<OffsetDateTime>,
    /// When it was cancelled; its tasks have not been fetched since.
    pub cancelled_at: Option<OffsetDateTime>,
    /// When a worker found that every planned task has its row. From then on the part is complete,
    /// even if its rows are deleted.
    pub completed_at: Option<OffsetDateTime>,
}

impl Part {
    /// The number of its tasks that have no row yet; `None` if that is unknown.
    pub fn remaining(&self) -> Option<u64> {
        match self.completed_at {
            Some(_) => Some(0),
            None => self.planned.map(|planned| planned.saturating_sub(self.rows)),
        }
    }

    /// Whether more tasks may be published: the part is neither closed nor cancelled.
    pub fn is_open(&self) -> bool {
        self.planned.is_none() && self.cancelled_at.is_none()
    }

    /// Whether every planned task has its row. A part that was cancelled while it was open has no
    /// plan, and nothing remains of it.
    pub fn is_complete(&self) -> bool {
        !self.is_open() && self.remaining().unwrap_or(0) == 0
    }

    /// When it stopped growing; while it is open, when it began.
    pub fn ended_at(&self) -> OffsetDateTime {
        self.closed_at.or(self.cancelled_at).unwrap_or(self.created_at)
    }
}
