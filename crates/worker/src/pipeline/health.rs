//! Health and metrics over HTTP.

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

use super::gauges::Gauges;
use crate::control::dependencies::{NodesInUse, Readiness};
use crate::control::snapshot::Directives;

/// Binds the port. Separate from [`serve`], so that a port in use is an error of the start.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/livez`, `/readyz` and `/metrics` until `stop`.
pub(crate) async fn serve(listener: TcpListener, gauges: Gauges, stop: CancellationToken) {
    let router = axum::Router::new()
        // Always 200: the process waits through an outage, and a restart would not help.
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(gauges));
    // An error ends only this server, and the probes then fail.
    _ = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
}

/// The body of `/readyz`. A paused worker is ready.
#[derive(Serialize)]
struct ReadinessBody {
    #[serde(flatten)]
    dependencies: Readiness,
    #[serde(flatten)]
    directives: Directives,
}

async fn readyz(State(gauges): State<Arc<Gauges>>) -> Response {
    let sources = gauges.sources();
    let nodes = NodesInUse {
        broker: sources.session.borrow().as_ref().map(|session| session.node().to_string()),
        database: sources.store.node(),
    };
    let readiness = sources.dependencies.readiness(nodes);
    let directives = sources.snapshots.read(|snapshot| snapshot.directives);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadinessBody { dependencies: readiness, directives })).into_response()
}

async fn metrics(State(gauges): State<Arc<Gauges>>) -> Response {
    // The content type of the text format of Prometheus.
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], gauges.render()).into_response()
}
