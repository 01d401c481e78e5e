//! Batches into the database, two at a time. While the database is away they are held and tried again, and after the
//! hold their messages are given back.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Death, Task};
use fetchline_store::{Batch, Outcome, Refusal, Store, Written};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::backoff::Backoff;
use crate::failure::chain;
use crate::hand_over::HandOver;
use crate::job::Finished;
use crate::meters::Meters;
use crate::services::Services;
use crate::settle::Settle;
use crate::summary::Tally;
use crate::trace::Step;

/// While one batch is being written, the next one is being sent.
const UNDER_WAY: usize = 2;

/// Writes batches and passes the proof on.
#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) store: Arc<Store>,
    pub(crate) settle: Settle,
    pub(crate) hand_over: HandOver,
    pub(crate) tally: Arc<Tally>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) services: Services,
    /// How long batches are held while the database is away.
    pub(crate) hold: Duration,
    /// When this is cancelled, a failed write is not tried again: its messages come back.
    pub(crate) grace_over: CancellationToken,
}

/// The commits that are under way.
pub(crate) struct Commits {
    commit: Commit,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Commits {
    pub(crate) fn new(commit: Commit) -> Self {
        Self { commit, slots: Arc::new(Semaphore::new(UNDER_WAY)), tasks: TaskTracker::new() }
    }

    /// Begins to write a batch; waits while two are under way.
    pub(crate) async fn begin(&self, batch: Batch<Finished>) {
        let Ok(slot) = self.slots.clone().acquire_owned().await else {
            unreachable!("the semaphore is never closed");
        };
        let commit = self.commit.clone();
        self.tasks.spawn(async move {
            commit.write(batch).await;
            drop(slot);
        });
    }

    /// Waits until every batch is written or given back.
    pub(crate) async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Commit {
    async fn write(self, mut batch: Batch<Finished>) {
        let (rows, began) = (batch.len(), Instant::now());
        for trace in batch.receipts().filter_map(|finished| finished.claim.trace()) {
            trace.enter(Step::Commit);
            trace.of_batch(rows);
        }
        let mut backoff = Backoff::default();
        let mut failing = None;
        loop {
            match self.store.write(batch).await {
                Ok(written) => {
                    drop(failing);
                    self.meters.batch(rows, began.elapsed());
                    return self.written(written);
                }
                Err(unwritten) => {
                    batch = unwritten.batch;
                    self.services.database_fails(&chain(&unwritten.error));
                }
            }
            let (since, _) = failing.get_or_insert_with(|| (Instant::now(), self.services.batch_fails()));
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => continue,
                () = tokio::time::sleep_until(*since + self.hold) => {}
                // Others have been held for that long before this one came to be written.
                () = self.services.database_down_for(self.hold) => {}
                () = self.grace_over.cancelled() => {}
            }
            error!(rows = batch.len(), "the database was away for too long: results are dropped, messages given back");
            for finished in batch.into_receipts() {
                self.settle.give_back(finished.claim);
            }
            return;
        }
    }

    fn committed(&self, rows: impl Iterator<Item = (Outcome, Duration)>) {
        self.tally.committed(rows.inspect(|(outcome, _)| self.meters.committed(*outcome)));
    }

    fn written(&self, written: Written<Finished>) {
        self.services.database_takes_rows();
        let Written { taken, refused, items_left_out } = written;
        if let Some((items, reason)) = items_left_out {
            error!(items, reason, "the database refuses items; the rows of their fetches say so");
        }
        self.committed(taken.receipts().filter_map(|finished| finished.fetched));
        let (given_up, done) = taken.partition(|finished| finished.death.is_some());
        self.settle.committed(done);
        // These rows are durable; their messages go to the dead letters before they are acked.
        for Finished { claim, original, death, .. } in given_up.into_receipts() {
            if let Some(death) = death {
                self.hand_over.dead(original, &death, claim);
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
            self.hand_over.dead(original, &death, claim);
        }
    }
}
