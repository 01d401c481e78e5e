//! Batches into the database, two at a time. What is not taken is held and tried again, and after the hold its messages
//! are requeued.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Death, Task};
use fetchline_store::{Batch, Class, Outcome, Refusal, Store, Unwritten, Written};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::dependencies::Dependencies;
use crate::job::Finished;
use crate::meters::Meters;
use crate::settle::{Republish, Settle};
use crate::summary::Tally;
use crate::trace::Step;

/// While one batch is being written, the next one is being sent.
const UNDER_WAY: usize = 2;
/// What was not taken is tried again beside these, one at a time: it holds up no new batch.
const RETRIED_AT_ONCE: usize = 1;

/// Writes batches and passes the proof on.
#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) store: Arc<Store>,
    pub(crate) settle: Settle,
    pub(crate) republish: Republish,
    pub(crate) tally: Arc<Tally>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) dependencies: Dependencies,
    /// How long batches are held while the database does not take them.
    pub(crate) hold: Duration,
    /// When this is cancelled, a failed write is not tried again: its messages come back.
    pub(crate) grace_over: CancellationToken,
}

/// The commits that are under way.
pub(crate) struct Commits {
    commit: Commit,
    slots: Arc<Semaphore>,
    retries: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Commits {
    pub(crate) fn new(commit: Commit) -> Self {
        let (slots, retries) = (Semaphore::new(UNDER_WAY), Semaphore::new(RETRIED_AT_ONCE));
        Self { commit, slots: Arc::new(slots), retries: Arc::new(retries), tasks: TaskTracker::new() }
    }

    /// Begins to write a batch; waits while two are under way. What of it is not taken waits beside the others.
    pub(crate) async fn begin(&self, batch: Batch<Finished>) {
        let Ok(slot) = self.slots.clone().acquire_owned().await else {
            unreachable!("the semaphore is never closed");
        };
        let (commit, retries) = (self.commit.clone(), self.retries.clone());
        self.tasks.spawn(async move {
            let (rows, began) = (batch.len(), Instant::now());
            commit.trace(&batch);
            let unwritten = commit.write(batch).await;
            drop(slot);
            let is_written = match unwritten {
                Some(unwritten) => commit.retry(unwritten, &retries).await,
                None => true,
            };
            if is_written {
                commit.meters.batch(rows, began.elapsed());
            }
        });
    }

    /// Waits until every batch is written or given up.
    pub(crate) async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Commit {
    fn trace(&self, batch: &Batch<Finished>) {
        for trace in batch.receipts().filter_map(|finished| finished.claim.trace()) {
            trace.enter(Step::Commit);
            trace.of_batch(batch.len());
        }
    }

    /// Writes a batch, and passes on what is durable. What is not is returned.
    async fn write(&self, batch: Batch<Finished>) -> Option<Unwritten<Finished>> {
        let mut written = self.store.write(batch).await;
        let unwritten = written.unwritten.take();
        let is_away = unwritten.as_ref().is_some_and(|unwritten| unwritten.error.class() == Class::Away);
        let took_any = written.taken.receipts().next().is_some() || !written.refused.is_empty();
        if took_any && !is_away {
            self.dependencies.database_takes_rows();
        }
        self.written(written);
        unwritten
    }

    /// Tries what was not taken again; `false` where it has been held for too long.
    async fn retry(&self, mut unwritten: Unwritten<Finished>, retries: &Semaphore) -> bool {
        let mut attempts = self.dependencies.attempts(self.hold, &self.grace_over);
        let mut failing = None;
        loop {
            // While the database takes nothing from anybody, it counts as away whatever else it answers.
            let is_away = unwritten.error.class() == Class::Away;
            let still_failing = is_away.then(|| self.dependencies.batch_fails(&unwritten.error));
            drop(std::mem::replace(&mut failing, still_failing));
            if attempts.failed(&unwritten.error).await.is_err() {
                self.give_up(unwritten);
                return false;
            }
            let slot = tokio::select! {
                slot = retries.acquire() => slot,
                () = attempts.over() => {
                    self.give_up(unwritten);
                    return false;
                }
            };
            let Ok(_slot) = slot else { unreachable!("the semaphore is never closed") };
            match self.write(unwritten.batch).await {
                Some(again) => unwritten = again,
                None => return true,
            }
        }
    }

    fn give_up(&self, unwritten: Unwritten<Finished>) {
        let (rows, cause) = (unwritten.batch.len(), crate::failure::chain(&unwritten.error));
        error!(rows, cause, "the database did not take results for too long: they are dropped, messages given back");
        for finished in unwritten.batch.into_receipts() {
            self.settle.requeue(finished.claim);
        }
    }

    fn committed(&self, rows: impl Iterator<Item = (Outcome, Duration)>) {
        self.tally.committed(rows.inspect(|(outcome, _)| self.meters.committed(*outcome)));
    }

    fn written(&self, written: Written<Finished>) {
        let Written { taken, refused, items_left_out, .. } = written;
        if let Some((items, reason)) = items_left_out {
            error!(items, reason, "the database refuses items; the rows of their fetches say so");
        }
        self.committed(taken.receipts().filter_map(|finished| finished.fetched));
        let (given_up, done) = taken.partition(|finished| finished.death.is_some());
        self.settle.committed(done);
        // These rows are durable; their messages go to the dead letters before they are acked.
        for Finished { claim, original, death, .. } in given_up.into_receipts() {
            if let Some(death) = death {
                self.republish.dead(original, &death, claim);
            }
        }
        for Refusal { receipt: Finished { claim, original, fetched, status, attempts, .. }, recorded, reason } in
            refused
        {
            if recorded {
                self.committed(fetched.into_iter().map(|(_, elapsed)| (Outcome::Refused, elapsed)));
            }
            // Read again, since nothing else of it was needed for a row.
            let task = Task::read(&original.properties, &original.body).ok();
            error!(
                run = task.as_ref().map(|task| task.run.as_str()),
                url = task.as_ref().map(|task| task.order.address.to_string()),
                attempt = attempts,
                error = reason,
                recorded,
                "the database refuses a row; its message goes to the dead letters"
            );
            let death = Death { reason: Outcome::Refused.as_str(), error: reason, status, attempts };
            self.republish.dead(original, &death, claim);
        }
    }
}
