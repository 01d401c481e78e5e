//! Commits batches, two at a time. A batch that the database does not take is held and retried;
//! after the hold its messages are requeued.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Death, Task};
use fetchline_store::{Batch, Class, Outcome, Refusal, Store, UnwrittenBatch, Written};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::control::dependencies::Dependencies;
use crate::error_chain::chain;
use crate::job::PendingCommit;
use crate::observe::metrics::Metrics;
use crate::observe::trace::Step;
use crate::settle::{RepublisherHandle, SettlerHandle};

/// How many batches are written at once: the database writes one while the next one is sent.
const CONCURRENT_WRITES: usize = 2;
/// How many batches are retried at once. They hold up no new batch.
const CONCURRENT_RETRIES: usize = 1;

/// Commits batches and passes on the proof.
#[derive(Clone)]
pub(crate) struct Committer {
    pub(crate) store: Arc<Store>,
    pub(crate) settle: SettlerHandle,
    pub(crate) republish: RepublisherHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) dependencies: Dependencies,
    /// How long batches are held while the database does not take them.
    pub(crate) hold: Duration,
    /// Cancelled when the grace is over: failed writes are not retried, and the broker redelivers
    /// their messages.
    pub(crate) grace_over: CancellationToken,
}

/// The commits that are under way.
pub(crate) struct Committers {
    committer: Committer,
    writes: Arc<Semaphore>,
    retries: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Committers {
    pub(crate) fn new(committer: Committer) -> Self {
        let (writes, retries) =
            (Semaphore::new(CONCURRENT_WRITES), Semaphore::new(CONCURRENT_RETRIES));
        Self {
            committer,
            writes: Arc::new(writes),
            retries: Arc::new(retries),
            tasks: TaskTracker::new(),
        }
    }

    /// Starts to write a batch. Waits while [`CONCURRENT_WRITES`] are under way; retries do not
    /// count.
    pub(crate) async fn begin(&self, batch: Batch<PendingCommit>) {
        let Ok(permit) = self.writes.clone().acquire_owned().await else {
            unreachable!("the semaphore is never closed");
        };
        let (committer, retries) = (self.committer.clone(), self.retries.clone());
        self.tasks.spawn(async move {
            let (rows, started) = (batch.len(), Instant::now());
            committer.trace(&batch);
            let unwritten = committer.write(batch).await;
            drop(permit);
            let is_written = match unwritten {
                Some(unwritten) => committer.retry(unwritten, &retries).await,
                None => true,
            };
            if is_written {
                committer.metrics.batch(rows, started.elapsed());
            }
        });
    }

    /// Waits until every batch is written or given up.
    pub(crate) async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Committer {
    fn trace(&self, batch: &Batch<PendingCommit>) {
        for trace in batch.receipts().filter_map(|pending| pending.claim.trace()) {
            trace.enter(Step::Commit);
            trace.batch(batch.len());
        }
    }

    /// Writes a batch and passes on the rows that are durable. Returns the others.
    async fn write(&self, batch: Batch<PendingCommit>) -> Option<UnwrittenBatch<PendingCommit>> {
        let mut written = self.store.write(batch).await;
        let unwritten = written.unwritten.take();
        let is_away =
            unwritten.as_ref().is_some_and(|unwritten| unwritten.error.class() == Class::Away);
        let has_taken_any =
            written.committed.receipts().next().is_some() || !written.refused.is_empty();
        if has_taken_any && !is_away {
            self.dependencies.database_takes_rows();
        }
        self.pass_on(written);
        unwritten
    }

    /// Repeats the write; `false` where the rows were held for too long.
    async fn retry(
        &self,
        mut unwritten: UnwrittenBatch<PendingCommit>,
        retries: &Semaphore,
    ) -> bool {
        let mut repeater = self.dependencies.repeater(self.hold, &self.grace_over);
        let mut failing = None;
        loop {
            // While this is held, the database counts as away, whatever else it answers. The new
            // one replaces the old one, so there is no moment without.
            let is_away = unwritten.error.class() == Class::Away;
            let still_failing = is_away.then(|| self.dependencies.batch_fails(&unwritten.error));
            drop(std::mem::replace(&mut failing, still_failing));
            if repeater.failed(&unwritten.error).await.is_err() {
                self.give_up(unwritten);
                return false;
            }
            let permit = tokio::select! {
                permit = retries.acquire() => permit,
                () = repeater.over() => {
                    self.give_up(unwritten);
                    return false;
                }
            };
            let Ok(_permit) = permit else { unreachable!("the semaphore is never closed") };
            match self.write(unwritten.batch).await {
                Some(still_unwritten) => unwritten = still_unwritten,
                None => return true,
            }
        }
    }

    fn give_up(&self, unwritten: UnwrittenBatch<PendingCommit>) {
        let (rows, cause) = (unwritten.batch.len(), chain(&unwritten.error));
        error!(
            rows,
            cause,
            "the database did not accept results for too long: they are dropped, and their \
             messages are requeued"
        );
        for pending in unwritten.batch.into_receipts() {
            self.settle.requeue(pending.claim);
        }
    }

    /// Acks the messages of durable rows; those of tasks that are given up become dead letters.
    fn pass_on(&self, written: Written<PendingCommit>) {
        let Written { committed, refused, items_left_out, .. } = written;
        if let Some((items, reason)) = items_left_out {
            error!(
                items,
                reason, "the database refuses items: the rows are written without them and say why"
            );
        }
        self.metrics.committed(committed.receipts().filter_map(|pending| pending.fetched));
        let (given_up, finished) = committed.partition(|pending| pending.death.is_some());
        self.settle.committed(finished.map(|pending| pending.claim));
        // These rows are durable too. Their messages are acked once the broker has the dead
        // letters.
        for PendingCommit { claim, original, death, .. } in given_up.into_receipts() {
            if let Some(death) = death {
                self.republish.dead(original, &death, claim);
            }
        }
        refused.into_iter().for_each(|refusal| self.pass_on_refused(refusal));
    }

    fn pass_on_refused(&self, refusal: Refusal<PendingCommit>) {
        let Refusal { receipt, recorded, reason } = refusal;
        let PendingCommit { claim, original, fetched, status, attempts, .. } = receipt;
        if recorded {
            let refused = fetched.into_iter().map(|(_, elapsed)| (Outcome::Refused, elapsed));
            self.metrics.committed(refused);
        }
        // The row is gone, so the log takes the run and the URL from the message.
        let task = Task::read(&original.properties, &original.body).ok();
        error!(
            run = task.as_ref().map(|task| task.run.as_str()),
            url = task.as_ref().map(|task| task.request.address.to_string()),
            attempt = attempts,
            error = reason,
            recorded,
            "the database refuses a row; its message becomes a dead letter"
        );
        let death = Death { reason: Outcome::Refused.as_str(), error: reason, status, attempts };
        self.republish.dead(original, &death, claim);
    }
}
