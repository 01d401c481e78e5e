//! What the stages share.

use std::sync::Arc;

use fetchline_queue::{Broker, Role};
use fetchline_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::WorkerConfig;
use crate::control::dependencies::Dependencies;
use crate::control::news::{self, NewsHandle, Reporter};
use crate::control::poller::Poller;
use crate::control::snapshot::Snapshots;
use crate::error::Error;
use crate::fetch::RobotsPolicy;
use crate::fetch::dns::KnownNames;
use crate::fetch::fetcher::Fetcher;
use crate::fetch::resolver::Resolver;
use crate::fetch::robots::{self, Robots};
use crate::observe::metrics::Metrics;
use crate::observe::trace::Traces;
use crate::schedule::{Deferral, SchedulerHandle};

/// What the stages share.
pub(super) struct Shared {
    pub(super) config: WorkerConfig,
    /// Knows the retry queues of the configuration.
    pub(super) broker: Broker,
    pub(super) store: Arc<Store>,
    pub(super) snapshots: Snapshots,
    pub(super) dependencies: Dependencies,
    pub(super) news: NewsHandle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) traces: Arc<Traces>,
    pub(super) shutdown: Shutdown,
}

/// What ends a worker.
pub(super) struct Shutdown {
    /// Ends consuming. All stages follow.
    pub(super) stop: CancellationToken,
    /// Ends what runs beside the stages, after them.
    pub(super) end: CancellationToken,
    /// Ends everything at once.
    pub(super) grace_over: CancellationToken,
}

impl Shared {
    pub(super) fn new(
        config: WorkerConfig,
        broker: Broker,
        store: Store,
        stop: CancellationToken,
    ) -> Result<(Self, Reporter), Error> {
        let tiers = config.execute.tiers();
        let metrics = Arc::new(Metrics::new(&tiers));
        let broker = broker.with_tiers(tiers).with_role(Role::Consume);
        let endpoint = config.observe.otlp_endpoint.as_ref();
        let traces = Traces::new(endpoint, &config.pod, broker.topology(), config.prefetch());
        let snapshots = Snapshots::new(config.schedule.concurrency);
        let (end, grace_over) = (CancellationToken::new(), CancellationToken::new());
        let store = Arc::new(store.with_batch_rows(config.write.batch_rows));
        let pod = config.pod.as_str().into();
        let (news, reporter) =
            news::channel(store.clone(), broker.clone().with_role(Role::News), pod);
        let shared = Self {
            broker,
            store,
            news,
            dependencies: Dependencies::new(snapshots.clone()),
            snapshots,
            metrics,
            traces: Arc::new(traces.map_err(|error| Error::Traces(error.into()))?),
            shutdown: Shutdown { stop, end, grace_over },
            config,
        };
        Ok((shared, reporter))
    }

    pub(super) fn pod(&self) -> Arc<str> {
        self.config.pod.as_str().into()
    }

    pub(super) fn deferral(&self) -> Deferral {
        Deferral::new(&self.config.execute.tiers())
    }

    pub(super) fn fetcher(&self, scheduler: &SchedulerHandle) -> Result<Fetcher, Error> {
        let WorkerConfig { fetch, schedule, hold, .. } = &self.config;
        let names = KnownNames::new(fetch, self.metrics.dns());
        let resolver = Resolver::new(names.map_err(|error| Error::Resolver(error.into()))?);
        let robots = match fetch.robots {
            RobotsPolicy::Ignore => None,
            RobotsPolicy::Obey => {
                let token = fetch.product_token().unwrap_or_default();
                info!(token, "obeying robots.txt: rules for this product token apply");
                let shared = robots::Shared {
                    store: self.store.clone(),
                    dependencies: self.dependencies.clone(),
                    scheduler: scheduler.clone(),
                    hold: *hold,
                    stop: self.shutdown.stop.clone(),
                };
                Some(Robots::new(shared, token))
            }
        };
        Fetcher::new(fetch, schedule.concurrency, *hold, Arc::new(resolver), robots)
            .map_err(|error| Error::Client(error.into()))
    }

    pub(super) fn poller(&self) -> Poller {
        let (snapshots, dependencies) = (self.snapshots.clone(), self.dependencies.clone());
        Poller { store: self.store.clone(), snapshots, dependencies, news: self.news.clone() }
    }
}
