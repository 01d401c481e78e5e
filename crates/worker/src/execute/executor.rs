//! Runs tasks: fetch, decide, extract, and hand the result on.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Death, DeferReason, Task, Tier, Wait};
use fetchline_store::{Outcome, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::extraction::{BodyFacts, Extractor, FetchTime};
use super::name_server_outages::NameServerOutages;
use super::retry_policy::{Decision, RetryPolicy};
use crate::control::dependencies::Dependencies;
use crate::error_chain::chain;
use crate::fetch::answer::Answer;
use crate::fetch::fetcher::Fetcher;
use crate::job::{Job, PendingCommit, Record};
use crate::observe::metrics::Metrics;
use crate::observe::trace::Step;
use crate::revalidate::{Revalidation, Revisit};
use crate::schedule::{Denied, Execute, Place};
use crate::settle::{RepublisherHandle, SettlerHandle};

/// Runs tasks, and tracks which are under way.
pub(crate) struct Executor {
    pub(crate) fetcher: Fetcher,
    pub(crate) extractor: Extractor,
    pub(crate) policy: RetryPolicy,
    pub(crate) revalidation: Revalidation,
    pub(crate) store: Arc<Store>,
    pub(crate) dependencies: Dependencies,
    pub(crate) out: Outputs,
    pub(crate) outages: NameServerOutages,
    pub(crate) tasks: TaskTracker,
    /// How long a write to the table of marks is retried.
    pub(crate) hold: Duration,
    /// Cancelled when the grace is over: fetches end at once, and the broker redelivers their
    /// messages.
    pub(crate) grace_over: CancellationToken,
}

/// The senders of the later stages.
#[derive(Clone)]
pub(crate) struct Outputs {
    pub(crate) results: mpsc::UnboundedSender<Record>,
    pub(crate) republish: RepublisherHandle,
    pub(crate) settle: SettlerHandle,
    pub(crate) metrics: Arc<Metrics>,
}

impl Execute for Executor {
    fn start(self: Arc<Self>, job: Box<Job>, place: Place) {
        let tasks = self.tasks.clone();
        tasks.spawn(self.task(job, place));
    }

    fn defer(&self, job: Box<Job>, tier: Tier, reason: DeferReason) {
        debug!(
            host = job.task.request.address.host(),
            url = %job.task.request.address,
            seconds = tier.delay().as_secs(),
            reason = reason.as_str(),
            "task deferred to a delay queue"
        );
        let Job { task, original, claim, .. } = *job;
        self.out.republish.defer(&task, original, tier, reason, claim);
    }

    fn requeue(&self, job: Box<Job>) {
        self.out.settle.requeue(job.claim);
    }

    fn record_cancelled(&self, job: Box<Job>) {
        let error = "its run was cancelled before it was fetched".to_owned();
        let answer = Answer::without_response(Outcome::Cancelled, error);
        self.record(job, answer, BodyFacts::default(), self.time(Duration::ZERO), false);
    }
}

impl Executor {
    /// Waits until all fetches under way have ended.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Records a task as poison, without a fetch.
    pub(crate) fn record_poison(&self, job: Box<Job>, marks: u32) {
        let redeliveries = job.task.redeliveries;
        let error = format!(
            "delivered {redeliveries} times and begun {marks} times without an end: \
             it may crash its worker"
        );
        warn!(
            url = %job.task.request.address,
            run = job.task.run,
            attempt = job.task.attempt,
            error,
            "a task is given up as poison; its dead letter can be replayed"
        );
        let answer = Answer::without_response(Outcome::Poison, error);
        self.record(job, answer, BodyFacts::default(), self.time(Duration::ZERO), true);
    }

    /// The time of a fetch that ends now.
    fn time(&self, elapsed: Duration) -> FetchTime {
        FetchTime { ended: self.store.now(), elapsed }
    }

    /// The future of one spawned task. There are as many as fetches under way.
    async fn task(self: Arc<Self>, mut job: Box<Job>, mut place: Place) {
        let quarantined = job.quarantined.then(|| job.task.quarantine_key());
        // Boxed: cold path; inline it would enlarge every task's future, of which there are
        // thousands.
        if let Some(key) = &quarantined
            && !Box::pin(self.mark_begun(key.as_bytes())).await
        {
            return self.out.settle.requeue(job.claim);
        }
        match job.restore() {
            Ok(()) => {
                tokio::select! {
                    biased;
                    () = self.fetch(job, &mut place) => {}
                    // Tasks that only waited have been requeued long before.
                    () = self.grace_over.cancelled() => {}
                }
            }
            Err(reason) => {
                self.out.republish.dead(job.original, &Death::not_a_task(&reason), job.claim);
            }
        }
        drop(place);
        if let Some(key) = &quarantined {
            Box::pin(self.mark_ended(key.as_bytes())).await;
        }
    }

    async fn fetch(&self, job: Box<Job>, place: &mut Place) {
        job.claim.enter(Step::Fetch);
        let revisit = match self.revalidation.concerns(&job.task) {
            // Boxed, so that a fetch that revalidates nothing stays small.
            true => Some(Box::pin(self.revalidation.begin(&job.task)).await),
            false => None,
        };
        let started = Instant::now();
        let in_flight = self.out.metrics.fetch();
        let answer = {
            let conditions = revisit.as_deref().map(Revisit::conditions);
            let Task { request, run, .. } = &job.task;
            self.fetcher.fetch(request, run, conditions, place).await
        };
        place.release();
        drop(in_flight);
        let time = self.time(started.elapsed());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(denied) => return self.handle_denied(job, denied),
        };
        if let Some(trace) = job.claim.trace() {
            trace.fetched(&job.task, answer.outcome, answer.status, answer.error.as_deref());
        }
        self.out.metrics.fetched(time.elapsed, answer.body.as_ref().map_or(0, Vec::len));
        if answer.outcome == Outcome::Unchanged {
            let known = revisit.as_ref().and_then(|revisit| revisit.known_body());
            self.out.metrics.saved(known.map_or(0, |(_, bytes)| bytes));
        }
        let decision = self.policy.decide(&job.task, &answer);
        if !answer.outcome.is_success() {
            self.log_failure(&job.task, &answer, decision);
            self.outages.noticed(answer.fault, answer.error.as_deref().unwrap_or_default());
        }
        match decision {
            Decision::Final | Decision::GiveUp => {
                let facts = self.extractor.read(&job.task, &mut answer, revisit).await;
                self.record(job, answer, facts, time, decision == Decision::GiveUp);
            }
            Decision::Retry(tier) => {
                let error = answer.error.unwrap_or_default();
                let reason = answer.outcome.as_str();
                let wait = Wait { reason, error, status: answer.status };
                let next = (tier, job.task.attempt + 1);
                self.out.republish.retry(job.original, next, &wait, job.claim);
            }
            Decision::Defer(tier, reason) => self.defer_or_requeue(job, tier, reason),
        }
    }

    /// Defers or requeues a task whose fetch may not continue now. That costs no attempt.
    fn handle_denied(&self, job: Box<Job>, denied: Denied) {
        match denied {
            Denied::Requeue => self.requeue(job),
            Denied::RetryAfter(wait, reason) => {
                let before = job.task.deferred_for(reason);
                let tier = self.policy.deferral.for_wait(wait, before);
                self.defer_or_requeue(job, tier, reason);
            }
        }
    }

    fn defer_or_requeue(&self, job: Box<Job>, tier: Tier, reason: DeferReason) {
        match job.claim.is_live() {
            true => self.defer(job, tier, reason),
            false => self.requeue(job),
        }
    }

    /// Marks a quarantined task as begun, in case it crashes this worker. `false` where the
    /// database does not take the mark.
    async fn mark_begun(&self, id: &[u8; 16]) -> bool {
        let (begun_at, worker) = (self.store.now(), self.extractor.worker());
        let mut repeater = self.dependencies.repeater(self.hold, &self.grace_over);
        while let Err(error) = self.store.begin_quarantined(id, worker, begun_at).await {
            if repeater.failed(&error).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Removes the mark: a task with a mark counts as one that crashed its worker.
    async fn mark_ended(&self, id: &[u8; 16]) {
        let mut repeater = self.dependencies.repeater(self.hold, &self.grace_over);
        while let Err(error) = self.store.end_quarantined(id).await {
            if repeater.failed(&error).await.is_err() {
                return debug!(cause = chain(&error), "the mark of a task was not removed");
            }
        }
    }

    /// Sends the row of a task to the batcher.
    fn record(
        &self,
        job: Box<Job>,
        mut answer: Answer,
        facts: BodyFacts,
        time: FetchTime,
        is_given_up: bool,
    ) {
        let Job { task, original, claim, .. } = *job;
        claim.enter(Step::Batch);
        let (outcome, status, attempts) = (answer.outcome, answer.status, answer.attempts(&task));
        let death = is_given_up.then(|| {
            let error = answer.error.clone().unwrap_or_default();
            Box::new(Death { reason: outcome.as_str(), error, status, attempts })
        });
        let mut reservation = std::mem::take(&mut answer.reservation);
        let row = self.extractor.row(task, answer, facts, time);
        reservation.shrink(row.weight());
        let fetched = Some((outcome, time.elapsed));
        let pending = PendingCommit {
            claim,
            original,
            fetched,
            attempts,
            status,
            death,
            _reservation: reservation,
        };
        // The batcher outlives every fetch.
        _ = self.out.results.send(Record::Row(Box::new(row), pending));
    }

    fn log_failure(&self, task: &Task, answer: &Answer, decision: Decision) {
        let next = match decision {
            Decision::Final => "recorded".to_owned(),
            Decision::Retry(tier) => format!("retried after {} s", tier.delay().as_secs()),
            Decision::GiveUp => "given up".to_owned(),
            Decision::Defer(tier, reason) => {
                format!("deferred for {} s ({})", tier.delay().as_secs(), reason.as_str())
            }
        };
        info!(
            run = task.run,
            host = task.request.address.host(),
            url = %task.request.address,
            pod = self.extractor.worker(),
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
    fn the_future_of_a_task_is_small() {
        let bytes = size_of_future(Executor::task);
        assert!(bytes <= 2_560, "{bytes} bytes for each of ten thousand fetches at once");
    }
}
