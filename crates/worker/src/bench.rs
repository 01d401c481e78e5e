//! What benchmarks look at: parts of the road that are nobody else's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::Task;
use fetchline_store::{Fetch, Outcome};
use time::OffsetDateTime;

use crate::config::StoreBody;
use crate::execute::Answer;
use crate::extract::{Extract, Took};
use crate::settle::Ledger;

/// From answers to rows.
pub struct Reader(Extract);

impl Default for Reader {
    fn default() -> Self {
        Self(Extract::new(StoreBody::Text, Arc::default(), "worker-1".into()))
    }
}

impl Reader {
    /// The row of a task that was answered with this body.
    pub fn row(&self, task: Task, content_type: &str, body: Vec<u8>) -> Box<Fetch> {
        let mut answer = Answer::without(Outcome::Ok, String::new());
        answer.status = Some(200);
        answer.content_type = Some(content_type.to_owned());
        answer.error = None;
        let read = self.0.read_body(&task, &answer, body);
        Box::new(self.0.row(
            task,
            answer,
            read,
            Took { ended: OffsetDateTime::now_utc(), elapsed: Duration::from_millis(80) },
        ))
    }
}

/// The ledger of a channel.
#[derive(Debug)]
pub struct Tags(Ledger, usize);

impl Tags {
    /// One that lets so many wait above a gap.
    #[must_use]
    pub fn new(max_waiting: usize) -> Self {
        Self(Ledger::new(Duration::from_secs(1)), max_waiting)
    }

    /// Settles tags in this order, and tells how many acks that takes.
    pub fn settle(&mut self, tags: &[u64]) -> usize {
        let now = Instant::now();
        for tag in tags {
            self.0.settle(*tag, now);
        }
        self.0.due(now, self.1).len()
    }
}
