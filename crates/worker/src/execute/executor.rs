//! Runs one task: fetch, decide, extract, and hand on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Death, DeferReason, Task, Tier};
use fetchline_store::{Outcome, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::answer::Answer;
use super::retry_policy::{Decision, RetryPolicy};
use crate::dependencies::Dependencies;
use crate::extract::{Extract, Read, Took};
use crate::failure::chain;
use crate::fetch::Fetcher;
use crate::job::{Done, Finished, Job};
use crate::meters::Meters;
use crate::schedule::{Denied, Execute, Place};
use crate::settle::{Republish, Settle};
use crate::summary::Tally;
use crate::trace::Step;

/// Runs tasks, and knows which are under way.
pub(crate) struct Executor {
    pub(crate) fetcher: Fetcher,
    pub(crate) extract: Extract,
    pub(crate) policy: RetryPolicy,
    pub(crate) store: Arc<Store>,
    pub(crate) dependencies: Dependencies,
    pub(crate) out: Executing,
    pub(crate) tasks: TaskTracker,
    /// How long a mark in the database is tried for.
    pub(crate) hold: Duration,
    /// When this is cancelled, fetches end where they are: their messages come back.
    pub(crate) grace_over: CancellationToken,
}

/// Where tasks go on.
pub(crate) struct Executing {
    pub(crate) results: mpsc::UnboundedSender<Done>,
    pub(crate) republish: Republish,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    pub(crate) meters: Arc<Meters>,
}

impl Execute for Executor {
    fn start(self: Arc<Self>, job: Box<Job>, place: Place) {
        let tasks = self.tasks.clone();
        tasks.spawn(self.running(job, place));
    }

    fn defer(&self, job: Box<Job>, tier: Tier, reason: DeferReason) {
        debug!(
            host = job.task.order.address.host(),
            url = %job.task.order.address,
            seconds = tier.delay().as_secs(),
            reason = reason.as_str(),
            "task deferred to a delay queue"
        );
        self.out.tally.parked();
        let Job { task, original, claim, .. } = *job;
        self.out.republish.defer(&task, original, tier, reason, claim);
    }

    fn requeue(&self, job: Box<Job>) {
        self.out.settle.requeue(job.claim);
    }

    fn record_cancelled(&self, job: Box<Job>) {
        let answer = Answer::without(Outcome::Cancelled, "its run was cancelled before it was fetched".to_owned());
        self.record(job, answer, Read::default(), self.took(Duration::ZERO), false);
    }
}

impl Executor {
    /// A task that is run: there are as many of these as fetches under way.
    async fn running(self: Arc<Self>, job: Box<Job>, place: Place) {
        self.run(job, place).await;
    }

    /// Waits for the fetches that are under way.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Records a task as poison, without a fetch.
    pub(crate) fn record_poison(&self, job: Box<Job>, begun: u32) {
        let returned = job.task.returned;
        let error =
            format!("delivered {returned} times and begun {begun} times without an end: does it crash its worker?");
        warn!(
            url = %job.task.order.address,
            run = job.task.run,
            attempt = job.task.attempt,
            error,
            "a task came back too often; it is given up"
        );
        let answer = Answer::without(Outcome::Poison, error);
        self.record(job, answer, Read::default(), self.took(Duration::ZERO), true);
    }

    fn took(&self, elapsed: Duration) -> Took {
        Took { ended: self.store.now(), elapsed }
    }

    async fn run(&self, mut job: Box<Job>, mut place: Place) {
        let (id, quarantined) = (*job.task.key.as_bytes(), job.quarantined);
        // Boxed: cold path; inlined it would enlarge every task's future, of which there are thousands.
        if quarantined && !Box::pin(self.mark_begun(&id)).await {
            return self.out.settle.requeue(job.claim);
        }
        match job.restore() {
            Ok(()) => {
                tokio::select! {
                    biased;
                    () = self.fetch(job, &mut place) => {}
                    // It ends where it is. Whatever waits has been requeued long ago.
                    () = self.grace_over.cancelled() => {}
                }
            }
            // It could be read when it came.
            Err(reason) => {
                self.out.republish.dead(job.original, &Death::not_a_task(&reason), job.claim);
            }
        }
        drop(place);
        if quarantined {
            Box::pin(self.mark_ended(&id)).await;
        }
    }

    async fn fetch(&self, job: Box<Job>, place: &mut Place) {
        job.claim.enter(Step::Fetch);
        let started = Instant::now();
        let in_flight = self.out.meters.fetch();
        let answer = self.fetcher.fetch(&job.task.order, place).await;
        place.release();
        drop(in_flight);
        let took = self.took(started.elapsed());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(denied) => return self.denied(job, denied),
        };
        if let Some(trace) = job.claim.trace() {
            trace.fetched(&job.task, &answer);
        }
        self.out.meters.fetched(took.elapsed, answer.body.as_ref().map_or(0, Vec::len));
        let decision = self.policy.decide(&job.task, &answer);
        if answer.outcome != Outcome::Ok {
            self.report(&job.task, &answer, decision);
        }
        match decision {
            Decision::Final | Decision::GiveUp => {
                let read = self.extract.read(&job.task, &mut answer).await;
                self.record(job, answer, read, took, decision == Decision::GiveUp);
            }
            Decision::Retry(tier) => {
                self.out.tally.retried();
                self.out.republish.retry(job.original, tier, job.task.attempt + 1, job.claim);
            }
            Decision::Defer => self.defer_or_requeue(job, self.policy.nearest(Duration::ZERO), DeferReason::Memory),
        }
    }

    /// The fetch does not go on here and now. That costs it no attempt.
    fn denied(&self, job: Box<Job>, denied: Denied) {
        let tier = match denied {
            Denied::Requeue => None,
            Denied::RetryAfter(wait) => self.policy.nearest(wait),
        };
        self.defer_or_requeue(job, tier, DeferReason::Slot);
    }

    fn defer_or_requeue(&self, job: Box<Job>, tier: Option<Tier>, reason: DeferReason) {
        match tier.filter(|_| job.claim.is_live()) {
            Some(tier) => self.defer(job, tier, reason),
            None => self.requeue(job),
        }
    }

    /// Marks a task as begun, for the case that this worker goes down with it. `false` where that cannot be done.
    async fn mark_begun(&self, id: &[u8; 32]) -> bool {
        let begun_at = self.store.now();
        let mut attempts = self.dependencies.attempts(self.hold, &self.grace_over);
        while let Err(error) = self.store.begin_quarantined(id, &self.extract.worker, begun_at).await {
            if attempts.failed(&error).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Takes the mark back: one that stays would be evidence of what did not happen.
    async fn mark_ended(&self, id: &[u8; 32]) {
        let mut attempts = self.dependencies.attempts(self.hold, &self.grace_over);
        while let Err(error) = self.store.end_quarantined(id).await {
            if attempts.failed(&error).await.is_err() {
                return debug!(cause = chain(&error), "a task's mark stays, though it has ended");
            }
        }
    }

    /// Sends the row on its way.
    fn record(&self, job: Box<Job>, mut answer: Answer, read: Read, took: Took, given_up: bool) {
        let Job { task, original, claim, .. } = *job;
        claim.enter(Step::Batch);
        let (outcome, status, attempts) = (answer.outcome, answer.status, task.attempt);
        let death = given_up.then(|| {
            let error = answer.error.clone().unwrap_or_default();
            Box::new(Death { reason: outcome.as_str(), error, status, attempts })
        });
        let mut room = std::mem::take(&mut answer.room);
        let row = self.extract.row(task, answer, read, took);
        room.shrink(row.weight());
        let fetched = Some((outcome, took.elapsed));
        let finished = Finished { claim, original, fetched, attempts, status, death, _room: room };
        // The batcher lives until every fetch has ended.
        _ = self.out.results.send(Done::Row(Box::new(row), finished));
    }

    fn report(&self, task: &Task, answer: &Answer, decision: Decision) {
        let next = match decision {
            Decision::Final => "recorded".to_owned(),
            Decision::Retry(tier) => format!("tried again after {} s", tier.delay().as_secs()),
            Decision::GiveUp => "given up".to_owned(),
            Decision::Defer => "deferred: memory was short".to_owned(),
        };
        info!(
            run = task.run,
            host = task.order.address.host(),
            url = %task.order.address,
            pod = &*self.extract.worker,
            attempt = task.attempt,
            outcome = answer.outcome.as_str(),
            error = answer.error,
            next,
            "a fetch failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn ten_thousand_fetches_at_once_take_little_memory_besides_what_the_client_library_takes() {
        let bytes = size_of_future(Executor::running);
        assert!(bytes <= 2_560, "{bytes} bytes for each");
    }
}
