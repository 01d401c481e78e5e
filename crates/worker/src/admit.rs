//! Gives each task its turn, and then does the work: fetch, judge, and the way on.
//!
//! Every task that is admitted has a small future of its own, which waits; there are never more of them than the prefetch.
//! What a fetch needs comes into being when its turn has come.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Death, Task};
use fetchline_store::Outcome;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::answer::Answer;
use crate::cancelled::Cancelled;
use crate::control::Control;
use crate::extract::{Extract, Read, Took};
use crate::fetch::Fetcher;
use crate::hand_over::HandOver;
use crate::job::{Done, Finished, Job};
use crate::judge::{self, Judgement, Policy};
use crate::meters::Meters;
use crate::settle::Settle;
use crate::summary::Tally;
use crate::trace::Step;
use crate::turn::{NoTurn, Turn, Turns};

/// Starts fetches, and knows which are under way.
pub(crate) struct Admission {
    tasks: TaskTracker,
    stage: Arc<Stage>,
}

/// What every fetch needs.
pub(crate) struct Stage {
    pub(crate) turns: Arc<Turns>,
    pub(crate) cancelled: Arc<Cancelled>,
    pub(crate) control: Control,
    pub(crate) fetcher: Fetcher,
    pub(crate) extract: Extract,
    pub(crate) policy: Policy,
    pub(crate) results: mpsc::UnboundedSender<Done>,
    pub(crate) hand_over: HandOver,
    pub(crate) settle: Settle,
    pub(crate) tally: Arc<Tally>,
    pub(crate) meters: Arc<Meters>,
    /// When this is cancelled, fetches end where they are: their messages come back.
    pub(crate) grace_over: CancellationToken,
}

impl Admission {
    pub(crate) fn new(stage: Stage) -> Self {
        Self { tasks: TaskTracker::new(), stage: Arc::new(stage) }
    }

    /// Lets the task wait for its turn. Poison is recorded instead, and so is a task of a run that was cancelled.
    pub(crate) fn admit(&self, job: Box<Job>) {
        if self.stage.cancelled.holds(&job.task) {
            return self.stage.leave_out(job);
        }
        if judge::is_poison(&job.task) {
            return self.give_up_poison(job);
        }
        let (stage, recalls) = (self.stage.clone(), self.stage.control.recalls());
        self.tasks.spawn(async move { stage.run(job, recalls).await });
    }

    /// Records a task as poison, without a fetch.
    fn give_up_poison(&self, job: Box<Job>) {
        let error = format!("delivered {} times without being settled: does it crash its worker?", job.task.returned);
        warn!(
            url = %job.task.order.address,
            run = job.task.run,
            attempt = job.task.attempt,
            error,
            "a task came back too often; it is given up"
        );
        let (answer, took) = (Answer::without(Outcome::Poison, error), Took::until_now(Duration::ZERO));
        self.stage.record(job, answer, Read::default(), took, true);
    }

    /// Gives back what waits for its turn. What is being fetched goes on.
    pub(crate) fn close(&self) {
        self.stage.turns.close();
    }

    /// Waits for the fetches that are under way.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Stage {
    /// `recalls` counts those that do not mean this task.
    async fn run(&self, job: Box<Job>, recalls: u64) {
        job.claim.enter(Step::Wait);
        match self.turn(&job.task, recalls).await {
            // Its channel was lost while it waited: it is delivered again, and may be with another worker already.
            Ok(_) if !job.claim.is_live() => self.settle.give_back(job.claim),
            _ if self.cancelled.holds(&job.task) => self.leave_out(job),
            Ok(_) if self.control.now().paused => self.put_off(job, NoTurn::GiveBack),
            // Boxed, so that a task that waits is small.
            Ok(turn) => Box::pin(self.work(job, turn)).await,
            Err(no_turn) => self.put_off(job, no_turn),
        }
    }

    /// Waits for the task's turn, for as long as it is wanted here.
    async fn turn(&self, task: &Task, recalls: u64) -> Result<Turn, NoTurn> {
        let mut alarm = self.control.alarm.listen();
        let mut turn = pin!(self.turns.take(&task.order.address));
        loop {
            if self.cancelled.holds(task) || self.control.now().paused || self.control.recalls() != recalls {
                return Err(NoTurn::GiveBack);
            }
            tokio::select! {
                biased;
                // First: a task that need not wait does not listen.
                turn = &mut turn => return turn,
                _ = alarm.changed() => {}
            }
        }
    }

    /// Records that the task is not fetched, since its run was cancelled.
    fn leave_out(&self, job: Box<Job>) {
        let answer = Answer::without(Outcome::Cancelled, "its run was cancelled before it was fetched".to_owned());
        self.record(job, answer, Read::default(), Took::until_now(Duration::ZERO), false);
    }

    async fn work(&self, job: Box<Job>, mut turn: Turn) {
        job.claim.enter(Step::Fetch);
        let started = Instant::now();
        let in_flight = self.meters.fetch();
        let answer = tokio::select! {
            biased;
            answer = self.fetcher.fetch(&job.task.order, &mut turn) => answer,
            // It ends where it is. Whoever waits for a turn has given back long ago.
            () = self.grace_over.cancelled() => return,
        };
        drop((turn, in_flight));
        let took = Took::until_now(started.elapsed());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(no_turn) => return self.put_off(job, no_turn),
        };
        if let Some(trace) = job.claim.trace() {
            trace.fetched(&job.task, &answer);
        }
        self.meters.fetched(took.elapsed, answer.body.as_ref().map_or(0, Vec::len));
        let judgement = self.policy.judge(&job.task, &answer);
        if answer.outcome != Outcome::Ok {
            self.tell(&job.task, &answer, judgement);
        }
        match judgement {
            Judgement::Result | Judgement::GivenUp => {
                let read = self.extract.read(&job.task, &mut answer).await;
                self.record(job, answer, read, took, judgement == Judgement::GivenUp);
            }
            Judgement::Retry(tier) => {
                self.tally.retried();
                self.hand_over.retry(job.original, tier, job.task.attempt + 1, job.claim);
            }
            Judgement::PutOff => self.put_off(job, NoTurn::Later(Duration::ZERO)),
        }
    }

    /// The task gets no turn here and now. That costs it no attempt.
    fn put_off(&self, job: Box<Job>, no_turn: NoTurn) {
        let Job { task, original, claim } = *job;
        let tier = match no_turn {
            NoTurn::GiveBack => None,
            NoTurn::Later(wait) => self.policy.nearest(wait),
        };
        let Some(tier) = tier else { return self.settle.give_back(claim) };
        if !claim.is_live() {
            return self.settle.give_back(claim);
        }
        debug!(
            host = task.order.address.host(),
            url = %task.order.address,
            seconds = tier.delay().as_secs(),
            "the host has no slot for a while; the task waits for it in a delay queue"
        );
        self.tally.parked();
        self.hand_over.park(&task, original, tier, claim);
    }

    /// Sends the row on its way.
    fn record(&self, job: Box<Job>, mut answer: Answer, read: Read, took: Took, given_up: bool) {
        let Job { task, original, claim } = *job;
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
        _ = self.results.send(Done::Row(Box::new(row), finished));
    }

    fn tell(&self, task: &Task, answer: &Answer, judgement: Judgement) {
        let next = match judgement {
            Judgement::Result => "recorded".to_owned(),
            Judgement::Retry(tier) => format!("tried again after {} s", tier.delay().as_secs()),
            Judgement::GivenUp => "given up".to_owned(),
            Judgement::PutOff => "put off: memory was short".to_owned(),
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
