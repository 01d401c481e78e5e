//! Whether the worker is alive and ready, over HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use fetchline_store::Store;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::failure::chain;

/// How often the database is asked whether it answers.
const PING_EVERY: Duration = Duration::from_secs(5);

/// What is known of the two services; cheap to clone.
#[derive(Clone)]
pub(crate) struct Health(Arc<Mutex<Services>>);

#[derive(Clone, Serialize)]
struct Services {
    broker: Service,
    database: Service,
}

#[derive(Clone, Serialize)]
struct Service {
    up: bool,
    /// Since when it is up or down; RFC 3339, UTC.
    since: String,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    #[serde(flatten)]
    services: Services,
}

impl Health {
    pub(crate) fn new() -> Self {
        let starting = Service { up: false, since: now(), error: Some("not reached yet".to_owned()) };
        Self(Arc::new(Mutex::new(Services { broker: starting.clone(), database: starting })))
    }

    pub(crate) fn broker_answers(&self) {
        self.change(|services| &mut services.broker, None);
    }

    pub(crate) fn broker_fails(&self, cause: &str) {
        self.change(|services| &mut services.broker, Some(cause));
    }

    pub(crate) fn database_answers(&self) {
        self.change(|services| &mut services.database, None);
    }

    pub(crate) fn database_fails(&self, cause: &str) {
        self.change(|services| &mut services.database, Some(cause));
    }

    fn change(&self, which: fn(&mut Services) -> &mut Service, error: Option<&str>) {
        let mut services = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let service = which(&mut services);
        if service.up != error.is_none() {
            service.up = error.is_none();
            service.since = now();
        }
        service.error = error.map(str::to_owned);
    }

    fn readiness(&self) -> Readiness {
        let services = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Readiness { ready: services.broker.up && services.database.up, services }
    }
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// A bound port, so that a port that is taken is told before anything else begins.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/livez` and `/readyz` until `stop`.
pub(crate) async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) {
    let router = axum::Router::new()
        // Answering is the proof: the process waits out an outage, and no restart would help.
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .with_state(health);
    // An error ends this server only; the probes then tell.
    _ = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
}

async fn readyz(State(health): State<Health>) -> Response {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Asks the database now and then, until `stop`: a worker without work would not notice otherwise.
pub(crate) async fn watch_database(store: Arc<Store>, health: Health, stop: CancellationToken) {
    loop {
        match store.ping().await {
            Ok(()) => health.database_answers(),
            Err(error) => health.database_fails(&chain(&error)),
        }
        tokio::select! {
            () = tokio::time::sleep(PING_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_ready_only_while_both_services_answer() {
        let health = Health::new();
        assert!(!health.readiness().ready);
        health.broker_answers();
        health.database_answers();
        assert!(health.readiness().ready);
        health.database_fails("connection refused");
        let body = serde_json::to_value(health.readiness()).unwrap();
        assert_eq!(
            (&body["ready"], &body["broker"]["up"], &body["database"]["up"]),
            (&false.into(), &true.into(), &false.into())
        );
        assert_eq!(body["database"]["error"], "connection refused");
        let since = body["database"]["since"].clone();
        health.database_fails("still refused");
        assert_eq!(serde_json::to_value(health.readiness()).unwrap()["database"]["since"], since);
    }
}
