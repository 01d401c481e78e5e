//! Joins the stages, and takes them down again in the order of the flow.

use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::Broker;
use fetchline_store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admit::Admission;
use crate::batch::Limits;
use crate::commit::{Commit, Commits};
use crate::config::WorkConfig;
use crate::consume::Consume;
use crate::fetch::Fetcher;
use crate::health::Health;
use crate::resolver::Resolver;
use crate::summary::{Summary, Tally};
use crate::{batch, hand_over, health, idle, settle};

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
    /// The port is taken.
    #[error("cannot listen on {0} (--listen)")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    /// The database is not what this program needs.
    #[error(transparent)]
    Store(#[from] fetchline_store::Error),
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
    let Deps { broker, store } = deps;
    let Stop(stop) = stop;
    let pod: Arc<str> = config.pod.as_str().into();
    let resolver = Resolver::from_system().map_err(|error| Error::Resolver(error.to_string()))?;
    let fetcher = Fetcher::new(&config, resolver).map_err(|error| Error::Client(failure_text(error)))?;
    let health = Health::new();
    let side_end = CancellationToken::new();
    let _end_sides = side_end.clone().drop_guard();
    if let Some(address) = config.listen {
        let listener = health::bind(address).await.map_err(|error| Error::Listen(address, error))?;
        let address = listener.local_addr().map_err(|error| Error::Listen(address, error))?;
        info!(%address, "health is served");
        tokio::spawn(health::serve(listener, health.clone(), side_end.clone()));
    }
    if !schema_is_there(&store, &stop).await? {
        return Ok(Tally::new().summary());
    }
    tokio::spawn(health::watch_database(store.clone(), health.clone(), side_end.clone()));

    let tally = Arc::new(Tally::new());
    let grace_over = CancellationToken::new();
    let (session, present) = watch::channel(None);
    let (results, collected) = mpsc::unbounded_channel();
    let (letters, outbox) = mpsc::unbounded_channel();
    let (settle, settling) = settle::channel();
    let settle = Arc::new(settle);
    if config.until_empty {
        let settle = Arc::downgrade(&settle);
        tokio::spawn(idle::stop_when_empty(broker.clone(), present, settle, stop.clone()));
    }

    let commits = Commits::new(Commit {
        store,
        settle: (*settle).clone(),
        tally: tally.clone(),
        health: health.clone(),
        grace_over: grace_over.clone(),
    });
    let limits = Limits { rows: config.batch_rows, bytes: config.batch_bytes, age: config.batch_age };
    let admission =
        Admission::new(config.concurrency, fetcher, config.store_body, pod.clone(), results, grace_over.clone());
    let consume = Consume {
        broker: broker.clone(),
        pod,
        prefetch: u16::try_from(config.prefetch).unwrap_or(u16::MAX),
        admission,
        hand_over: letters,
        settle: (*settle).clone(),
        tally: tally.clone(),
        health,
        session,
        stop: stop.clone(),
    };
    // A quarter of the prefetch may wait for a slow one: the rest keeps the fetches busy.
    let settling = tokio::spawn(settling.run(config.prefetch / 4));
    let hand_over = tokio::spawn(hand_over::run(outbox, broker, (*settle).clone()));
    let batch = tokio::spawn(batch::run(collected, limits, commits));
    let consume = tokio::spawn(consume.run());
    drop(settle);

    // Each stage ends when the one before it has, so waiting for the last one waits for all.
    let drained = async {
        for stage in [consume, batch, hand_over, settling] {
            if let Err(error) = stage.await {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    };
    let deadline = async {
        stop.cancelled().await;
        info!(grace_s = config.grace.as_secs(), "stopping: finishing what was begun");
        tokio::time::sleep(config.grace).await;
        warn!("the grace is over");
        grace_over.cancel();
        tokio::time::sleep(LAST_WRITES).await;
    };
    tokio::select! {
        () = drained => {}
        () = deadline => return Err(Error::GraceOver(Box::new(tally.summary()))),
    }
    if grace_over.is_cancelled() {
        return Err(Error::GraceOver(Box::new(tally.summary())));
    }
    Ok(tally.summary())
}

/// Waits until the database answers, and refuses one that has to be migrated first. `false` when told to stop.
async fn schema_is_there(store: &Store, stop: &CancellationToken) -> Result<bool, Error> {
    let mut backoff = crate::backoff::Backoff::default();
    let mut said = false;
    loop {
        match store.check_schema().await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_configuration() => return Err(error.into()),
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    let cause = crate::failure::chain(&error);
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
