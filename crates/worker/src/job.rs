//! What travels through a worker: a task on its way to an answer, and an answer on its way to the database. Each carries
//! the claim that is settled at the end.

use std::time::Duration;

use fetchline_queue::{Death, NotATask, Original, Task};
use fetchline_store::{Fetch, Outcome, PartTold};

use crate::budget::Room;
use crate::settle::Claim;

/// What a task may hold besides its message while it waits, in bytes; more is read again when it is needed.
const LEAN: usize = 4 * 1024;

/// A task, the message that it came in, and the right to have that settled.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) original: Original,
    pub(crate) claim: Claim,
    /// Whether it has come back so often that the worker marks it as begun, for the case that it goes down with it.
    pub(crate) quarantined: bool,
    /// Whether the body of the request was left out, since the message holds it as well.
    body_left_out: bool,
}

impl Job {
    /// A task that holds its body once: what is large and stands in the message as well is left out until
    /// [`Self::restore`].
    pub(crate) fn lean(mut task: Task, original: Original, claim: Claim) -> Box<Self> {
        let is_large = task.order.own_bytes(&original.body) > LEAN;
        let body_left_out = is_large && task.order.body.take().is_some();
        Box::new(Self { task, original, claim, quarantined: false, body_left_out })
    }

    /// Reads again what was left out.
    pub(crate) fn restore(&mut self) -> Result<(), NotATask> {
        if std::mem::take(&mut self.body_left_out) {
            self.task = Task::read(&self.original.properties, &self.original.body)?;
        }
        Ok(())
    }
}

/// What is to be written, with what is settled when it is.
#[derive(Debug)]
pub(crate) enum Done {
    /// Boxed, since it is large and moved often.
    Row(Box<Fetch>, Finished),
    Part(PartTold, Finished),
}

/// What is on its way into the database: the row of a fetch, or a report on a part of a run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) claim: Claim,
    pub(crate) original: Original,
    /// What came of the fetch, and how long it took; `None` where there was none.
    pub(crate) fetched: Option<(Outcome, Duration)>,
    pub(crate) attempts: u32,
    pub(crate) status: Option<u16>,
    /// Where the task is given up, what its dead letter says.
    pub(crate) death: Option<Box<Death>>,
    /// The memory of the row's body: it is given back when the row is written, or given up.
    pub(crate) _room: Room,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use lapin::BasicProperties;

    use super::*;
    use crate::settle::{Claims, Receipt};

    const BOM: char = '\u{feff}';

    /// The body that is sent for a message, after it has waited; and whether it was left out meanwhile.
    fn sent(message: &str) -> (Option<Bytes>, bool) {
        let original = Original { properties: Box::default(), body: Bytes::copy_from_slice(message.as_bytes()) };
        let task = Task::read(&BasicProperties::default(), &original.body).unwrap();
        let receipt = Receipt { channel: 1, tag: 1, delivered: Instant::now() };
        let mut job = Job::lean(task, original, Claims::default().without_task(receipt));
        let waits_without = job.task.order.body.is_none();
        job.restore().unwrap();
        (job.task.order.body.clone(), waits_without)
    }

    #[test]
    fn a_body_that_is_left_out_while_its_task_waits_is_sent_all_the_same() {
        let long = "x".repeat(6_000);
        let quoted = format!(r#"{{"url":"http://a.example/","method":"POST","body":{{"text":"{long}"}}}}"#);
        let expected = Bytes::from(format!(r#"{{"text":"{long}"}}"#));
        for message in [quoted.clone(), format!("\n {quoted}"), format!("{BOM}{quoted}")] {
            assert_eq!(sent(&message), (Some(expected.clone()), true));
        }
        // Many headers, and a body that is not worth it.
        let headers: Vec<String> =
            (0..40).map(|number| format!(r#""x-header-{number}":"{}""#, "v".repeat(50))).collect();
        let many = format!(
            r#"{{"url":"http://a.example/","method":"POST","headers":{{{}}},"body":{{"q":1}}}}"#,
            headers.join(",")
        );
        assert_eq!(sent(&many).0, Some(Bytes::from_static(br#"{"q":1}"#)));
        assert_eq!(sent("http://a.example/"), (None, true));
    }
}
