//! The counters and histograms of a worker. The progress log and the summary read the same
//! counters.
//!
//! No label takes a value that a site or a user could make up, so the number of series is bounded.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetchline_queue::{Death, Tier};
use fetchline_store::Outcome;
use hdrhistogram::Histogram as Quantiles;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::summary::Summary;
use crate::fetch::dns;

/// Upper bounds of buckets in seconds, from a page in the same data centre to the longest useful
/// timeout.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];
/// Upper bounds of buckets for the number of rows in a batch.
const ROWS: [f64; 10] = [1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 3000.0];
/// How often the exporter's upkeep runs. The exporter keeps every sample until somebody scrapes it
/// or until its upkeep.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The counters of a worker.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    registry: Registry,
    deliveries: Counter,
    redeliveries: Counter,
    tasks: HashMap<Outcome, Total>,
    retries: HashMap<Tier, Total>,
    deferrals: Total,
    dead_letters: HashMap<&'static str, Total>,
    requeued: Counter,
    connections: Counter,
    body_bytes: Counter,
    saved_bytes: Counter,
    fetch_seconds: Histogram,
    batch_rows: Histogram,
    commit_seconds: Histogram,
    settle_seconds: Histogram,
    in_flight: Arc<AtomicUsize>,
    timing: Mutex<Timing>,
}

/// A counter that the worker reads too.
struct Total {
    value: AtomicU64,
    exported: Counter,
}

/// The times of the summary.
struct Timing {
    /// Durations of committed fetches, in microseconds.
    fetches: Quantiles<u64>,
    /// From the first delivery to the last commit.
    span: Option<(Instant, Instant)>,
}

/// Totals since the worker started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) ok: u64,
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) deferred: u64,
}

/// Counts a fetch as in flight while it lives.
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Registers metrics by name.
pub(crate) struct Registry(PrometheusRecorder);

impl Registry {
    const METADATA: Metadata<'static> = Metadata::new("fetchline", Level::INFO, None);

    fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, String)],
    ) -> Counter {
        self.0.describe_counter(KeyName::from_const_str(name), None, help.into());
        self.0.register_counter(&key(name, labels), &Self::METADATA)
    }

    fn total(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, String)],
    ) -> Total {
        Total { value: AtomicU64::new(0), exported: self.counter(name, help, labels) }
    }

    pub(crate) fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, String)],
    ) -> Gauge {
        self.0.describe_gauge(KeyName::from_const_str(name), None, help.into());
        self.0.register_gauge(&key(name, labels), &Self::METADATA)
    }

    fn histogram(&self, name: &'static str, help: &'static str) -> Histogram {
        self.0.describe_histogram(KeyName::from_const_str(name), None, help.into());
        self.0.register_histogram(&key(name, &[]), &Self::METADATA)
    }
}

fn key(name: &'static str, labels: &[(&'static str, String)]) -> Key {
    Key::from_parts(
        name,
        labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect::<Vec<_>>(),
    )
}

pub(crate) fn label(name: &'static str, value: impl ToString) -> [(&'static str, String); 1] {
    [(name, value.to_string())]
}

impl Total {
    fn add_one(&self) {
        self.value.fetch_add(1, Relaxed);
        self.exported.increment(1);
    }

    fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }
}

fn add_one<K: Eq + Hash>(totals: &HashMap<K, Total>, key: &K) {
    if let Some(total) = totals.get(key) {
        total.add_one();
    }
}

fn sum<K>(totals: &HashMap<K, Total>) -> u64 {
    totals.values().map(Total::get).sum()
}

impl Metrics {
    /// Every metric exists from the start, at 0, so that a query can distinguish "none" from
    /// "unknown".
    pub(crate) fn new(tiers: &[Tier]) -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
        let builder = builder.and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("fetchline_batch_rows".to_owned()), &ROWS)
        });
        let recorder = builder
            .map(PrometheusBuilder::build_recorder)
            .unwrap_or_else(|_| unreachable!("the buckets are constant and valid"));
        let handle = recorder.handle();
        let registry = Registry(recorder);
        let version = label("version", env!("CARGO_PKG_VERSION"));
        let build_info = "Always 1; the label is the version.";
        registry.gauge("fetchline_build_info", build_info, &version).set(1);
        let counter = |name, help| registry.counter(name, help, &[]);
        let delivery = |redelivered: bool| {
            let help = "Messages delivered by the broker, by whether they were redelivered.";
            registry.counter("fetchline_deliveries_total", help, &label("redelivered", redelivered))
        };
        let task = |outcome: Outcome| {
            let help = "Tasks whose row was committed, by outcome.";
            registry.total("fetchline_tasks_total", help, &label("outcome", outcome))
        };
        let retry = |tier: Tier| {
            let help = "Failed attempts that wait in a retry queue, by its delay in seconds.";
            let delay = label("delay", tier.delay().as_secs());
            registry.total("fetchline_retries_total", help, &delay)
        };
        let dead_letter = |reason: &'static str| {
            let help = "Messages published to the dead letter queue, by reason.";
            registry.total("fetchline_dead_letters_total", help, &label("reason", reason))
        };
        let reasons = Outcome::ALL.map(Outcome::as_str).into_iter().chain([Death::NOT_A_TASK]);
        let deferrals = "Tasks deferred to a delay queue. A deferral costs no attempt.";
        let connections = "Connections to the broker that were opened to consume.";
        let body_bytes = "Bytes of bodies after decompression.";
        let saved_bytes = "Bytes of bodies that sites did not send again, after decompression.";
        let batch_rows = "Rows and part reports per committed batch.";
        let fetch_seconds = "Duration of attempts, including redirects and body.";
        let commit_seconds = "Time from sending a batch to its commit, outages included.";
        let settle_seconds = "Time from the delivery of a message until it could be acked.";
        Self {
            deliveries: delivery(false),
            redeliveries: delivery(true),
            tasks: Outcome::ALL.into_iter().map(|outcome| (outcome, task(outcome))).collect(),
            retries: tiers.iter().map(|tier| (*tier, retry(*tier))).collect(),
            deferrals: registry.total("fetchline_parked_total", deferrals, &[]),
            dead_letters: reasons.map(|reason| (reason, dead_letter(reason))).collect(),
            requeued: counter("fetchline_given_back_total", "Messages requeued by this worker."),
            connections: counter("fetchline_broker_connections_total", connections),
            body_bytes: counter("fetchline_body_bytes_total", body_bytes),
            saved_bytes: counter("fetchline_saved_body_bytes_total", saved_bytes),
            fetch_seconds: registry.histogram("fetchline_fetch_duration_seconds", fetch_seconds),
            batch_rows: registry.histogram("fetchline_batch_rows", batch_rows),
            commit_seconds: registry.histogram("fetchline_commit_duration_seconds", commit_seconds),
            settle_seconds: registry.histogram("fetchline_settle_duration_seconds", settle_seconds),
            in_flight: Arc::default(),
            timing: Mutex::new(Timing::new()),
            handle,
            registry,
        }
    }

    /// The counters of lookups.
    pub(crate) fn dns(&self) -> dns::Counters {
        let lookup = |result: &'static str| {
            let help = "Look-ups of host names that the cache did not answer, by their result.";
            self.registry.counter("fetchline_dns_lookups_total", help, &label("result", result))
        };
        let counter = |name, help| self.registry.counter(name, help, &[]);
        let cached = "Look-ups of host names that the cache answered.";
        let queries = "Queries sent to name servers, repeated ones included.";
        let repeated = "Queries that were sent because no answer to an earlier one had come.";
        let timeouts = "Questions that no name server answered within --dns-timeout.";
        dns::Counters {
            found: lookup("found"),
            absent: lookup("absent"),
            unanswered: lookup("unanswered"),
            stale: lookup("stale"),
            cached: counter("fetchline_dns_cache_hits_total", cached),
            queries: counter("fetchline_dns_queries_total", queries),
            repeated: counter("fetchline_dns_repeated_queries_total", repeated),
            timeouts: counter("fetchline_dns_timeouts_total", timeouts),
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn timing(&self) -> MutexGuard<'_, Timing> {
        self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message was delivered. The first one starts the summary's clock.
    pub(crate) fn delivered(&self, redelivered: bool) {
        if redelivered { &self.redeliveries } else { &self.deliveries }.increment(1);
        let now = Instant::now();
        self.timing().span.get_or_insert((now, now));
    }

    /// Rows were committed, each with its outcome and the duration of its fetch.
    pub(crate) fn committed(&self, rows: impl Iterator<Item = (Outcome, Duration)>) {
        let mut timing = self.timing();
        for (outcome, elapsed) in rows {
            add_one(&self.tasks, &outcome);
            timing.fetches.saturating_record(elapsed.as_micros() as u64);
        }
        let now = Instant::now();
        timing.span.get_or_insert((now, now)).1 = now;
    }

    /// A batch was committed.
    pub(crate) fn batch(&self, rows: usize, took: Duration) {
        self.batch_rows.record(rows as f64);
        self.commit_seconds.record(took);
    }

    /// A fetch starts; it ends when the guard is dropped.
    pub(crate) fn fetch(&self) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// A fetch has ended.
    pub(crate) fn fetched(&self, took: Duration, body_bytes: usize) {
        self.fetch_seconds.record(took);
        self.body_bytes.increment(body_bytes as u64);
    }

    /// A site has said that a page, whose body has this size, is unchanged.
    pub(crate) fn saved(&self, body_bytes: u64) {
        self.saved_bytes.increment(body_bytes);
    }

    pub(crate) fn settled(&self, since_delivery: Duration) {
        self.settle_seconds.record(since_delivery);
    }

    /// The broker confirmed the message of a retry.
    pub(crate) fn retried(&self, tier: Tier) {
        add_one(&self.retries, &tier);
    }

    /// The broker confirmed the message of a deferred task.
    pub(crate) fn deferred(&self) {
        self.deferrals.add_one();
    }

    /// The broker confirmed a dead letter.
    pub(crate) fn dead(&self, reason: &'static str) {
        add_one(&self.dead_letters, &reason);
    }

    pub(crate) fn requeued(&self) {
        self.requeued.increment(1);
    }

    pub(crate) fn connected(&self) {
        self.connections.increment(1);
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Runs the exporter's upkeep until `stop`, so that memory stays bounded while nobody scrapes.
    pub(crate) async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_EVERY) => self.handle.run_upkeep(),
                () = stop.cancelled() => return,
            }
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let of = |outcome| self.tasks.get(&outcome).map_or(0, Total::get);
        let failed = Outcome::ALL.into_iter().filter(|outcome| !outcome.is_success());
        Totals {
            ok: of(Outcome::Ok),
            unchanged: of(Outcome::Unchanged),
            failed: failed.map(of).sum(),
            retried: sum(&self.retries),
            deferred: self.deferrals.get(),
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let (timing, totals) = (self.timing(), self.totals());
        let Totals { ok, unchanged, failed, retried, deferred } = totals;
        let outcomes: BTreeMap<_, _> =
            self.tasks.iter().map(|(outcome, rows)| (*outcome, rows.get())).collect();
        let seconds = timing.span.map_or(0.0, |(start, end)| (end - start).as_secs_f64());
        let quantile = |q| timing.fetches.value_at_quantile(q) as f64 / 1000.0;
        let rows = ok + unchanged + failed;
        Summary {
            ok,
            unchanged,
            failed,
            outcomes: outcomes
                .into_iter()
                .filter(|(_, rows)| *rows > 0)
                .map(|(outcome, rows)| (outcome.as_str(), rows))
                .collect(),
            rows,
            retried,
            parked: deferred,
            dead: self.dead_letters.get(Death::NOT_A_TASK).map_or(0, Total::get),
            seconds,
            urls_per_second: if seconds > 0.0 { rows as f64 / seconds } else { 0.0 },
            fetch_p50_ms: quantile(0.5),
            fetch_p95_ms: quantile(0.95),
            peak_memory_bytes: super::summary::peak_memory(),
        }
    }
}

impl Timing {
    fn new() -> Self {
        // From a microsecond to an hour with two significant digits: a few kilobytes.
        let fetches = Quantiles::new_with_bounds(1, 3_600_000_000, 2)
            .unwrap_or_else(|_| unreachable!("the bounds are constant and valid"));
        Self { fetches, span: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_exists_before_anything_has_happened() {
        let tier = Tier::of(Duration::from_secs(10)).unwrap();
        let metrics = Metrics::new(&[tier]);
        metrics.retried(tier);
        metrics.dead(Death::NOT_A_TASK);
        metrics.batch(3, Duration::from_millis(7));
        let text = metrics.handle.render();
        for line in [
            "fetchline_deliveries_total{redelivered=\"true\"} 0",
            "fetchline_tasks_total{outcome=\"ok\"} 0",
            "fetchline_retries_total{delay=\"10\"} 1",
            "fetchline_dead_letters_total{reason=\"not_a_task\"} 1",
            "fetchline_batch_rows_bucket{le=\"5\"} 1",
            "fetchline_commit_duration_seconds_bucket{le=\"0.01\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn a_fetch_is_in_flight_until_it_is_dropped() {
        let metrics = Metrics::new(&[]);
        let fetch = metrics.fetch();
        assert_eq!(metrics.in_flight(), 1);
        drop(fetch);
        assert_eq!(metrics.in_flight(), 0);
    }

    #[test]
    fn only_committed_rows_count() {
        let metrics = Metrics::new(&[]);
        metrics.delivered(false);
        assert_eq!(metrics.summary().rows, 0);
        let rows =
            [(Outcome::Ok, 2), (Outcome::Ok, 2), (Outcome::Timeout, 30), (Outcome::HttpError, 2)];
        metrics
            .committed(rows.into_iter().map(|(outcome, ms)| (outcome, Duration::from_millis(ms))));
        let summary = metrics.summary();
        assert_eq!((summary.ok, summary.failed, summary.rows), (2, 2, 4));
        assert!((1.9..2.1).contains(&summary.fetch_p50_ms), "{summary:?}");
        assert!((29.0..31.0).contains(&summary.fetch_p95_ms), "{summary:?}");
        assert!(
            summary.to_string().contains("failed      2  (http_error 1, timeout 1)"),
            "{summary}"
        );
    }
}
