//! Whether the worker is alive and ready, and what it counts, over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use fetchline_store::Store;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::Orders;
use crate::meters::{Meters, Sights};
use crate::services::{Readiness, Services};

/// How often the database is asked whether it takes rows.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The same while it does not.
const PING_AWAY_EVERY: Duration = Duration::from_secs(1);

/// A bound port, so that a port that is taken is told before anything else begins.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/livez`, `/readyz` and `/metrics` until `stop`.
pub(crate) async fn serve(listener: TcpListener, meters: Arc<Meters>, sights: Sights, stop: CancellationToken) {
    let router = axum::Router::new()
        // Answering is the proof: the process waits out an outage, and no restart would help.
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state((meters, Arc::new(sights)));
    // An error ends this server only; the probes then tell.
    _ = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
}

/// The body of `/readyz`. A worker that is paused is ready: it is what its operator wants it to be.
#[derive(Serialize)]
struct Body {
    #[serde(flatten)]
    services: Readiness,
    #[serde(flatten)]
    orders: Orders,
}

type Told = (Arc<Meters>, Arc<Sights>);

async fn readyz(State((_, sights)): State<Told>) -> Response {
    let readiness = sights.services.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Body { services: readiness, orders: sights.control.now() })).into_response()
}

async fn metrics(State((meters, sights)): State<Told>) -> Response {
    // The text format of Prometheus.
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], meters.render(&sights)).into_response()
}

/// Asks the database now and then, until `stop`: a worker without work, or one that waits for the database to come back,
/// would not notice otherwise.
pub(crate) async fn watch_database(store: Arc<Store>, services: Services, stop: CancellationToken) {
    loop {
        let pause = match store.ping().await {
            Ok(()) => {
                services.database_answers();
                PING_EVERY
            }
            Err(error) => {
                services.database_fails_unless_busy(&store, &error);
                if services.database_is_up() { PING_EVERY } else { PING_AWAY_EVERY }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
