//! What travels through a worker: a job until its fetch has ended, and a record until it is in the
//! database. Both carry the claim that is settled at the end.

use std::time::Duration;

use fetchline_queue::{Death, NotATask, RawMessage, Task};
use fetchline_store::{Fetch, Outcome, PartReport};

use crate::memory_budget::Reservation;
use crate::settle::Claim;

/// The most bytes that a waiting task may hold besides its message. A task that needs more is
/// parsed again when it starts.
const LEAN: usize = 4 * 1024;

/// A task, its message, and the right to settle it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) original: RawMessage,
    pub(crate) claim: Claim,
    /// Whether the fetch is marked in the database, because the task was redelivered often: a mark
    /// that stays shows that a worker crashed with it.
    pub(crate) quarantined: bool,
    /// Whether the request body was dropped, since the message contains it too.
    is_body_dropped: bool,
}

impl Job {
    /// Creates a job that holds a large request body only once, in the message. [`Self::restore`]
    /// reads the body again.
    pub(crate) fn lean(mut task: Task, original: RawMessage, claim: Claim) -> Box<Self> {
        let is_large = task.request.own_bytes(&original.body) > LEAN;
        let is_body_dropped = is_large && task.request.body.take().is_some();
        Box::new(Self { task, original, claim, quarantined: false, is_body_dropped })
    }

    /// Reads a dropped body from the message.
    pub(crate) fn restore(&mut self) -> Result<(), NotATask> {
        if std::mem::take(&mut self.is_body_dropped) {
            // The key is kept: that of a message without an id is that of its first reading.
            let read = Task::read(&self.original.properties, &self.original.body)?;
            self.task = Task { key: self.task.key, ..read };
        }
        Ok(())
    }
}

/// What the database writes, and what is settled once it is durable.
#[derive(Debug)]
pub(crate) enum Record {
    /// The row of a task. Boxed: it is large and moved often.
    Row(Box<Fetch>, PendingCommit),
    /// A report on a part of a run.
    Part(PartReport, PendingCommit),
}

/// Travels beside a [`Record`] until the database has committed or rejected it.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    pub(crate) claim: Claim,
    pub(crate) original: RawMessage,
    /// The outcome and the duration of the fetch; `None` for a part report.
    pub(crate) fetched: Option<(Outcome, Duration)>,
    pub(crate) attempts: u32,
    pub(crate) status: Option<u16>,
    /// The dead letter of a task that is given up.
    pub(crate) death: Option<Box<Death>>,
    /// The memory of the row's body, until the row is written or dropped.
    pub(crate) _reservation: Reservation,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lapin::BasicProperties;
    use tokio::time::Instant;

    use super::*;
    use crate::settle::{Claims, Receipt};

    const BOM: char = '\u{feff}';

    /// The request body of a message after its task waited, and whether it was dropped meanwhile.
    fn body_after_wait(message: &str) -> (Option<Bytes>, bool) {
        let original = RawMessage {
            properties: Box::default(),
            body: Bytes::copy_from_slice(message.as_bytes()),
        };
        let task = Task::read(&BasicProperties::default(), &original.body).unwrap();
        let receipt = Receipt { session: 1, tag: 1, delivered: Instant::now() };
        let mut job = Job::lean(task, original, Claims::default().without_task(receipt));
        let was_dropped = job.task.request.body.is_none();
        let key = job.task.key;
        job.restore().unwrap();
        assert_eq!(job.task.key, key);
        (job.task.request.body.clone(), was_dropped)
    }

    #[test]
    fn a_body_that_is_dropped_while_its_task_waits_is_restored() {
        let long = "x".repeat(6_000);
        let quoted =
            format!(r#"{{"url":"http://a.example/","method":"POST","body":"\"{long}\""}}"#);
        let expected = Bytes::from(format!("\"{long}\""));
        for message in [quoted.clone(), format!("\n {quoted}"), format!("{BOM}{quoted}")] {
            assert_eq!(body_after_wait(&message), (Some(expected.clone()), true));
        }
        // Many headers and a small body.
        let headers: Vec<String> =
            (0..40).map(|number| format!(r#""x-header-{number}":"{}""#, "v".repeat(50))).collect();
        let many = format!(
            r#"{{"url":"http://a.example/","method":"POST","headers":{{{}}},"body":{{"q":1}}}}"#,
            headers.join(",")
        );
        assert_eq!(body_after_wait(&many).0, Some(Bytes::from_static(br#"{"q":1}"#)));
        assert_eq!(body_after_wait("http://a.example/"), (None, true));
    }
}
