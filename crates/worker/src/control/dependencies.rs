//! The health of broker and database, and how operations on them are repeated until they succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fetchline_nodes::Backoff;
use fetchline_store::{Class, Error};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::snapshot::{Health, Snapshot, Snapshots};
use crate::error_chain::chain;

/// The hold of operations that are repeated without end: a hundred years.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The health of the two dependencies; cheap to clone.
#[derive(Clone)]
pub(crate) struct Dependencies {
    snapshots: Snapshots,
    /// The number of batches that the database does not take. While there is one, the database
    /// counts as away until it takes a batch, whatever else it answers.
    failing_batches: Arc<AtomicUsize>,
}

/// Counts one batch that the database does not take.
#[must_use = "the database counts as away while this lives"]
pub(crate) struct Failing(Arc<AtomicUsize>);

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why an operation is not repeated any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// The hold is over.
    HoldOver,
    /// The worker stops.
    Stopped,
}

/// Repeats an operation until it succeeds.
pub(crate) struct Repeater<'a> {
    dependencies: &'a Dependencies,
    backoff: Backoff,
    began: Instant,
    hold: Duration,
    stop: &'a CancellationToken,
}

/// The body of `/readyz`.
#[derive(Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    broker: Report,
    topology: Report,
    database: Report,
}

#[derive(Serialize)]
struct Report {
    up: bool,
    /// When it came up or went down: RFC 3339, UTC.
    since: String,
    /// The node that is used, or was used last.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The nodes that a worker uses.
#[derive(Default)]
pub(crate) struct NodesInUse {
    pub(crate) broker: Option<String>,
    pub(crate) database: Option<String>,
}

impl Dependencies {
    pub(crate) fn new(snapshots: Snapshots) -> Self {
        Self { snapshots, failing_batches: Arc::default() }
    }

    /// Records that the broker answers.
    pub(crate) fn broker_answers(&self) {
        self.change(|snapshot| &mut snapshot.broker, None);
    }

    /// Records that the broker does not answer.
    pub(crate) fn broker_fails(&self, cause: &str) {
        self.change(|snapshot| &mut snapshot.broker, Some(cause));
    }

    /// Records that the exchange and all queues exist, or that one is missing. Returns whether that
    /// is new.
    pub(crate) fn set_topology(&self, missing: Option<&str>) -> bool {
        self.change(|snapshot| &mut snapshot.topology, missing)
    }

    /// Records that the database has taken rows.
    pub(crate) fn database_takes_rows(&self) {
        if self.change(|snapshot| &mut snapshot.database, None) {
            info!("the database takes rows");
        }
    }

    /// Records that the database has answered a query. While there is a batch that it does not
    /// take, an answer does not count.
    pub(crate) fn database_answers(&self) {
        if self.failing_batches.load(Ordering::Relaxed) == 0 {
            self.database_takes_rows();
        }
    }

    /// Records a failed statement. Only errors of the class `away` close the gate: contention, a
    /// busy pool, or a slow or rejected statement says nothing about the next one.
    pub(crate) fn report(&self, error: &Error) {
        match error.class() {
            Class::Away => self.database_fails(&chain(error)),
            class => debug!(?class, cause = chain(error), "a statement failed; retrying"),
        }
    }

    /// Records that the database is away.
    pub(crate) fn database_fails(&self, cause: &str) {
        if self.change(|snapshot| &mut snapshot.database, Some(cause)) {
            warn!(
                cause,
                "the database takes no rows; holding results and starting no task until it does"
            );
        }
    }

    /// Records that the database is away and does not take a batch. The guard lives until the batch
    /// is taken or dropped.
    pub(crate) fn batch_fails(&self, error: &Error) -> Failing {
        self.failing_batches.fetch_add(1, Ordering::Relaxed);
        self.database_fails(&chain(error));
        Failing(self.failing_batches.clone())
    }

    /// Starts to repeat an operation, which is given up after `hold` or at a stop.
    pub(crate) fn repeater<'a>(
        &'a self,
        hold: Duration,
        stop: &'a CancellationToken,
    ) -> Repeater<'a> {
        Repeater {
            dependencies: self,
            backoff: Backoff::default(),
            began: Instant::now(),
            hold,
            stop,
        }
    }

    /// Updates the health of a dependency, and returns whether it came up or went down.
    fn change(&self, which: fn(&mut Snapshot) -> &mut Health, error: Option<&str>) -> bool {
        let mut has_flipped = false;
        self.snapshots.update(|snapshot| {
            let health = which(snapshot);
            has_flipped = health.up != error.is_none();
            if has_flipped {
                *health = Health {
                    up: error.is_none(),
                    since: OffsetDateTime::now_utc(),
                    moment: Instant::now(),
                    error: None,
                };
            }
            let is_other_error = health.error.as_deref() != error;
            if is_other_error {
                health.error = error.map(str::to_owned);
            }
            has_flipped || is_other_error
        });
        has_flipped
    }

    pub(crate) fn broker_is_up(&self) -> bool {
        self.snapshots.read(|snapshot| snapshot.broker.up)
    }

    pub(crate) fn database_is_up(&self) -> bool {
        self.snapshots.read(|snapshot| snapshot.database.up)
    }

    /// Waits until the database takes rows.
    pub(crate) async fn database_up(&self) {
        self.snapshots.wait_for(|snapshot| snapshot.database.up).await;
    }

    /// Waits until the database has been away for the whole hold without a break.
    pub(crate) async fn database_down_for(&self, hold: Duration) {
        loop {
            let down =
                self.snapshots.wait_for(|snapshot| !snapshot.database.up).await.database.moment;
            tokio::select! {
                () = tokio::time::sleep_until(down + hold) => return,
                () = self.database_up() => {}
            }
        }
    }

    pub(crate) fn readiness(&self, nodes: NodesInUse) -> Readiness {
        let report = |health: &Health, node| Report {
            up: health.up,
            since: health.since.format(&Rfc3339).unwrap_or_default(),
            node,
            error: health.error.clone(),
        };
        self.snapshots.read(|snapshot| Readiness {
            ready: snapshot.broker.up && snapshot.topology.up && snapshot.database.up,
            broker: report(&snapshot.broker, nodes.broker),
            topology: report(&snapshot.topology, None),
            database: report(&snapshot.database, nodes.database),
        })
    }
}

impl Repeater<'_> {
    /// Reports a failure, and waits until the operation is due again. Fails if it is given up.
    pub(crate) async fn failed(&mut self, error: &Error) -> Result<(), GaveUp> {
        self.dependencies.report(error);
        self.pause().await
    }

    /// Waits until the operation is due again. Fails if it is given up.
    pub(crate) async fn pause(&mut self) -> Result<(), GaveUp> {
        let pause = self.backoff.next_pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.over() => Err(match self.stop.is_cancelled() {
                true => GaveUp::Stopped,
                false => GaveUp::HoldOver,
            }),
        }
    }

    /// Waits until the operation is given up.
    pub(crate) async fn over(&self) {
        tokio::select! {
            () = tokio::time::sleep_until(self.began + self.hold) => {}
            // The outage may have begun before this operation did.
            () = self.dependencies.database_down_for(self.hold) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependencies() -> Dependencies {
        Dependencies::new(Snapshots::new(1))
    }

    fn away() -> Error {
        Error::EveryRowRefused("read-only".to_owned())
    }

    #[test]
    fn a_worker_is_ready_only_while_both_dependencies_answer() {
        let dependencies = dependencies();
        assert!(!dependencies.readiness(NodesInUse::default()).ready);
        dependencies.broker_answers();
        dependencies.database_takes_rows();
        assert!(dependencies.readiness(NodesInUse::default()).ready);
        assert!(dependencies.set_topology(Some("the exchange fetchline does not exist")));
        assert!(!dependencies.readiness(NodesInUse::default()).ready);
        assert!(
            dependencies.set_topology(None) && dependencies.readiness(NodesInUse::default()).ready
        );
        dependencies.database_fails("connection refused");
        let body = serde_json::to_value(dependencies.readiness(NodesInUse::default())).unwrap();
        assert_eq!((&body["ready"], &body["broker"]["up"]), (&false.into(), &true.into()));
        assert_eq!(
            (&body["database"]["up"], &body["database"]["error"]),
            (&false.into(), &"connection refused".into())
        );
        let since = body["database"]["since"].clone();
        dependencies.database_fails("still refused");
        let body = serde_json::to_value(dependencies.readiness(NodesInUse::default())).unwrap();
        assert_eq!(
            (&body["database"]["since"], &body["database"]["error"]),
            (&since, &"still refused".into())
        );
    }

    #[test]
    fn an_answer_does_not_open_the_gate_while_a_batch_is_not_taken() {
        let dependencies = dependencies();
        dependencies.database_takes_rows();
        let failing = dependencies.batch_fails(&away());
        dependencies.database_answers();
        assert!(!dependencies.database_is_up());
        drop(failing);
        dependencies.database_answers();
        assert!(dependencies.database_is_up());
    }

    #[test]
    fn only_a_database_that_is_away_closes_the_gate() {
        let dependencies = dependencies();
        dependencies.database_takes_rows();
        dependencies.report(&Error::Deadline(20.0, "writing a batch"));
        dependencies.report(&Error::PoolTimeout { timeout_s: 5.0, size: 4 });
        assert!(dependencies.database_is_up());
        dependencies.report(&away());
        assert!(!dependencies.database_is_up());
    }

    #[tokio::test(start_paused = true)]
    async fn the_hold_restarts_when_the_database_was_back_for_a_moment() {
        let dependencies = dependencies();
        dependencies.database_takes_rows();
        let hold = Duration::from_secs(600);
        let held = tokio::spawn({
            let dependencies = dependencies.clone();
            async move {
                dependencies.database_down_for(hold).await;
                Instant::now()
            }
        });
        dependencies.database_fails("gone");
        tokio::time::sleep(hold / 2).await;
        dependencies.database_takes_rows();
        tokio::time::sleep(Duration::from_secs(1)).await;
        dependencies.database_fails("gone again");
        let again = Instant::now();
        assert_eq!((held.await.unwrap() - again).as_secs(), hold.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_is_given_up_after_the_hold_and_at_a_stop() {
        let (dependencies, stop) = (dependencies(), CancellationToken::new());
        dependencies.database_takes_rows();
        let began = Instant::now();
        let mut repeater = dependencies.repeater(Duration::from_secs(60), &stop);
        let gave_up = loop {
            if let Err(gave_up) = repeater.failed(&Error::Deadline(20.0, "a query")).await {
                break gave_up;
            }
        };
        assert_eq!((gave_up, began.elapsed().as_secs()), (GaveUp::HoldOver, 60));
        stop.cancel();
        let mut repeater = dependencies.repeater(Duration::from_secs(60), &stop);
        assert_eq!(repeater.pause().await, Err(GaveUp::Stopped));
    }
}
