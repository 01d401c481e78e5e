//! What a worker tells Prometheus. Every metric is named here; none has a label whose values sites or users could make up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fetchline_queue::Tier;
use fetchline_store::{Outcome, Store};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::dependencies::Dependencies;
use crate::schedule::{Scheduler, Waiting};
use crate::settle::Session;
use crate::snapshot::Snapshots;

/// Seconds; from a page in the next rack to the longest time-out that is of use.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];
/// Rows of a batch.
const ROWS: [f64; 10] = [1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 3000.0];
/// Samples are kept until somebody asks, or for so long.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// The death of a message that is no task.
const NOT_A_TASK: &str = "not_a_task";

/// Counts what happens.
pub(crate) struct Meters {
    handle: PrometheusHandle,
    deliveries: Counter,
    redeliveries: Counter,
    tasks: HashMap<Outcome, Counter>,
    fetch_seconds: Histogram,
    body_bytes: Counter,
    batch_rows: Histogram,
    commit_seconds: Histogram,
    settle_seconds: Histogram,
    retries: HashMap<Tier, Counter>,
    parked: Counter,
    dead_letters: HashMap<&'static str, Counter>,
    given_back: Counter,
    connections: Counter,
    in_flight: Arc<AtomicUsize>,
    gauges: Gauges,
}

/// How many tasks wait for something.
type Count = fn(&Sights, Waiting) -> usize;

/// What is looked at when somebody asks.
struct Gauges {
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

/// Where the gauges look.
pub(crate) struct Sights {
    pub(crate) dependencies: Dependencies,
    pub(crate) snapshots: Snapshots,
    pub(crate) scheduler: Scheduler,
    pub(crate) store: Arc<Store>,
    pub(crate) budget: Budget,
    pub(crate) session: watch::Receiver<Option<Session>>,
}

/// A fetch that is under way, as a count.
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes metrics by their names.
struct Registry(PrometheusRecorder);

impl Registry {
    const METADATA: Metadata<'static> = Metadata::new("fetchline", Level::INFO, None);

    fn counter(&self, name: &'static str, help: &'static str, labels: &[(&'static str, String)]) -> Counter {
        self.0.describe_counter(KeyName::from_const_str(name), None, help.into());
        self.0.register_counter(&key(name, labels), &Self::METADATA)
    }

    fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, String)]) -> Gauge {
        self.0.describe_gauge(KeyName::from_const_str(name), None, help.into());
        self.0.register_gauge(&key(name, labels), &Self::METADATA)
    }

    fn histogram(&self, name: &'static str, help: &'static str) -> Histogram {
        self.0.describe_histogram(KeyName::from_const_str(name), None, help.into());
        self.0.register_histogram(&key(name, &[]), &Self::METADATA)
    }
}

fn key(name: &'static str, labels: &[(&'static str, String)]) -> Key {
    Key::from_parts(name, labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect::<Vec<_>>())
}

fn label(name: &'static str, value: impl ToString) -> [(&'static str, String); 1] {
    [(name, value.to_string())]
}

impl Meters {
    /// Every metric is there from the beginning, at 0: so that it can be told what has not happened yet.
    pub(crate) fn new(tiers: &[Tier]) -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
        let builder = builder.and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("fetchline_batch_rows".to_owned()), &ROWS)
        });
        let recorder =
            builder.map(PrometheusBuilder::build_recorder).unwrap_or_else(|_| unreachable!("there are buckets"));
        let handle = recorder.handle();
        let registry = Registry(recorder);
        let deliveries = "Messages that the broker has delivered, by whether it had delivered them before.";
        let delivery = |redelivered: bool| {
            registry.counter("fetchline_deliveries_total", deliveries, &label("redelivered", redelivered))
        };
        let task = |outcome: Outcome| {
            let help = "Tasks whose row was committed, by outcome.";
            (outcome, registry.counter("fetchline_tasks_total", help, &label("outcome", outcome)))
        };
        let retry = |tier: &Tier| {
            let help = "Failed tries that were put into a retry queue, by its delay in seconds.";
            (*tier, registry.counter("fetchline_retries_total", help, &label("delay", tier.delay().as_secs())))
        };
        let death = |reason: &'static str| {
            let help = "Messages that were sent to the dead letters, by reason.";
            (reason, registry.counter("fetchline_dead_letters_total", help, &label("reason", reason)))
        };
        registry
            .gauge(
                "fetchline_build_info",
                "Always 1; the label tells the version.",
                &label("version", env!("CARGO_PKG_VERSION")),
            )
            .set(1);
        Self {
            deliveries: delivery(false),
            redeliveries: delivery(true),
            tasks: Outcome::ALL.into_iter().map(task).collect(),
            fetch_seconds: registry
                .histogram("fetchline_fetch_duration_seconds", "How long tries took, redirects and body included."),
            body_bytes: registry.counter("fetchline_body_bytes_total", "Bytes of bodies, after decompression.", &[]),
            batch_rows: registry.histogram("fetchline_batch_rows", "Rows of the batches that were committed."),
            commit_seconds: registry.histogram(
                "fetchline_commit_duration_seconds",
                "How long batches took to be committed, outages included.",
            ),
            settle_seconds: registry
                .histogram("fetchline_settle_duration_seconds", "From a message's delivery until it could be acked."),
            retries: tiers.iter().map(retry).collect(),
            parked: registry.counter(
                "fetchline_parked_total",
                "Tasks that were deferred to a delay queue without a try, since their host had no slot.",
                &[],
            ),
            dead_letters: Outcome::ALL.map(Outcome::as_str).into_iter().chain([NOT_A_TASK]).map(death).collect(),
            given_back: registry.counter(
                "fetchline_given_back_total",
                "Messages that were given back to the queue.",
                &[],
            ),
            connections: registry.counter(
                "fetchline_broker_connections_total",
                "How often the broker was connected to, to consume.",
                &[],
            ),
            in_flight: Arc::default(),
            gauges: Gauges::new(&registry),
            handle,
        }
    }

    pub(crate) fn delivered(&self, redelivered: bool) {
        if redelivered { &self.redeliveries } else { &self.deliveries }.increment(1);
    }

    pub(crate) fn committed(&self, outcome: Outcome) {
        if let Some(counter) = self.tasks.get(&outcome) {
            counter.increment(1);
        }
    }

    /// A batch was committed.
    pub(crate) fn batch(&self, rows: usize, took: Duration) {
        self.batch_rows.record(rows as f64);
        self.commit_seconds.record(took);
    }

    /// A fetch begins.
    pub(crate) fn fetch(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.in_flight.clone())
    }

    /// A fetch has ended.
    pub(crate) fn fetched(&self, took: Duration, body_bytes: usize) {
        self.fetch_seconds.record(took);
        self.body_bytes.increment(body_bytes as u64);
    }

    pub(crate) fn settled(&self, since_delivery: Duration) {
        self.settle_seconds.record(since_delivery);
    }

    pub(crate) fn retried(&self, tier: Tier) {
        if let Some(counter) = self.retries.get(&tier) {
            counter.increment(1);
        }
    }

    pub(crate) fn parked(&self) {
        self.parked.increment(1);
    }

    pub(crate) fn dead(&self, reason: &'static str) {
        if let Some(counter) = self.dead_letters.get(reason) {
            counter.increment(1);
        }
    }

    pub(crate) fn given_back(&self) {
        self.given_back.increment(1);
    }

    pub(crate) fn connected(&self) {
        self.connections.increment(1);
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn render(&self, sights: &Sights) -> String {
        let waiting = sights.scheduler.waiting();
        self.gauges.look(sights, self.in_flight.load(Ordering::Relaxed), waiting);
        self.handle.render()
    }

    /// Adds samples up now and then, until `stop`: nobody may ever ask.
    pub(crate) async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_EVERY) => self.handle.run_upkeep(),
                () = stop.cancelled() => return,
            }
        }
    }
}

impl Gauges {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| registry.gauge(name, help, &[]);
        let waiting = |cause: &'static str| {
            let help = "Tasks that wait to be fetched, by what they wait for.";
            registry.gauge("fetchline_waiting_tasks", help, &label("cause", cause))
        };
        Self {
            in_flight: gauge("fetchline_fetches_in_flight", "Fetches that are under way."),
            held: gauge("fetchline_messages_held", "Messages that this worker holds unacked."),
            waiting: [
                (waiting("host"), |_, waiting| waiting.host),
                (waiting("rate"), |_, waiting| waiting.rate),
                (waiting("concurrency"), |_, waiting| waiting.concurrency),
                (waiting("memory"), |sights, _| sights.budget.waiting()),
            ],
            broker_up: gauge("fetchline_broker_up", "1 while the broker answers."),
            database_up: gauge("fetchline_database_up", "1 while the database takes rows."),
            paused: gauge("fetchline_paused", "1 while an operator lets this worker take nothing."),
            concurrency: gauge("fetchline_concurrency", "How many fetches there may be at once."),
            connections_used: gauge("fetchline_database_connections_used", "MySQL connections that are in use."),
            connections_max: gauge("fetchline_database_connections_max", "MySQL connections that there may be."),
            body_memory: gauge(
                "fetchline_body_memory_bytes",
                "Memory that is set aside for bodies and for messages that are held.",
            ),
            body_memory_max: gauge("fetchline_body_memory_max_bytes", "The most of it: half of --memory-budget."),
        }
    }

    fn look(&self, sights: &Sights, in_flight: usize, waiting: Waiting) {
        let set = |gauge: &Gauge, value: usize| gauge.set(value as f64);
        let flag = |gauge: &Gauge, is: bool| set(gauge, usize::from(is));
        set(&self.in_flight, in_flight);
        set(&self.held, sights.session.borrow().as_ref().map_or(0, Session::held));
        for (gauge, count) in &self.waiting {
            set(gauge, count(sights, waiting));
        }
        flag(&self.broker_up, sights.dependencies.broker_is_up());
        flag(&self.database_up, sights.dependencies.database_is_up());
        let directives = sights.snapshots.look(|snapshot| snapshot.directives);
        flag(&self.paused, directives.paused);
        set(&self.concurrency, directives.concurrency);
        let (used, max) = sights.store.connections();
        set(&self.connections_used, used);
        set(&self.connections_max, max);
        let (used, max) = sights.budget.used();
        set(&self.body_memory, used);
        set(&self.body_memory_max, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_before_anything_has_happened() {
        let tier = Tier::of(Duration::from_secs(10)).unwrap();
        let meters = Meters::new(&[tier]);
        meters.retried(tier);
        meters.dead(NOT_A_TASK);
        meters.batch(3, Duration::from_millis(7));
        let text = meters.handle.render();
        for line in [
            "fetchline_deliveries_total{redelivered=\"true\"} 0",
            "fetchline_tasks_total{outcome=\"ok\"} 0",
            "fetchline_retries_total{delay=\"10\"} 1",
            "fetchline_dead_letters_total{reason=\"not_a_task\"} 1",
            "fetchline_batch_rows_bucket{le=\"5\"} 1",
            "fetchline_commit_duration_seconds_bucket{le=\"0.01\"} 1",
            "# TYPE fetchline_fetches_in_flight gauge",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn a_fetch_is_in_flight_until_it_is_dropped() {
        let meters = Meters::new(&[]);
        let fetch = meters.fetch();
        assert_eq!(meters.in_flight.load(Ordering::Relaxed), 1);
        drop(fetch);
        assert_eq!(meters.in_flight.load(Ordering::Relaxed), 0);
    }
}
