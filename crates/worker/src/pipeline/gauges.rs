//! Gauges, which are read when somebody scrapes the metrics.

use std::sync::Arc;

use fetchline_store::Store;
use metrics::Gauge;
use tokio::sync::watch;

use crate::control::dependencies::Dependencies;
use crate::control::snapshot::Snapshots;
use crate::memory_budget::Budget;
use crate::observe::metrics::{Metrics, Registry, label};
use crate::schedule::{SchedulerHandle, WaitCounts};
use crate::settle::Session;

/// What the gauges read.
pub(crate) struct Sources {
    pub(crate) dependencies: Dependencies,
    pub(crate) snapshots: Snapshots,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) store: Arc<Store>,
    pub(crate) budget: Budget,
    pub(crate) session: watch::Receiver<Option<Session>>,
}

/// A count of waiting tasks.
type Count = fn(&Sources, WaitCounts) -> usize;

/// The gauges of a worker.
pub(crate) struct Gauges {
    metrics: Arc<Metrics>,
    sources: Sources,
    in_flight: Gauge,
    held: Gauge,
    waiting: [(Gauge, Count); 4],
    broker_up: Gauge,
    database_up: Gauge,
    paused: Gauge,
    concurrency: Gauge,
    connections_used: Gauge,
    connections_max: Gauge,
    body_memory: Gauge,
    body_memory_max: Gauge,
}

impl Gauges {
    pub(crate) fn new(metrics: Arc<Metrics>, sources: Sources) -> Self {
        let registry: &Registry = metrics.registry();
        let gauge = |name, help| registry.gauge(name, help, &[]);
        let waiting = |cause: &'static str| {
            let help = "Tasks waiting to be fetched, by what they wait for.";
            registry.gauge("fetchline_waiting_tasks", help, &label("cause", cause))
        };
        Self {
            sources,
            in_flight: gauge("fetchline_fetches_in_flight", "Fetches in flight."),
            held: gauge("fetchline_messages_held", "Messages held unacked by this worker."),
            waiting: [
                (waiting("host"), |_, counts| counts.host),
                (waiting("rate"), |_, counts| counts.rate),
                (waiting("concurrency"), |_, counts| counts.concurrency),
                (waiting("memory"), |sources, _| sources.budget.waiting()),
            ],
            broker_up: gauge("fetchline_broker_up", "1 while the broker answers."),
            database_up: gauge("fetchline_database_up", "1 while the database accepts writes."),
            paused: gauge("fetchline_paused", "1 while an operator has paused the workers."),
            concurrency: gauge("fetchline_concurrency", "The limit of concurrent fetches."),
            connections_used: gauge(
                "fetchline_database_connections_used",
                "MySQL connections in use.",
            ),
            connections_max: gauge(
                "fetchline_database_connections_max",
                "The limit of MySQL connections.",
            ),
            body_memory: gauge(
                "fetchline_body_memory_bytes",
                "Memory reserved for bodies and for messages that are held.",
            ),
            body_memory_max: gauge(
                "fetchline_body_memory_max_bytes",
                "The limit of that memory: half of --memory-budget.",
            ),
            metrics,
        }
    }

    /// All metrics in the text format of Prometheus, with current gauges.
    pub(super) fn render(&self) -> String {
        self.refresh();
        self.metrics.render()
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    fn refresh(&self) {
        let (sources, wait_counts) = (&self.sources, self.sources.scheduler.wait_counts());
        let set = |gauge: &Gauge, value: usize| gauge.set(value as f64);
        let set_flag = |gauge: &Gauge, value: bool| set(gauge, usize::from(value));
        set(&self.in_flight, self.metrics.in_flight());
        set(&self.held, sources.session.borrow().as_ref().map_or(0, Session::held));
        for (gauge, count) in &self.waiting {
            set(gauge, count(sources, wait_counts));
        }
        set_flag(&self.broker_up, sources.dependencies.broker_is_up());
        set_flag(&self.database_up, sources.dependencies.database_is_up());
        let directives = sources.snapshots.read(|snapshot| snapshot.directives);
        set_flag(&self.paused, directives.paused);
        set(&self.concurrency, directives.concurrency);
        let (used, max) = sources.store.connections();
        set(&self.connections_used, used);
        set(&self.connections_max, max);
        let (used, max) = sources.budget.used();
        set(&self.body_memory, used);
        set(&self.body_memory_max, max);
    }
}
