//! Deduplication: what was committed before is not fetched again.
//!
//! Only a delivery that can be a duplicate comes here: one that is redelivered, or that is a retry. Look-ups go in batches,
//! while new deliveries pass by. What has come back several times is looked for among the tasks that workers went down
//! with, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Death, Task};
use fetchline_store::{Known, LookedUp, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::quarantine::{Quarantine, is_suspect};
use crate::dependencies::{Dependencies, GaveUp};
use crate::execute::{Seen, seen};
use crate::job::Job;
use crate::schedule::Scheduler;
use crate::settle::{Republish, Settle};

/// Tasks that are looked up together.
const AT_ONCE: usize = 500;

type Key = [u8; 32];
type Jobs = Vec<Box<Job>>;

/// Looks tasks up.
pub(crate) struct Dedup {
    pub(crate) store: Arc<Store>,
    pub(crate) scheduler: Scheduler,
    pub(crate) quarantine: Quarantine,
    pub(crate) republish: Republish,
    pub(crate) settle: Settle,
    pub(crate) dependencies: Dependencies,
    pub(crate) hold: Duration,
    pub(crate) stop: CancellationToken,
}

impl Dedup {
    /// Whether a delivery has to be looked up.
    pub(crate) fn concerns(task: &Task, redelivered: bool) -> bool {
        is_suspect(task) || Self::can_be_duplicate(task, redelivered)
    }

    /// One without an id is always fetched, however often it is typed.
    fn can_be_duplicate(task: &Task, redelivered: bool) -> bool {
        task.message_id.is_some() && (redelivered || task.attempt > 1 || task.parked > 0)
    }

    /// Runs until nobody is left who could bring a delivery.
    pub(crate) async fn run(self, mut deliveries: mpsc::UnboundedReceiver<Box<Job>>) {
        let mut jobs = Jobs::with_capacity(AT_ONCE);
        while deliveries.recv_many(&mut jobs, AT_ONCE).await > 0 {
            self.look_up(std::mem::replace(&mut jobs, Jobs::with_capacity(AT_ONCE))).await;
        }
    }

    async fn look_up(&self, jobs: Jobs) {
        let suspects: Vec<Key> =
            jobs.iter().filter(|job| is_suspect(&job.task)).map(|job| *job.task.key.as_bytes()).collect();
        let Ok(begun) = self.begun(suspects).await else { return self.requeue(jobs) };
        let (with_id, without): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.task.message_id.is_some());
        match self.known(with_id).await {
            Ok(LookedUp { found, missing }) => {
                for (known, proof) in found {
                    if proof.receipts().next().map(|job| seen(&job.task, &known)) == Some(Seen::Done) {
                        self.settle.duplicates(proof);
                        continue;
                    }
                    for job in proof.into_receipts() {
                        match seen(&job.task, &known) {
                            Seen::GivenUp => self.republish.dead(job.original, &death(&known), job.claim),
                            Seen::Done | Seen::Outdated => self.pass_on(job, &begun),
                        }
                    }
                }
                missing.into_iter().for_each(|job| self.pass_on(job, &begun));
            }
            Err(jobs) => self.requeue(jobs),
        }
        without.into_iter().for_each(|job| self.pass_on(job, &begun));
    }

    /// How often suspects were begun without an end.
    async fn begun(&self, suspects: Vec<Key>) -> Result<HashMap<Key, u32>, GaveUp> {
        if suspects.is_empty() {
            return Ok(HashMap::new());
        }
        let mut attempts = self.dependencies.attempts(self.hold, &self.stop);
        loop {
            match self.store.begun(&suspects).await {
                Ok(begun) => return Ok(begun),
                Err(error) => attempts.failed(&error).await?,
            }
        }
    }

    /// The rows of tasks. Fails with the tasks where the database does not answer for too long.
    async fn known(&self, jobs: Jobs) -> Result<LookedUp<Box<Job>>, Jobs> {
        let mut tasks = jobs.into_iter().map(|job| (*job.task.key.as_bytes(), job)).collect();
        let mut attempts = self.dependencies.attempts(self.hold, &self.stop);
        loop {
            match self.store.look_up(tasks).await {
                Ok(found) => return Ok(found),
                Err((unknown, error)) => {
                    tasks = unknown;
                    if attempts.failed(&error).await.is_err() {
                        return Err(tasks.into_iter().map(|(_, job)| job).collect());
                    }
                }
            }
        }
    }

    fn pass_on(&self, job: Box<Job>, begun: &HashMap<Key, u32>) {
        match is_suspect(&job.task) {
            true => {
                let begun = begun.get(job.task.key.as_bytes()).copied().unwrap_or(0);
                self.quarantine.take(job, begun);
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

/// The death that the row tells of.
fn death(known: &Known) -> Death {
    Death {
        reason: known.outcome.map_or("unknown", |outcome| outcome.as_str()),
        error: "given up before; see the task's row".to_owned(),
        status: known.status,
        attempts: known.attempts,
    }
}
