//! The gate before broker and database: whether each answers, and the one way in which a part of the worker tries
//! something until it succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fetchline_store::{Class, Error};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::failure::chain;
use crate::snapshot::{Health, Snapshot, Snapshots};

/// The hold of what is tried without an end: a hundred years.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What is known of the two dependencies; cheap to clone.
#[derive(Clone)]
pub(crate) struct Dependencies {
    snapshots: Snapshots,
    /// Batches that the database does not take. While there are any, it counts as away until it takes one, whatever
    /// else it answers.
    failing: Arc<AtomicUsize>,
}

/// A batch that the database does not take.
#[must_use = "the database counts as away while this lives"]
pub(crate) struct Failing(Arc<AtomicUsize>);

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why something is not tried any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// It was tried for as long as a message may be held.
    Held,
    /// The worker stops.
    Stopped,
}

/// Something that is tried until it succeeds.
pub(crate) struct Attempts<'a> {
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
    database: Report,
}

#[derive(Serialize)]
struct Report {
    up: bool,
    /// Since when it is up or down; RFC 3339, UTC.
    since: String,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Dependencies {
    pub(crate) fn new(snapshots: Snapshots) -> Self {
        Self { snapshots, failing: Arc::default() }
    }

    pub(crate) fn broker_answers(&self) {
        self.change(|snapshot| &mut snapshot.broker, None);
    }

    pub(crate) fn broker_fails(&self, cause: &str) {
        self.change(|snapshot| &mut snapshot.broker, Some(cause));
    }

    /// The database has taken rows.
    pub(crate) fn database_takes_rows(&self) {
        if self.change(|snapshot| &mut snapshot.database, None) {
            info!("the database takes rows");
        }
    }

    /// The database has answered a question. That outweighs no batch that it does not take.
    pub(crate) fn database_answers(&self) {
        if self.failing.load(Ordering::Relaxed) == 0 {
            self.database_takes_rows();
        }
    }

    /// The gate closes for errors of one class alone: others at work on the same rows, a busy pool, a slow statement and
    /// a statement that is refused say nothing about what comes next.
    pub(crate) fn report(&self, error: &Error) {
        match error.class() {
            Class::Away => self.database_fails(&chain(error)),
            class => debug!(?class, cause = chain(error), "a statement failed; it is tried again"),
        }
    }

    pub(crate) fn database_fails(&self, cause: &str) {
        if self.change(|snapshot| &mut snapshot.database, Some(cause)) {
            warn!(cause, "the database takes no rows: results are held, and nothing new is taken until it does");
        }
    }

    /// A batch was not taken, and that is not its own fault.
    pub(crate) fn batch_fails(&self, error: &Error) -> Failing {
        self.failing.fetch_add(1, Ordering::Relaxed);
        self.database_fails(&chain(error));
        Failing(self.failing.clone())
    }

    /// Begins to try something that is given up after `hold`, or when the worker stops.
    pub(crate) fn attempts<'a>(&'a self, hold: Duration, stop: &'a CancellationToken) -> Attempts<'a> {
        Attempts { dependencies: self, backoff: Backoff::default(), began: Instant::now(), hold, stop }
    }

    /// Whether that is news.
    fn change(&self, which: fn(&mut Snapshot) -> &mut Health, error: Option<&str>) -> bool {
        let mut turned = false;
        self.snapshots.update(|snapshot| {
            let health = which(snapshot);
            turned = health.up != error.is_none();
            if turned {
                *health = Health {
                    up: error.is_none(),
                    since: OffsetDateTime::now_utc(),
                    moment: Instant::now(),
                    error: None,
                };
            }
            let other = health.error.as_deref() != error;
            if other {
                health.error = error.map(str::to_owned);
            }
            turned || other
        });
        turned
    }

    pub(crate) fn broker_is_up(&self) -> bool {
        self.snapshots.look(|snapshot| snapshot.broker.up)
    }

    pub(crate) fn database_is_up(&self) -> bool {
        self.snapshots.look(|snapshot| snapshot.database.up)
    }

    /// Waits until the database answers.
    pub(crate) async fn database_up(&self) {
        self.snapshots.wait_for(|snapshot| snapshot.database.up).await;
    }

    /// Waits until the database has been away for as long as this without a break.
    pub(crate) async fn database_down_for(&self, hold: Duration) {
        loop {
            let down = self.snapshots.wait_for(|snapshot| !snapshot.database.up).await.database.moment;
            tokio::select! {
                () = tokio::time::sleep_until(down + hold) => return,
                () = self.database_up() => {}
            }
        }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let report = |health: &Health| Report {
            up: health.up,
            since: health.since.format(&Rfc3339).unwrap_or_default(),
            error: health.error.clone(),
        };
        self.snapshots.look(|snapshot| Readiness {
            ready: snapshot.broker.up && snapshot.database.up,
            broker: report(&snapshot.broker),
            database: report(&snapshot.database),
        })
    }
}

impl Attempts<'_> {
    /// An attempt has failed with this: reports it, and waits until it is time for the next one. Fails where there is
    /// none.
    pub(crate) async fn failed(&mut self, error: &Error) -> Result<(), GaveUp> {
        self.dependencies.report(error);
        self.pause().await
    }

    /// Waits until it is time for the next attempt. Fails where there is none.
    pub(crate) async fn pause(&mut self) -> Result<(), GaveUp> {
        let pause = self.backoff.next_pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.over() => Err(if self.stop.is_cancelled() { GaveUp::Stopped } else { GaveUp::Held }),
        }
    }

    /// Waits until there are no attempts any more.
    pub(crate) async fn over(&self) {
        tokio::select! {
            () = tokio::time::sleep_until(self.began + self.hold) => {}
            // Others have been held for that long before this one began.
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
        assert!(!dependencies.readiness().ready);
        dependencies.broker_answers();
        dependencies.database_takes_rows();
        assert!(dependencies.readiness().ready);
        dependencies.database_fails("connection refused");
        let body = serde_json::to_value(dependencies.readiness()).unwrap();
        assert_eq!((&body["ready"], &body["broker"]["up"]), (&false.into(), &true.into()));
        assert_eq!(
            (&body["database"]["up"], &body["database"]["error"]),
            (&false.into(), &"connection refused".into())
        );
        let since = body["database"]["since"].clone();
        dependencies.database_fails("still refused");
        let body = serde_json::to_value(dependencies.readiness()).unwrap();
        assert_eq!((&body["database"]["since"], &body["database"]["error"]), (&since, &"still refused".into()));
    }

    #[test]
    fn an_answer_does_not_outweigh_a_batch_that_is_not_taken() {
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
    async fn the_hold_begins_anew_when_the_database_was_back_for_a_moment() {
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
    async fn what_is_tried_is_given_up_after_the_hold_and_at_a_stop() {
        let (dependencies, stop) = (dependencies(), CancellationToken::new());
        dependencies.database_takes_rows();
        let began = Instant::now();
        let mut attempts = dependencies.attempts(Duration::from_secs(60), &stop);
        let gave_up = loop {
            if let Err(gave_up) = attempts.failed(&Error::Deadline(20.0, "a question")).await {
                break gave_up;
            }
        };
        assert_eq!((gave_up, began.elapsed().as_secs()), (GaveUp::Held, 60));
        stop.cancel();
        let mut attempts = dependencies.attempts(Duration::from_secs(60), &stop);
        assert_eq!(attempts.pause().await, Err(GaveUp::Stopped));
    }
}
