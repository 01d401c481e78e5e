//! Deduplication: a task whose row is final is acked and not fetched again.
//!
//! Only deliveries that can be duplicates are looked up: redeliveries, retries and deferred tasks.
//! Lookups are batched, and do not delay new deliveries. For tasks that were redelivered several
//! times, the marks of the quarantine are looked up too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Death, Task};
use fetchline_store::{FailedLookup, Lookup, Outcome, Store, StoredFetch};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::quarantine::{Quarantine, needs_quarantine};
use crate::control::dependencies::{Dependencies, GaveUp};
use crate::execute::{RowState, row_state};
use crate::job::Job;
use crate::schedule::SchedulerHandle;
use crate::settle::{RepublisherHandle, SettlerHandle};

/// The most tasks of one lookup.
const AT_ONCE: usize = 500;

type Key = [u8; 16];
type Jobs = Vec<Box<Job>>;

/// Looks up the rows of tasks.
pub(crate) struct Dedup {
    pub(crate) store: Arc<Store>,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) quarantine: Quarantine,
    pub(crate) republish: RepublisherHandle,
    pub(crate) settle: SettlerHandle,
    pub(crate) dependencies: Dependencies,
    pub(crate) hold: Duration,
    pub(crate) stop: CancellationToken,
}

impl Dedup {
    /// Whether a delivery is looked up.
    pub(crate) fn concerns(task: &Task, redelivered: bool) -> bool {
        needs_quarantine(task) || Self::can_be_duplicate(task, redelivered)
    }

    /// A message without an id is never a duplicate.
    fn can_be_duplicate(task: &Task, redelivered: bool) -> bool {
        task.message_id.is_some() && (redelivered || task.attempt > 1 || task.deferrals > 0)
    }

    /// Runs until every sender is dropped.
    pub(crate) async fn run(self, mut deliveries: mpsc::UnboundedReceiver<Box<Job>>) {
        let mut jobs = Jobs::with_capacity(AT_ONCE);
        while deliveries.recv_many(&mut jobs, AT_ONCE).await > 0 {
            self.look_up(std::mem::replace(&mut jobs, Jobs::with_capacity(AT_ONCE))).await;
        }
    }

    async fn look_up(&self, jobs: Jobs) {
        let quarantined: Vec<Key> = jobs
            .iter()
            .filter(|job| needs_quarantine(&job.task))
            .map(|job| *job.task.quarantine_key().as_bytes())
            .collect();
        let Ok(marks) = self.marks(quarantined).await else { return self.requeue(jobs) };
        let (with_id, without_id): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| job.task.message_id.is_some());
        match self.rows(with_id).await {
            Ok(Lookup { found, missing }) => {
                for (known, proof) in found {
                    if proof.receipts().next().map(|job| row_state(&job.task, &known))
                        == Some(RowState::Final)
                    {
                        self.settle.committed(proof.map(|job| job.claim));
                        continue;
                    }
                    for job in proof.into_receipts() {
                        match row_state(&job.task, &known) {
                            RowState::GivenUp(outcome) => {
                                let death = death(outcome, &known);
                                self.republish.dead(job.original, &death, job.claim);
                            }
                            RowState::Final | RowState::Outdated => self.schedule(job, &marks),
                        }
                    }
                }
                missing.into_iter().for_each(|job| self.schedule(job, &marks));
            }
            Err(jobs) => self.requeue(jobs),
        }
        without_id.into_iter().for_each(|job| self.schedule(job, &marks));
    }

    /// Returns the numbers of marks. Fails if the database does not answer within the hold.
    async fn marks(&self, quarantined: Vec<Key>) -> Result<HashMap<Key, u32>, GaveUp> {
        if quarantined.is_empty() {
            return Ok(HashMap::new());
        }
        let mut repeater = self.dependencies.repeater(self.hold, &self.stop);
        loop {
            match self.store.begun(&quarantined).await {
                Ok(marks) => return Ok(marks),
                Err(error) => repeater.failed(&error).await?,
            }
        }
    }

    /// Returns the rows of tasks. Fails with the tasks if the database does not answer within the
    /// hold.
    async fn rows(&self, jobs: Jobs) -> Result<Lookup<Box<Job>>, Jobs> {
        let mut tasks = jobs.into_iter().map(|job| (*job.task.key.as_bytes(), job)).collect();
        let mut repeater = self.dependencies.repeater(self.hold, &self.stop);
        loop {
            match self.store.look_up(tasks).await {
                Ok(found) => return Ok(found),
                Err(FailedLookup { tasks: again, error }) => {
                    tasks = again;
                    if repeater.failed(&error).await.is_err() {
                        return Err(tasks.into_iter().map(|(_, job)| job).collect());
                    }
                }
            }
        }
    }

    fn schedule(&self, job: Box<Job>, marks: &HashMap<Key, u32>) {
        match needs_quarantine(&job.task) {
            true => {
                let key = job.task.quarantine_key();
                let marks = marks.get(key.as_bytes()).copied().unwrap_or(0);
                self.quarantine.submit(job, marks);
            }
            false => self.scheduler.submit(job),
        }
    }

    fn requeue(&self, jobs: Jobs) {
        for job in jobs {
            self.settle.requeue(job.claim);
        }
    }
}

/// The dead letter of a task that its row says was given up.
fn death(outcome: Outcome, known: &StoredFetch) -> Death {
    Death {
        reason: outcome.as_str(),
        error: "given up earlier; see the row of the task".to_owned(),
        status: known.status,
        attempts: known.attempts,
    }
}
