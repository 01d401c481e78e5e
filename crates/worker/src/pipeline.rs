//! Joins the stages, and takes them down again in the order of the flow.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fetchline_queue::{Broker, Role, Tier};
use fetchline_store::{Cursor, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{RobotsPolicy, WorkConfig};
use crate::consume::{Consumer, Dedup, Outlets, Prefetch, Quarantine};
use crate::control::Control;
use crate::dependencies::{Dependencies, FOREVER};
use crate::execute::{Executing, Executor, RetryPolicy};
use crate::extract::Extract;
use crate::fetch::Fetcher;
use crate::job::Done;
use crate::meters::{Meters, Sights};
use crate::poll::Poller;
use crate::resolver::Resolver;
use crate::robots::{Robots, Shared};
use crate::schedule::{self, Deferral, QueueDepth, Scheduler, Scheduling, Settings};
use crate::settle::{self, Claims, Republish, Session, Settle};
use crate::snapshot::Snapshots;
use crate::summary::{Summary, Tally};
use crate::trace::Traces;
use crate::write::{BatchLimits, Commit, Commits};
use crate::{flow, health, idle, write};

/// How long the last writes may take when the grace is over.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What a worker works with.
pub struct Deps {
    /// RabbitMQ.
    pub broker: Broker,
    /// MySQL.
    pub store: Arc<Store>,
}

/// Tells a worker to take no more. What it has begun, it finishes within its grace.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Take no more.
    pub fn stop(&self) {
        self.0.cancel();
    }
}

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings do not fit together.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The system's resolver configuration cannot be read.
    #[error("the system's resolver configuration (/etc/resolv.conf) cannot be used: {0}")]
    Resolver(String),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// Traces cannot be exported as configured.
    #[error("traces cannot be exported (--otlp-endpoint, OTEL_…): {0}")]
    Traces(String),
    /// The port is taken.
    #[error("cannot listen on {0} (--listen)")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    /// The database is not what this program needs.
    #[error(transparent)]
    Store(#[from] fetchline_store::Error),
    /// A part of the program failed in a way that it should not.
    #[error("a stage of the pipeline failed: {0}")]
    Stage(String),
    /// The grace was over before everything was finished.
    #[error("the grace was over before everything was finished: what is left will be delivered again")]
    GraceOver(Box<Summary>),
}

/// Works until `stop`, or until nothing is left where `until_empty` says so.
pub async fn run(config: WorkConfig, deps: Deps, Stop(stop): Stop) -> Result<Summary, Error> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(Error::Config(problems));
    }
    let worker = Worker::new(config, deps, stop)?;
    let _end_sides = worker.end.clone().drop_guard();
    let beginning = Beginning::new();
    let fetcher = worker.fetcher(&beginning.scheduler)?;
    worker.serve_health(&beginning, &fetcher).await?;
    let Some(cursor) = worker.begin().await? else { return Ok(worker.tally.summary()) };
    worker.start_sides(cursor, &beginning.present);
    let stages = worker.join(fetcher, beginning);
    worker.drain(stages).await?;
    Ok(worker.tally.summary())
}

/// What all stages share.
struct Worker {
    config: WorkConfig,
    pod: Arc<str>,
    /// With the retry queues of the configuration.
    broker: Broker,
    store: Arc<Store>,
    deferral: Deferral,
    policy: RetryPolicy,
    snapshots: Snapshots,
    dependencies: Dependencies,
    tally: Arc<Tally>,
    meters: Arc<Meters>,
    traces: Arc<Traces>,
    /// Whether the worker has free places and no task that it could fetch.
    scarce: Arc<AtomicBool>,
    stop: CancellationToken,
    /// Ends what runs beside the stages.
    end: CancellationToken,
    /// When this is cancelled, everything ends where it is.
    grace_over: CancellationToken,
}

/// What is known to others before the stages are joined: the way to the scheduler, and the present session.
struct Beginning {
    scheduler: Scheduler,
    events: mpsc::UnboundedReceiver<schedule::Event>,
    session: watch::Sender<Option<Session>>,
    present: watch::Receiver<Option<Session>>,
}

impl Beginning {
    fn new() -> Self {
        let (scheduler, events) = schedule::channel();
        let (session, present) = watch::channel(None);
        Self { scheduler, events, session, present }
    }
}

/// The ways to the stages behind.
struct Ways {
    results: mpsc::UnboundedSender<Done>,
    republish: Republish,
    settle: Settle,
}

/// The stages, each of which ends when the one before it has.
struct Stages {
    fetches: JoinHandle<()>,
    batches: JoinHandle<()>,
    republisher: JoinHandle<()>,
    settler: JoinHandle<()>,
}

impl Worker {
    fn new(config: WorkConfig, deps: Deps, stop: CancellationToken) -> Result<Self, Error> {
        let tiers: Vec<Tier> = config.retry_delays.iter().filter_map(|delay| Tier::of(*delay)).collect();
        let pod: Arc<str> = config.pod.as_str().into();
        let broker = deps.broker.with_tiers(tiers.clone());
        let traces = Traces::to(config.traces_to.as_ref(), &pod, broker.topology(), config.prefetch);
        let snapshots = Snapshots::new(config.concurrency);
        Ok(Self {
            traces: Arc::new(traces.map_err(|error| Error::Traces(error.to_string()))?),
            deferral: Deferral::new(&tiers),
            dependencies: Dependencies::new(snapshots.clone()),
            snapshots,
            tally: Arc::new(Tally::new()),
            meters: Arc::new(Meters::new(&tiers)),
            policy: RetryPolicy { delays: tiers, max_attempts: config.max_attempts },
            store: deps.store,
            scarce: Arc::default(),
            end: CancellationToken::new(),
            grace_over: CancellationToken::new(),
            config,
            pod,
            broker,
            stop,
        })
    }

    fn fetcher(&self, scheduler: &Scheduler) -> Result<Fetcher, Error> {
        let resolver = Resolver::from_system().map_err(|error| Error::Resolver(error.to_string()))?;
        let shared = || Shared {
            store: self.store.clone(),
            dependencies: self.dependencies.clone(),
            scheduler: scheduler.clone(),
            hold: self.config.hold,
            stop: self.stop.clone(),
        };
        let obeys = self.config.robots == RobotsPolicy::Obey;
        let robots = obeys.then(|| Robots::new(shared(), &self.config.user_agent));
        let fetcher = Fetcher::new(&self.config, Arc::new(resolver), robots);
        fetcher.map_err(|error| Error::Client(crate::failure::describe(error)))
    }

    async fn serve_health(&self, beginning: &Beginning, fetcher: &Fetcher) -> Result<(), Error> {
        let Some(address) = self.config.listen else { return Ok(()) };
        let listener = health::bind(address).await.map_err(|error| Error::Listen(address, error))?;
        let address = listener.local_addr().map_err(|error| Error::Listen(address, error))?;
        info!(%address, "health is served");
        let sights = Sights {
            dependencies: self.dependencies.clone(),
            snapshots: self.snapshots.clone(),
            scheduler: beginning.scheduler.clone(),
            store: self.store.clone(),
            budget: fetcher.budget(),
            session: beginning.present.clone(),
        };
        tokio::spawn(health::serve(listener, self.meters.clone(), sights, self.end.clone()));
        Ok(())
    }

    fn poller(&self) -> Poller {
        let (snapshots, dependencies) = (self.snapshots.clone(), self.dependencies.clone());
        Poller { store: self.store.clone(), snapshots, dependencies }
    }

    /// Waits until the database answers and has this program's schema, and reads what holds. `None` at a stop.
    async fn begin(&self) -> Result<Option<Cursor>, Error> {
        tokio::spawn(self.meters.clone().keep_up(self.end.clone()));
        match self.schema_is_there().await? {
            true => Ok(self.poller().begin(&self.stop).await),
            false => Ok(None),
        }
    }

    /// Waits until the database answers, and refuses one that has to be migrated first. `false` when told to stop.
    async fn schema_is_there(&self) -> Result<bool, Error> {
        let mut attempts = self.dependencies.attempts(FOREVER, &self.stop);
        let mut reported = false;
        loop {
            let checked = tokio::select! {
                checked = self.store.check_schema() => checked,
                () = self.stop.cancelled() => return Ok(false),
            };
            match checked {
                Ok(()) => {
                    self.dependencies.database_takes_rows();
                    return Ok(true);
                }
                Err(error) if error.is_configuration() => return Err(error.into()),
                Err(error) => {
                    if !std::mem::replace(&mut reported, true) {
                        let (cause, database) = (crate::failure::chain(&error), self.store.location());
                        warn!(cause, database, "no connection to the database; trying again until there is");
                    }
                    if attempts.failed(&error).await.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Starts what runs beside the stages.
    fn start_sides(&self, cursor: Cursor, present: &watch::Receiver<Option<Session>>) {
        let control = Control {
            broker: self.broker.clone().with_role(Role::Control),
            snapshots: self.snapshots.clone(),
            dependencies: self.dependencies.clone(),
            pod: self.pod.clone(),
        };
        tokio::spawn(control.listen(self.end.clone()));
        tokio::spawn(self.poller().follow(cursor, self.end.clone()));
        tokio::spawn(flow::tell(self.tally.clone(), present.clone(), self.end.clone()));
        if self.config.until_empty {
            let (broker, present) = (self.broker_with_deferral(), present.clone());
            tokio::spawn(idle::stop_when_empty(broker, present, self.dependencies.clone(), self.stop.clone()));
        }
    }

    /// The broker with the delay queues of deferred tasks besides.
    fn broker_with_deferral(&self) -> Broker {
        self.broker.clone().with_tiers(self.deferral.tiers().to_vec())
    }

    /// Joins the stages, from the end of the way to its beginning: each is given the way to the next one.
    fn join(&self, fetcher: Fetcher, beginning: Beginning) -> Stages {
        let (settle, settler) = settle::settling(self.meters.clone(), self.scarce.clone());
        let (republish, republisher) = settle::republishing(
            (self.pod.clone(), self.store.clone()),
            self.broker.clone(),
            self.deferral.longer().to_vec(),
            settle.clone(),
            self.meters.clone(),
            self.config.hold,
        );
        let (results, collected) = mpsc::unbounded_channel();
        let ways = Ways { results, republish, settle };
        let commits = self.commits(&ways);
        let WorkConfig { batch_rows: rows, batch_bytes: bytes, batch_age: age, .. } = self.config;
        Stages {
            fetches: self.start_fetches(fetcher, beginning, ways),
            batches: tokio::spawn(write::collect(collected, BatchLimits { rows, bytes, age }, commits)),
            republisher: tokio::spawn(republisher.run()),
            settler: tokio::spawn(settler.run()),
        }
    }

    fn commits(&self, ways: &Ways) -> Commits {
        Commits::new(Commit {
            store: self.store.clone(),
            settle: ways.settle.clone(),
            republish: ways.republish.clone(),
            tally: self.tally.clone(),
            meters: self.meters.clone(),
            dependencies: self.dependencies.clone(),
            hold: self.config.hold,
            grace_over: self.grace_over.clone(),
        })
    }

    fn executor(&self, fetcher: Fetcher, ways: &Ways) -> Arc<Executor> {
        Arc::new(Executor {
            fetcher,
            extract: Extract::new(self.config.store_body, self.config.rules.clone(), self.pod.clone()),
            policy: self.policy.clone(),
            store: self.store.clone(),
            dependencies: self.dependencies.clone(),
            out: Executing {
                results: ways.results.clone(),
                republish: ways.republish.clone(),
                settle: ways.settle.clone(),
                tally: self.tally.clone(),
                meters: self.meters.clone(),
            },
            tasks: TaskTracker::new(),
            hold: self.config.hold,
            grace_over: self.grace_over.clone(),
        })
    }

    /// Starts consuming, deduplication, scheduling and fetches: one stage, which ends when all that was begun has.
    fn start_fetches(&self, fetcher: Fetcher, beginning: Beginning, ways: Ways) -> JoinHandle<()> {
        let Beginning { scheduler, events, session, present } = beginning;
        let budget = fetcher.budget();
        let executor = self.executor(fetcher, &ways);
        let (quarantine, lane) = Quarantine::new(scheduler.clone(), executor.clone());
        let (to_dedup, deliveries) = mpsc::unbounded_channel();
        let dedup = tokio::spawn(self.dedup(&scheduler, quarantine, &ways).run(deliveries));
        let lane = tokio::spawn(lane.run());
        let scheduling =
            tokio::spawn(self.scheduling(&scheduler, executor.clone(), present).run(self.settings(), events));
        let consumer = Consumer {
            broker: self.broker.clone(),
            pod: self.pod.clone(),
            prefetch: Prefetch::new(self.config.prefetch_by_concurrency(), budget),
            snapshots: self.snapshots.clone(),
            dependencies: self.dependencies.clone(),
            hold: self.config.hold,
            claims: Claims::default(),
            out: Outlets {
                scheduler: scheduler.clone(),
                dedup: to_dedup,
                results: ways.results,
                republish: ways.republish,
                settle: ways.settle,
            },
            tally: self.tally.clone(),
            traces: self.traces.clone(),
            meters: self.meters.clone(),
            session,
            stop: self.stop.clone(),
        };
        tokio::spawn(async move {
            consumer.run().await;
            // Nothing comes in any more: what is under way is all there is.
            scheduler.close();
            finished(dedup).await;
            finished(lane).await;
            scheduler.finish();
            finished(scheduling).await;
            executor.finish().await;
        })
    }

    fn dedup(&self, scheduler: &Scheduler, quarantine: Quarantine, ways: &Ways) -> Dedup {
        Dedup {
            store: self.store.clone(),
            scheduler: scheduler.clone(),
            quarantine,
            republish: ways.republish.clone(),
            settle: ways.settle.clone(),
            dependencies: self.dependencies.clone(),
            hold: self.config.hold,
            stop: self.stop.clone(),
        }
    }

    fn scheduling(
        &self,
        scheduler: &Scheduler,
        executor: Arc<Executor>,
        session: watch::Receiver<Option<Session>>,
    ) -> Scheduling<Executor> {
        Scheduling {
            scheduler: scheduler.clone(),
            executor,
            snapshots: self.snapshots.clone(),
            dependencies: self.dependencies.clone(),
            store: self.store.clone(),
            queue: QueueDepth { broker: self.broker.clone(), session },
            scarce: self.scarce.clone(),
        }
    }

    fn settings(&self) -> Settings {
        let WorkConfig { concurrency, per_host, prefetch, hold, .. } = self.config;
        Settings { concurrency, per_host, prefetch, deferral: self.deferral.clone(), hold }
    }

    /// Waits until every stage has ended, or the grace is over. A stage that ends by a panic ends all: nothing would be
    /// settled any more.
    async fn drain(&self, stages: Stages) -> Result<(), Error> {
        let Stages { fetches, batches, republisher, settler } = stages;
        let drained = async { tokio::try_join!(fetches, batches, republisher, settler) };
        let deadline = async {
            self.stop.cancelled().await;
            info!(grace_s = self.config.grace.as_secs(), "stopping: finishing what was begun");
            tokio::time::sleep(self.config.grace).await;
            warn!("the grace is over");
            self.grace_over.cancel();
            tokio::time::sleep(LAST_WRITES).await;
        };
        let ended = tokio::select! {
            drained = drained => drained.map(drop).map_err(|panic| Error::Stage(panic.to_string())),
            () = deadline => Ok(()),
        };
        self.traces.finish().await;
        ended?;
        match self.grace_over.is_cancelled() {
            true => Err(Error::GraceOver(Box::new(self.tally.summary()))),
            false => Ok(()),
        }
    }
}

/// Waits until a part of a stage has ended. One that ends by a panic ends the stage.
async fn finished(part: JoinHandle<()>) {
    if let Err(panic) = part.await {
        std::panic::resume_unwind(panic.into_panic());
    }
}
