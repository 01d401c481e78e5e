//! Tasks that a worker went down with: fetched one at a time.
//!
//! A crash counts as a delivery for every message that the worker held, so deliveries prove nothing. A task that has come
//! back several times is marked in the database before it is fetched, and loses its mark when the fetch ends, however it
//! ends. A mark that is left over says that a worker went down with the task. Such tasks are fetched with no other of
//! their kind beside them, those with the fewest marks first: so each crash adds a mark to the guilty one, and its
//! neighbours are done before.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Task;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use crate::execute::Executor;
use crate::job::Job;
use crate::schedule::{Execute, Scheduler};

/// A message that came back this often may be one that workers go down with.
const SUSPECT_AFTER: u64 = 3;
/// A task that came back this often,
const POISON_AFTER: u64 = 20;
/// and with which workers went down this often, is poison.
const POISON_MARKS: u32 = 5;

/// A suspect that has waited for so long is requeued: the broker takes back what is unacked for half an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(8 * 60);

/// Whether marks of a task are looked for.
pub(crate) fn is_suspect(task: &Task) -> bool {
    task.returned >= SUSPECT_AFTER
}

/// A task with the number of times that it was begun without an end.
pub(crate) struct Suspect {
    pub(crate) job: Box<Job>,
    pub(crate) begun: u32,
    since: Instant,
}

/// Takes suspects; cheap to clone.
#[derive(Clone)]
pub(crate) struct Quarantine {
    scheduler: Scheduler,
    executor: Arc<Executor>,
    marked: mpsc::UnboundedSender<Suspect>,
}

/// Fetches what has marks, one at a time.
pub(crate) struct Lane {
    scheduler: Scheduler,
    executor: Arc<Executor>,
    marked: mpsc::UnboundedReceiver<Suspect>,
}

impl Quarantine {
    pub(crate) fn new(scheduler: Scheduler, executor: Arc<Executor>) -> (Self, Lane) {
        let (sender, marked) = mpsc::unbounded_channel();
        let lane = Lane { scheduler: scheduler.clone(), executor: executor.clone(), marked };
        (Self { scheduler, executor, marked: sender }, lane)
    }

    /// A task that may crash its worker goes on: by itself, beside others, or to its end.
    pub(crate) fn take(&self, mut job: Box<Job>, begun: u32) {
        if job.task.returned >= POISON_AFTER && begun >= POISON_MARKS {
            return self.executor.record_poison(job, begun);
        }
        job.quarantined = true;
        match begun {
            0 => self.scheduler.submit(job),
            // The lane lives until this has ended.
            _ => _ = self.marked.send(Suspect { job, begun, since: Instant::now() }),
        }
    }
}

impl Lane {
    /// Runs until nobody is left who could bring a suspect.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = self.marked.recv().await else { return };
                let url = first.job.task.order.address.to_string();
                warn!(url, "workers went down while they fetched tasks; these are now fetched one by one");
                waiting.push(first);
            }
            while let Ok(suspect) = self.marked.try_recv() {
                waiting.push(suspect);
            }
            for suspect in waiting.extract_if(.., |suspect: &mut Suspect| suspect.since.elapsed() > LONGEST_WAIT) {
                self.executor.requeue(suspect.job);
            }
            let next = (0..waiting.len()).min_by_key(|at| waiting[*at].begun).unwrap_or(0);
            if waiting.is_empty() {
                continue;
            }
            let Suspect { mut job, .. } = waiting.swap_remove(next);
            let settled = job.claim.end_of();
            self.scheduler.submit(job);
            // An error says that the other end was dropped, which is how a claim ends.
            _ = settled.await;
        }
    }
}
