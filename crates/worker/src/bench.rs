//! What benchmarks look at: parts of the road that are nobody else's business.

use std::time::{Duration, Instant};

use crate::ledger::Ledger;

/// The ledger of a channel.
#[derive(Debug)]
pub struct Tags(Ledger);

impl Tags {
    /// One that lets so many wait above a gap.
    #[must_use]
    pub fn new(max_waiting: usize) -> Self {
        Self(Ledger::new(max_waiting, Duration::from_secs(1)))
    }

    /// Settles tags in this order, and tells how many acks that takes.
    pub fn settle(&mut self, tags: &[u64]) -> usize {
        let now = Instant::now();
        for tag in tags {
            self.0.settle(*tag, now);
        }
        self.0.due(now).len()
    }
}
