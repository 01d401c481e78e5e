//! Internals for benchmarks.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Task;
use fetchline_store::{Fetch, Outcome};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::execute::StoreBody;
use crate::execute::extraction::{Extractor, FetchTime};
use crate::fetch::answer::Answer;
use crate::settle::Ledger;

/// Turns answers into rows.
pub struct Reader(Extractor);

impl Default for Reader {
    fn default() -> Self {
        Self(Extractor::new(StoreBody::Text, Arc::default(), "worker-1".into()))
    }
}

impl Reader {
    /// The row of a task whose answer has this body.
    pub fn row(&self, task: Task, content_type: &str, body: Vec<u8>) -> Box<Fetch> {
        let mut answer = Answer {
            status: Some(200),
            content_type: Some(content_type.to_owned()),
            error: None,
            ..Answer::without_response(Outcome::Ok, String::new())
        };
        let facts = self.0.read_body(&task, &mut answer, body, None);
        let time =
            FetchTime { ended: OffsetDateTime::now_utc(), elapsed: Duration::from_millis(80) };
        Box::new(self.0.row(task, answer, facts, time))
    }
}

/// The ledger of a channel.
#[derive(Debug)]
pub struct Tags(Ledger, usize);

impl Tags {
    /// A ledger in which this many tags may wait above a gap.
    #[must_use]
    pub fn new(max_waiting: usize) -> Self {
        Self(Ledger::new(Duration::from_secs(1)), max_waiting)
    }

    /// Settles tags in this order, and returns the number of acks.
    pub fn settle(&mut self, tags: &[u64]) -> usize {
        let now = Instant::now();
        for tag in tags {
            self.0.settle(*tag, now);
        }
        self.0.due(now, self.1).len()
    }
}
