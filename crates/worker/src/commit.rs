//! Batches into the database, two at a time, tried again for as long as the database is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_store::{Batch, Outcome, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::failure::chain;
use crate::health::Health;
use crate::settle::{Receipt, Settle};
use crate::summary::Tally;

/// While one batch is being written, the next one is being sent.
const UNDER_WAY: usize = 2;

/// A fetch whose row is on its way into the database.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) receipt: Receipt,
    pub(crate) outcome: Outcome,
    pub(crate) elapsed: Duration,
}

/// Writes batches and passes the proof on.
#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) store: Arc<Store>,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    pub(crate) health: Health,
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

    /// Waits until every batch is written or given up.
    pub(crate) async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Commit {
    async fn write(self, mut batch: Batch<Finished>) {
        let mut backoff = Backoff::default();
        let mut failing_since = None;
        loop {
            match self.store.write(batch).await {
                Ok(committed) => {
                    self.health.database_answers();
                    if let Some(since) = failing_since {
                        let seconds = Instant::duration_since(&Instant::now(), since).as_secs();
                        info!(seconds, "the database takes rows again");
                    }
                    self.tally.committed(committed.receipts().map(|done| (done.outcome, done.elapsed)));
                    self.settle.committed(committed);
                    return;
                }
                Err(unwritten) => {
                    batch = unwritten.batch;
                    let cause = chain(&unwritten.error);
                    self.health.database_fails(&cause);
                    if failing_since.is_none() {
                        failing_since = Some(Instant::now());
                        warn!(cause, rows = batch.len(), "a batch was not committed; it is held and tried again");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = self.grace_over.cancelled() => {
                    error!(rows = batch.len(), "stopped before a batch could be committed; its messages come back");
                    return;
                }
            }
        }
    }
}
