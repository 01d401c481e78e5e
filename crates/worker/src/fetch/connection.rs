//! Connections: how many a client has made, and whether a request is sent on a new one.
//!
//! A reused connection may have been closed by the server at the moment of the request, which says
//! nothing about the request. The client does not report which one it uses.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tower::{Layer, Service};

tokio::task_local! {
    /// Whether the request of this task has made a connection.
    static IS_NEW: Cell<bool>;
}

/// How many connections a client has made. As a layer of its connector, it counts them, and notes
/// a new one for the request that waits for it.
///
/// A request that starts a connection and then gets a reused one leaves the new connection to
/// another task, which notes nothing. Such a connection is spare.
#[derive(Clone, Default)]
pub(super) struct ConnectionCount(Arc<Made>);

#[derive(Default)]
struct Made {
    all: AtomicUsize,
    spare: AtomicUsize,
}

impl ConnectionCount {
    pub(super) fn get(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }

    /// How many of them no request has waited for.
    pub(super) fn spare(&self) -> usize {
        self.0.spare.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, is_awaited: bool) {
        self.0.all.fetch_add(1, Ordering::Relaxed);
        if !is_awaited {
            self.0.spare.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S> Layer<S> for ConnectionCount {
    type Service = Counted<S>;

    fn layer(&self, connector: S) -> Counted<S> {
        Counted { connector, count: self.clone() }
    }
}

/// A connector that counts its connections.
#[derive(Clone)]
pub(super) struct Counted<S> {
    connector: S,
    count: ConnectionCount,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let (connecting, count) = (self.connector.call(destination), self.count.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            count.add(IS_NEW.try_with(|is_new| is_new.set(true)).is_ok());
            Ok(connection)
        })
    }
}

/// Sends a request. The second value is whether its connection was reused.
pub(super) async fn send<T>(request: impl Future<Output = T>) -> (T, bool) {
    let sending = async {
        let sent = request.await;
        (sent, !IS_NEW.with(Cell::get))
    };
    IS_NEW.scope(Cell::new(false), sending).await
}
