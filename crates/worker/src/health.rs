//! Whether the worker is alive and ready, and what it counts, over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::dependencies::Readiness;
use crate::meters::{Meters, Sights};
use crate::snapshot::Directives;

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
    dependencies: Readiness,
    #[serde(flatten)]
    directives: Directives,
}

type Told = (Arc<Meters>, Arc<Sights>);

async fn readyz(State((_, sights)): State<Told>) -> Response {
    let readiness = sights.dependencies.readiness();
    let directives = sights.snapshots.look(|snapshot| snapshot.directives);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Body { dependencies: readiness, directives })).into_response()
}

async fn metrics(State((meters, sights)): State<Told>) -> Response {
    // The text format of Prometheus.
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], meters.render(&sights)).into_response()
}
