//! Joins the stages, and takes them down again in the order of the flow.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Broker, Role, Tier};
use fetchline_store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admit::{Admission, Stage};
use crate::batch::Limits as BatchLimits;
use crate::cancelled::Cancelled;
use crate::claim::Claims;
use crate::commit::{Commit, Commits};
use crate::config::{RobotsPolicy, WorkConfig};
use crate::consume::Consume;
use crate::control::Control;
use crate::extract::Extract;
use crate::fetch::Fetcher;
use crate::host::Hosts;
use crate::isolate::Isolate;
use crate::judge::Policy;
use crate::meters::{Meters, Sights};
use crate::permits::Permits;
use crate::recognise::Recognise;
use crate::resolver::Resolver;
use crate::robots::Robots;
use crate::services::Services;
use crate::summary::{Summary, Tally};
use crate::trace::Traces;
use crate::turn::Turns;
use crate::waits::Waits;
use crate::{batch, flow, hand_over, health, idle, settle};

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
pub async fn run(config: WorkConfig, deps: Deps, stop: Stop) -> Result<Summary, Error> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(Error::Config(problems));
    }
    let tiers: Vec<Tier> = config.retry_delays.iter().filter_map(|delay| Tier::of(*delay)).collect();
    let store = deps.store;
    let broker = deps.broker.with_tiers(tiers.clone());
    let Stop(stop) = stop;
    let pod: Arc<str> = config.pod.as_str().into();
    let resolver = Resolver::from_system().map_err(|error| Error::Resolver(error.to_string()))?;
    let policy = Policy { delays: tiers.clone(), max_attempts: config.max_attempts };
    let services = Services::new();
    let control = Control::new(config.concurrency);
    let prefetch = Box::new(config.prefetch_by_concurrency());
    let turns = Arc::new(Turns {
        permits: Permits::new(config.concurrency),
        waits: Waits::default(),
        control: control.clone(),
        hosts: Arc::new(Hosts::new(config.per_host)),
        limits: Arc::default(),
        store: store.clone(),
        services: services.clone(),
        // What would wait for longer is better kept by the broker, though that costs it more than waiting here.
        patience: policy.shortest().map_or(Duration::ZERO, Tier::delay) * 2,
        hold: config.hold,
        stop: stop.clone(),
    });
    let robots = (config.robots == RobotsPolicy::Obey).then(|| Robots::new(turns.clone(), &config.user_agent));
    let fetcher = Fetcher::new(&config, Arc::new(resolver), robots);
    let fetcher = fetcher.map_err(|error| Error::Client(failure_text(error)))?;
    let traces = Traces::to(config.traces_to.as_ref(), &pod, broker.topology(), config.prefetch);
    let traces = Arc::new(traces.map_err(|error| Error::Traces(error.to_string()))?);
    let meters = Arc::new(Meters::new(&tiers));
    let (session, present) = watch::channel(None);
    let side_end = CancellationToken::new();
    let _end_sides = side_end.clone().drop_guard();
    if let Some(address) = config.listen {
        let listener = health::bind(address).await.map_err(|error| Error::Listen(address, error))?;
        let address = listener.local_addr().map_err(|error| Error::Listen(address, error))?;
        info!(%address, "health is served");
        let sights = Sights {
            services: services.clone(),
            control: control.clone(),
            turns: turns.clone(),
            store: store.clone(),
            budget: fetcher.budget(),
            session: present.clone(),
        };
        tokio::spawn(health::serve(listener, meters.clone(), sights, side_end.clone()));
    }
    tokio::spawn(meters.clone().keep_up(side_end.clone()));
    if !schema_is_there(&store, &services, &stop).await? {
        return Ok(Tally::new().summary());
    }
    tokio::spawn(health::watch_database(store.clone(), services.clone(), side_end.clone()));

    let tally = Arc::new(Tally::new());
    tokio::spawn(flow::tell(tally.clone(), present.clone(), side_end.clone()));
    let grace_over = CancellationToken::new();
    if config.until_empty {
        tokio::spawn(idle::stop_when_empty(broker.clone(), present, services.clone(), stop.clone()));
    }

    // From the end of the road to its beginning: each stage is given the way to the next one.
    let (settle, settling) = settle::channel(meters.clone());
    let (hand_over, publisher) =
        hand_over::channel(pod.clone(), broker.clone(), settle.clone(), meters.clone(), config.hold);
    let commits = Commits::new(Commit {
        store: store.clone(),
        settle: settle.clone(),
        hand_over: hand_over.clone(),
        tally: tally.clone(),
        meters: meters.clone(),
        services: services.clone(),
        hold: config.hold,
        grace_over: grace_over.clone(),
    });
    let (results, collected) = mpsc::unbounded_channel();
    let known = tokio::select! {
        known = turns.limits.begin(&store) => known,
        () = stop.cancelled() => return Ok(tally.summary()),
    };
    tokio::spawn({
        let (limits, store, end) = (turns.limits.clone(), store.clone(), side_end.clone());
        async move { limits.follow(&store, known, end).await }
    });
    tokio::spawn(control.clone().listen(
        broker.clone().with_role(Role::Control),
        services.clone(),
        pod.clone(),
        side_end.clone(),
    ));
    tokio::spawn({
        let turns = turns.clone();
        async move { turns.follow().await }
    });
    let cancelled = Arc::new(Cancelled::new(control.alarm.clone()));
    tokio::select! {
        () = cancelled.begin(&store) => {}
        () = stop.cancelled() => return Ok(tally.summary()),
    }
    tokio::spawn({
        let (cancelled, store, end) = (cancelled.clone(), store.clone(), side_end.clone());
        async move { cancelled.follow(&store, end).await }
    });
    let stage = Stage {
        turns,
        cancelled,
        control: control.clone(),
        fetcher,
        extract: Extract::new(config.store_body, config.rules, pod.clone()),
        policy,
        results: results.clone(),
        hand_over: hand_over.clone(),
        settle: settle.clone(),
        tally: tally.clone(),
        meters: meters.clone(),
        grace_over: grace_over.clone(),
    };
    let admission = Arc::new(Admission::new(stage));
    let (copies, to_recognise) = mpsc::unbounded_channel();
    let (suspects, to_isolate) = mpsc::unbounded_channel();
    let isolate = Isolate { admission: admission.clone() };
    let recognise = Recognise {
        store,
        admission: admission.clone(),
        suspects: suspects.clone(),
        hand_over: hand_over.clone(),
        settle: settle.clone(),
        services: services.clone(),
        hold: config.hold,
        stop: stop.clone(),
    };
    let consume = Consume {
        broker,
        pod,
        prefetch,
        control,
        hold: config.hold,
        claims: Claims::default(),
        admission: admission.clone(),
        copies,
        suspects,
        results,
        hand_over,
        settle,
        tally: tally.clone(),
        traces: traces.clone(),
        meters,
        services,
        session,
        stop: stop.clone(),
    };

    // A quarter of the prefetch may wait for a slow one: the rest keeps the fetches busy.
    let settling = tokio::spawn(settling.run(config.prefetch / 4));
    let publisher = tokio::spawn(publisher.run());
    let limits = BatchLimits { rows: config.batch_rows, bytes: config.batch_bytes, age: config.batch_age };
    let batch = tokio::spawn(batch::run(collected, limits, commits));
    let recognise = tokio::spawn(recognise.run(to_recognise));
    let isolate = tokio::spawn(isolate.run(to_isolate));
    let fetches = tokio::spawn(async move {
        consume.run().await;
        // Nothing comes in any more: what is under way is all there is.
        admission.close();
        for before in [recognise, isolate] {
            if let Err(panic) = before.await {
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        admission.finish().await;
    });

    // Each stage ends when the one before it has. One that ends by a panic ends all: nothing would be settled any more.
    let drained = async { tokio::try_join!(fetches, batch, publisher, settling) };
    let deadline = async {
        stop.cancelled().await;
        info!(grace_s = config.grace.as_secs(), "stopping: finishing what was begun");
        tokio::time::sleep(config.grace).await;
        warn!("the grace is over");
        grace_over.cancel();
        tokio::time::sleep(LAST_WRITES).await;
    };
    let ended = tokio::select! {
        drained = drained => drained.map(drop).map_err(|panic| Error::Stage(panic.to_string())),
        () = deadline => Ok(()),
    };
    traces.finish().await;
    ended?;
    if grace_over.is_cancelled() {
        return Err(Error::GraceOver(Box::new(tally.summary())));
    }
    Ok(tally.summary())
}

/// Waits until the database answers, and refuses one that has to be migrated first. `false` when told to stop.
async fn schema_is_there(store: &Store, services: &Services, stop: &CancellationToken) -> Result<bool, Error> {
    let mut backoff = crate::backoff::Backoff::default();
    let mut said = false;
    loop {
        let checked = tokio::select! {
            checked = store.check_schema() => checked,
            () = stop.cancelled() => return Ok(false),
        };
        match checked {
            Ok(()) => {
                services.database_takes_rows();
                return Ok(true);
            }
            Err(error) if error.is_configuration() => return Err(error.into()),
            Err(error) => {
                let cause = crate::failure::chain(&error);
                services.database_fails(&cause);
                if !std::mem::replace(&mut said, true) {
                    warn!(
                        cause,
                        database = store.location(),
                        "no connection to the database; trying again until there is"
                    );
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

fn failure_text(error: reqwest::Error) -> String {
    crate::failure::describe(error)
}
