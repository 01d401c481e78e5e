//! Whether the worker is alive and ready, over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use fetchline_store::Store;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::{Control, Orders};
use crate::failure::chain;
use crate::services::{Readiness, Services};

/// How often the database is asked whether it takes rows.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The same while it does not.
const PING_AWAY_EVERY: Duration = Duration::from_secs(1);

/// A bound port, so that a port that is taken is told before anything else begins.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/livez` and `/readyz` until `stop`.
pub(crate) async fn serve(listener: TcpListener, services: Services, control: Control, stop: CancellationToken) {
    let router = axum::Router::new()
        // Answering is the proof: the process waits out an outage, and no restart would help.
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .with_state((services, control));
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

async fn readyz(State((services, control)): State<(Services, Control)>) -> Response {
    let readiness = services.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Body { services: readiness, orders: control.now() })).into_response()
}

/// Asks the database now and then, until `stop`: a worker without work, or one that waits for the database to come back,
/// would not notice otherwise.
pub(crate) async fn watch_database(store: Arc<Store>, services: Services, stop: CancellationToken) {
    loop {
        let pause = match store.ping().await {
            Ok(()) => {
                services.database_pings();
                PING_EVERY
            }
            Err(_) if store.is_busy() => PING_EVERY,
            Err(error) => {
                services.database_fails(&chain(&error));
                PING_AWAY_EVERY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
