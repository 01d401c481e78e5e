//! What travels the road: a task on its way to an answer, and an answer on its way to the database. Each carries the
//! claim that is settled at the end.

use std::time::Duration;

use fetchline_queue::{Death, Original, Task};
use fetchline_store::{Fetch, Outcome, PartTold};

use crate::budget::Room;
use crate::claim::Claim;

/// A task, the message that it came in, and the right to have that settled.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) original: Original,
    pub(crate) claim: Claim,
}

/// What is to be written, with what is settled when it is.
#[derive(Debug)]
pub(crate) enum Done {
    /// Boxed, since it is large and moved often.
    Row(Box<Fetch>, Finished),
    Part(PartTold, Finished),
}

/// What is on its way into the database: the row of a fetch, or what was told of a part of a run.
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
