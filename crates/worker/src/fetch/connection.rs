//! Whether a request is sent on a new connection or on a reused one.
//!
//! A reused connection may have been closed by the server at the moment of the request, which says
//! nothing about the request. The client does not report which one it uses.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service};

tokio::task_local! {
    /// Whether the request of this task has made a connection.
    static IS_NEW: Cell<bool>;
}

/// Notes, for the request that waits for it, that a connection was made.
///
/// A request that starts a connection and then gets a reused one leaves the new connection to
/// another task, which notes nothing.
#[derive(Clone, Copy)]
pub(super) struct NoteNewConnections;

impl<S> Layer<S> for NoteNewConnections {
    type Service = Noting<S>;

    fn layer(&self, connector: S) -> Noting<S> {
        Noting(connector)
    }
}

/// A connector that notes that it has made a connection.
#[derive(Clone)]
pub(super) struct Noting<S>(S);

impl<S, R> Service<R> for Noting<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let connecting = self.0.call(destination);
        Box::pin(async move {
            let connected = connecting.await;
            _ = IS_NEW.try_with(|is_new| is_new.set(true));
            connected
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
