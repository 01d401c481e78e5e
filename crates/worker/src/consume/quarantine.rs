//! Tasks that may crash their worker are marked, and those with an old mark are fetched one by one.
//!
//! A crash counts as a redelivery of every message that the worker held, so the number of
//! redeliveries proves nothing. A task that was redelivered several times is marked in the database
//! before its fetch, and loses the mark when the fetch ends in any way. An old mark shows that a
//! worker crashed during the fetch. Tasks with an old mark are fetched one by one, those with the
//! fewest marks first: each crash then adds a mark to the guilty task alone, and the innocent tasks
//! are done before it.

use std::sync::Arc;

use fetchline_queue::Task;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use crate::execute::Executor;
use crate::job::Job;
use crate::schedule::{Execute, LONGEST_WAIT, SchedulerHandle};

/// A task with this many redeliveries may crash its worker.
const QUARANTINE_AFTER: u64 = 3;
/// A task with this many redeliveries and `POISON_MARKS` marks is poison.
const POISON_AFTER: u64 = 20;
const POISON_MARKS: u32 = 5;

/// Whether a task is marked for its fetch, and its old marks are looked up.
pub(crate) fn needs_quarantine(task: &Task) -> bool {
    task.redeliveries >= QUARANTINE_AFTER
}

/// A task with old marks.
struct MarkedTask {
    job: Box<Job>,
    marks: u32,
    since: Instant,
}

/// Sends tasks into quarantine; cheap to clone.
#[derive(Clone)]
pub(crate) struct Quarantine {
    scheduler: SchedulerHandle,
    executor: Arc<Executor>,
    marked: mpsc::UnboundedSender<MarkedTask>,
}

/// Submits tasks with old marks one by one.
pub(crate) struct QuarantineQueue {
    scheduler: SchedulerHandle,
    executor: Arc<Executor>,
    marked: mpsc::UnboundedReceiver<MarkedTask>,
}

impl Quarantine {
    pub(crate) fn new(
        scheduler: SchedulerHandle,
        executor: Arc<Executor>,
    ) -> (Self, QuarantineQueue) {
        let (sender, marked) = mpsc::unbounded_channel();
        let queue =
            QuarantineQueue { scheduler: scheduler.clone(), executor: executor.clone(), marked };
        (Self { scheduler, executor, marked: sender }, queue)
    }

    /// Records a task as poison, schedules it alone, or schedules it beside others.
    pub(crate) fn submit(&self, mut job: Box<Job>, marks: u32) {
        if job.task.redeliveries >= POISON_AFTER && marks >= POISON_MARKS {
            return self.executor.record_poison(job, marks);
        }
        job.quarantined = true;
        match marks {
            0 => self.scheduler.submit(job),
            // The queue outlives all senders.
            _ => _ = self.marked.send(MarkedTask { job, marks, since: Instant::now() }),
        }
    }
}

impl QuarantineQueue {
    /// Runs until every [`Quarantine`] is dropped.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = self.marked.recv().await else { return };
                let url = first.job.task.request.address.to_string();
                warn!(
                    url,
                    "workers have crashed while fetching tasks; such tasks are now fetched one at \
                     a time"
                );
                waiting.push(first);
            }
            while let Ok(task) = self.marked.try_recv() {
                waiting.push(task);
            }
            // A task that lives only by a redelivery is looked up again: meanwhile another worker
            // may have committed its row.
            let is_outdated = |task: &mut MarkedTask| {
                task.since.elapsed() > LONGEST_WAIT || !task.job.claim.is_of_present_session()
            };
            for task in waiting.extract_if(.., is_outdated) {
                self.executor.requeue(task.job);
            }
            let Some(next) = (0..waiting.len()).min_by_key(|at| waiting[*at].marks) else {
                continue;
            };
            let MarkedTask { mut job, .. } = waiting.swap_remove(next);
            let end = job.claim.end_signal();
            self.scheduler.submit(job);
            // An error is expected: the claim drops the sender when it ends.
            _ = end.await;
        }
    }
}
