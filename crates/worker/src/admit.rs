//! Bounds how many fetches run at once: the permit is taken before the work begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Death, Task};
use fetchline_store::{Fetch, Outcome};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::StoreBody;
use crate::extract;
use crate::fetch::{Answer, Fetcher};
use crate::hand_over::HandOver;
use crate::job::{Finished, Job};
use crate::judge::{self, Judgement, Policy};
use crate::settle::Settle;
use crate::summary::Tally;

/// Starts fetches, and knows which are under way.
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stage: Arc<Stage>,
}

/// What every fetch needs.
pub(crate) struct Stage {
    pub(crate) fetcher: Fetcher,
    pub(crate) keep: StoreBody,
    pub(crate) worker: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) results: mpsc::UnboundedSender<(Fetch, Finished)>,
    pub(crate) hand_over: HandOver,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    /// When this is cancelled, fetches end where they are: their messages come back.
    pub(crate) grace_over: CancellationToken,
}

impl Admission {
    pub(crate) fn new(concurrency: usize, stage: Stage) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrency)), tasks: TaskTracker::new(), stage: Arc::new(stage) }
    }

    /// Waits for a permit and starts the fetch. Gives the job back when `stop` comes first. Poison is recorded instead.
    pub(crate) async fn admit(&self, job: Job, stop: &CancellationToken) -> Result<(), Job> {
        if judge::is_poison(&job.task) {
            self.give_up_poison(job);
            return Ok(());
        }
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(job),
            permit = self.permits.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return Err(job) };
        let stage = self.stage.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stage.work(job) => {}
                () = stage.grace_over.cancelled() => {}
            }
            drop(permit);
        });
        Ok(())
    }

    /// Records a task as poison, without a fetch.
    fn give_up_poison(&self, job: Job) {
        warn!(url = %job.task.order.address, run = job.task.run, "a task came back too often; it is given up");
        let error = format!("delivered {} times without being settled: does it crash its worker?", job.task.returned);
        self.stage.record(job, Answer::without(Outcome::Poison, error), Duration::ZERO, true);
    }

    /// Waits for the fetches that are under way.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Stage {
    async fn work(&self, job: Job) {
        let started = Instant::now();
        let answer = self.fetcher.fetch(&job.task.order).await;
        let elapsed = started.elapsed();
        let judgement = self.policy.judge(&job.task, &answer);
        if answer.outcome != Outcome::Ok {
            self.tell(&job.task, &answer, judgement);
        }
        match judgement {
            Judgement::Result => self.record(job, answer, elapsed, false),
            Judgement::GivenUp => self.record(job, answer, elapsed, true),
            Judgement::Retry(tier) => {
                self.tally.retried();
                self.hand_over.retry(job.original, tier, job.task.attempt + 1, job.claim);
            }
            Judgement::GiveBack => self.settle.give_back(job.claim),
        }
    }

    /// Sends the row on its way.
    fn record(&self, job: Job, mut answer: Answer, elapsed: Duration, given_up: bool) {
        let Job { task, original, claim } = job;
        let (outcome, status, attempts) = (answer.outcome, answer.status, task.attempt);
        let death = given_up.then(|| Death {
            reason: outcome.as_str(),
            error: answer.error.clone().unwrap_or_default(),
            status,
            attempts,
        });
        let mut room = std::mem::take(&mut answer.room);
        let row = extract::row(&task, answer, elapsed, self.keep, &self.worker);
        room.shrink(row.weight());
        let finished = Finished { claim, original, outcome, elapsed, attempts, status, death, _room: room };
        // The batcher lives until every fetch has ended.
        _ = self.results.send((row, finished));
    }

    fn tell(&self, task: &Task, answer: &Answer, judgement: Judgement) {
        let next = match judgement {
            Judgement::Result => "recorded".to_owned(),
            Judgement::Retry(tier) => format!("tried again after {} s", tier.delay().as_secs()),
            Judgement::GivenUp => "given up".to_owned(),
            Judgement::GiveBack => "given back: memory was short".to_owned(),
        };
        info!(
            run = task.run,
            host = task.order.address.host(),
            url = %task.order.address,
            pod = &*self.worker,
            attempt = task.attempt,
            outcome = answer.outcome.as_str(),
            error = answer.error,
            next,
            "a fetch failed"
        );
    }
}
