//! Whether broker and database answer, as every stage sees it.

use std::sync::Arc;
use std::time::Duration;

use fetchline_store::{Error, Store};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::failure::chain;

/// What is known of the two services; cheap to clone.
#[derive(Clone)]
pub(crate) struct Services(Arc<watch::Sender<Both>>);

#[derive(Clone)]
struct Both {
    broker: Service,
    database: Service,
    /// Batches that the database does not take. While there are any, it counts as away until it takes one, whatever else
    /// it answers.
    failing: usize,
}

/// A batch that the database does not take.
#[must_use = "the database counts as away while this lives"]
pub(crate) struct Failing(Services);

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.0.send_modify(|both| both.failing -= 1);
    }
}

#[derive(Clone)]
struct Service {
    up: bool,
    since: OffsetDateTime,
    moment: Instant,
    error: Option<String>,
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

impl Services {
    pub(crate) fn new() -> Self {
        let error = Some("not reached yet".to_owned());
        let starting = Service { up: false, since: OffsetDateTime::now_utc(), moment: Instant::now(), error };
        Self(Arc::new(watch::Sender::new(Both { broker: starting.clone(), database: starting, failing: 0 })))
    }

    pub(crate) fn broker_answers(&self) {
        self.change(|both| &mut both.broker, None);
    }

    pub(crate) fn broker_fails(&self, cause: &str) {
        self.change(|both| &mut both.broker, Some(cause));
    }

    /// The database has taken rows.
    pub(crate) fn database_takes_rows(&self) {
        if self.change(|both| &mut both.database, None) {
            info!("the database takes rows");
        }
    }

    /// The database has answered a ping or a question. That outweighs no batch that it does not take.
    pub(crate) fn database_answers(&self) {
        if self.0.borrow().failing == 0 {
            self.database_takes_rows();
        }
    }

    /// Where others are at work on the same rows, or have all the connections, an error is no outage: they will see how it is.
    pub(crate) fn database_fails_unless_busy(&self, store: &Store, error: &Error) {
        if !error.is_contention() && !store.is_busy() {
            self.database_fails(&chain(error));
        }
    }

    pub(crate) fn database_fails(&self, cause: &str) {
        if self.change(|both| &mut both.database, Some(cause)) {
            warn!(cause, "the database takes no rows: results are held, and nothing new is taken until it does");
        }
    }

    /// A batch was not taken.
    pub(crate) fn batch_fails(&self) -> Failing {
        self.0.send_modify(|both| both.failing += 1);
        Failing(self.clone())
    }

    /// Whether that is news.
    fn change(&self, which: fn(&mut Both) -> &mut Service, error: Option<&str>) -> bool {
        self.0.send_if_modified(|both| {
            let service = which(both);
            let changed = service.up != error.is_none();
            if changed {
                service.up = error.is_none();
                service.since = OffsetDateTime::now_utc();
                service.moment = Instant::now();
            }
            if service.error.as_deref() != error {
                service.error = error.map(str::to_owned);
            }
            changed
        })
    }

    pub(crate) fn broker_is_up(&self) -> bool {
        self.0.borrow().broker.up
    }

    pub(crate) fn database_is_up(&self) -> bool {
        self.0.borrow().database.up
    }

    /// Waits until the database answers.
    pub(crate) async fn database_up(&self) {
        // The sender lives as long as this does.
        _ = self.0.subscribe().wait_for(|both| both.database.up).await;
    }

    /// Waits until the database has been away for as long as this without a break.
    pub(crate) async fn database_down_for(&self, hold: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let Ok(down) = changes.wait_for(|both| !both.database.up).await.map(|both| both.database.moment) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(down + hold) => return,
                _ = changes.wait_for(|both| both.database.up) => {}
            }
        }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let both = self.0.borrow();
        let report = |service: &Service| Report {
            up: service.up,
            since: service.since.format(&Rfc3339).unwrap_or_default(),
            error: service.error.clone(),
        };
        let ready = both.broker.up && both.database.up;
        Readiness { ready, broker: report(&both.broker), database: report(&both.database) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_ready_only_while_both_services_answer() {
        let services = Services::new();
        assert!(!services.readiness().ready);
        services.broker_answers();
        services.database_takes_rows();
        assert!(services.readiness().ready);
        services.database_fails("connection refused");
        let body = serde_json::to_value(services.readiness()).unwrap();
        assert_eq!((&body["ready"], &body["broker"]["up"]), (&false.into(), &true.into()));
        assert_eq!(
            (&body["database"]["up"], &body["database"]["error"]),
            (&false.into(), &"connection refused".into())
        );
        let since = body["database"]["since"].clone();
        services.database_fails("still refused");
        assert_eq!(serde_json::to_value(services.readiness()).unwrap()["database"]["since"], since);
    }

    #[test]
    fn a_ping_does_not_outweigh_a_batch_that_is_refused() {
        let services = Services::new();
        services.database_takes_rows();
        let failing = services.batch_fails();
        services.database_fails("read-only");
        services.database_answers();
        assert!(!services.database_is_up());
        drop(failing);
        services.database_answers();
        assert!(services.database_is_up());
    }

    #[tokio::test(start_paused = true)]
    async fn the_hold_begins_anew_when_the_database_was_back_for_a_moment() {
        let services = Services::new();
        services.database_takes_rows();
        let hold = Duration::from_secs(600);
        let held = tokio::spawn({
            let services = services.clone();
            async move {
                services.database_down_for(hold).await;
                Instant::now()
            }
        });
        services.database_fails("gone");
        tokio::time::sleep(hold / 2).await;
        services.database_takes_rows();
        tokio::time::sleep(Duration::from_secs(1)).await;
        services.database_fails("gone again");
        let again = Instant::now();
        assert_eq!((held.await.unwrap() - again).as_secs(), hold.as_secs());
    }
}
