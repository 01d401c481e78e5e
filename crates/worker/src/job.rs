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
}

impl Job {
    /// A task that holds its body once: what is large and stands in the message as well is left out until
    /// [`Self::restore`].
    pub(crate) fn lean(mut task: Task, original: Original, claim: Claim) -> Box<Self> {
        if task.order.own_bytes(&original.body) > LEAN {
            task.order.body = None;
        }
        Box::new(Self { task, original, claim, quarantined: false })
    }

    /// Reads again what was left out.
    pub(crate) fn restore(&mut self) -> Result<(), NotATask> {
        let is_json = self.original.body.first() == Some(&b'{');
        if self.task.order.body.is_none() && is_json && self.original.body.len() > LEAN {
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
