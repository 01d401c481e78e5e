//! The stages of a worker, and the channels between them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, watch};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::shared::Shared;
use crate::consume::{Consumer, Dedup, Prefetch, Quarantine, Router, Routes};
use crate::execute::extraction::Extractor;
use crate::execute::{Executor, NameServerOutages, Outputs, RetryPolicy};
use crate::fetch::fetcher::Fetcher;
use crate::memory_budget::Budget;
use crate::revalidate::{Identity, KnownPages, Revalidation};
use crate::schedule::{self, Collaborators, QueueDepth, SchedulerHandle, Settings};
use crate::settle::{self, Claims, Session};
use crate::write::{self, Committer, Committers};

/// A stage, or a part of one. Dropping it aborts it: its messages are redelivered.
type Stage = AbortOnDropHandle<()>;

/// The stages. Each ends after the one before it.
pub(super) struct Stages {
    pub(super) fetches: Stage,
    pub(super) batches: Stage,
    pub(super) republisher: Stage,
    pub(super) settler: Stage,
}

impl Stages {
    /// Starts the stages, the last one first, since each gets the sender of the next one.
    pub(super) fn start(
        shared: &Shared,
        fetcher: Fetcher,
        scheduler: SchedulerHandle,
        events: mpsc::UnboundedReceiver<schedule::Event>,
        session: watch::Sender<Option<Session>>,
    ) -> Self {
        let scarce = Arc::new(AtomicBool::new(false));
        let (settle, settler) = settle::settling(shared.metrics.clone(), scarce.clone());
        let (republish, republisher) = settle::republishing(
            (shared.pod(), shared.store.clone()),
            shared.broker.clone(),
            shared.deferral().longer().to_vec(),
            settle.clone(),
            shared.metrics.clone(),
            (shared.config.hold, shared.news.clone()),
        );
        let (results, collected) = mpsc::unbounded_channel();
        let out = Outputs { results, republish, settle, metrics: shared.metrics.clone() };
        let batches = write::run(collected, shared.config.write, shared.committers(&out));
        let executor = shared.executor(fetcher, &out);
        let scheduling = shared
            .scheduling(&scheduler, executor.clone(), session.subscribe(), scarce)
            .run(shared.scheduler_settings(), events);
        let fetches = shared.start_fetches(scheduler, spawn(scheduling), executor, session, out);
        Self {
            fetches,
            batches: spawn(batches),
            republisher: spawn(republisher.run()),
            settler: spawn(settler.run()),
        }
    }
}

impl Shared {
    fn committers(&self, out: &Outputs) -> Committers {
        Committers::new(Committer {
            store: self.store.clone(),
            settle: out.settle.clone(),
            republish: out.republish.clone(),
            metrics: self.metrics.clone(),
            dependencies: self.dependencies.clone(),
            hold: self.config.hold,
            grace_over: self.shutdown.grace_over.clone(),
        })
    }

    fn executor(&self, fetcher: Fetcher, out: &Outputs) -> Arc<Executor> {
        Arc::new(Executor {
            fetcher,
            extractor: Extractor::new(&self.config.execute, self.pod()),
            revalidation: self.revalidation(),
            policy: RetryPolicy {
                delays: self.config.execute.tiers(),
                max_attempts: self.config.execute.max_attempts,
                deferral: self.deferral(),
            },
            outages: NameServerOutages::new(self.news.clone()),
            store: self.store.clone(),
            dependencies: self.dependencies.clone(),
            out: out.clone(),
            tasks: TaskTracker::new(),
            hold: self.config.hold,
            grace_over: self.shutdown.grace_over.clone(),
        })
    }

    fn revalidation(&self) -> Revalidation {
        let identity = Identity::new(&self.config.fetch, &self.config.execute.reading());
        let pages = KnownPages::start(self.store.clone(), self.dependencies.clone());
        Revalidation::new(self.config.revalidate.clone(), identity, pages)
    }

    fn scheduling(
        &self,
        scheduler: &SchedulerHandle,
        executor: Arc<Executor>,
        session: watch::Receiver<Option<Session>>,
        scarce: Arc<AtomicBool>,
    ) -> Collaborators<Executor> {
        Collaborators {
            scheduler: scheduler.clone(),
            executor,
            snapshots: self.snapshots.clone(),
            dependencies: self.dependencies.clone(),
            store: self.store.clone(),
            queue: QueueDepth { broker: self.broker.clone(), session },
            scarce,
        }
    }

    fn scheduler_settings(&self) -> Settings {
        let schedule::Config { concurrency, per_host } = self.config.schedule;
        let (prefetch, hold) = (self.config.prefetch(), self.config.hold);
        Settings { concurrency, per_host, prefetch, deferral: self.deferral(), hold }
    }

    /// Starts consuming, deduplication, quarantine and fetches as one stage.
    fn start_fetches(
        &self,
        scheduler: SchedulerHandle,
        scheduling: Stage,
        executor: Arc<Executor>,
        session: watch::Sender<Option<Session>>,
        out: Outputs,
    ) -> Stage {
        let (quarantine, marked) = Quarantine::new(scheduler.clone(), executor.clone());
        let (to_dedup, deliveries) = mpsc::unbounded_channel();
        let dedup = spawn(self.dedup(&scheduler, quarantine, &out).run(deliveries));
        let marked = spawn(marked.run());
        let routes = Routes {
            scheduler: scheduler.clone(),
            dedup: to_dedup,
            results: out.results,
            republish: out.republish,
            settle: out.settle,
        };
        let budget = executor.fetcher.budget();
        let consumer = self.consumer(self.router(budget, routes), session);
        spawn(async move {
            // 1. Consuming ends with `stop`, and drops the sender of deduplication.
            consumer.run().await;
            // 2. No task starts any more, and waiting ones are requeued.
            scheduler.close();
            // 3. Deduplication and quarantine end when they have passed on what they hold.
            finished(dedup).await;
            finished(marked).await;
            // 4. The scheduler ends with the last fetch.
            scheduler.finish();
            finished(scheduling).await;
            executor.finish().await;
        })
    }

    fn router(&self, budget: Budget, routes: Routes) -> Router {
        Router {
            pod: self.pod(),
            prefetch: Prefetch::new(self.config.prefetch_by_concurrency(), budget),
            claims: Claims::default(),
            traces: self.traces.clone(),
            metrics: self.metrics.clone(),
            routes,
        }
    }

    fn consumer(&self, router: Router, session: watch::Sender<Option<Session>>) -> Consumer {
        Consumer {
            broker: self.broker.clone(),
            pod: self.pod(),
            concurrency: self.config.schedule.concurrency,
            snapshots: self.snapshots.clone(),
            dependencies: self.dependencies.clone(),
            news: self.news.clone(),
            hold: self.config.hold,
            router,
            session,
            stop: self.shutdown.stop.clone(),
        }
    }

    fn dedup(&self, scheduler: &SchedulerHandle, quarantine: Quarantine, out: &Outputs) -> Dedup {
        Dedup {
            store: self.store.clone(),
            scheduler: scheduler.clone(),
            quarantine,
            republish: out.republish.clone(),
            settle: out.settle.clone(),
            dependencies: self.dependencies.clone(),
            hold: self.config.hold,
            stop: self.shutdown.stop.clone(),
        }
    }
}

fn spawn(stage: impl Future<Output = ()> + Send + 'static) -> Stage {
    AbortOnDropHandle::new(tokio::spawn(stage))
}

/// Waits for a part of a stage. Where it panicked, the stage panics too.
async fn finished(part: Stage) {
    if let Err(panic) = part.await {
        std::panic::resume_unwind(panic.into_panic());
    }
}
