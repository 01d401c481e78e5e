//! The HTTP server: accepts connections, counts requests and passes them to the routes.

use std::{
    error::Error as _,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, body::Body};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
};

use super::{Visits, admin::ShopState, raw::RawAnswer, routes, visit::Visit};

/// The backlog of the listener, which the kernel limits to its `somaxconn`, by default 4096 as
/// well.
const BACKLOG: u32 = 4096;

pub(super) fn listen(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A shop may be reopened on the same port.
    socket.set_reuseaddr(true)?;
    socket.bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Serves until `stopped` resolves, which it also does when its sender is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    counter: Counter,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, counter.clone()));
                }
                // Usually "too many open files": wait until some are closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Answers the requests of one connection. hyper sends only valid HTTP, so an invalid answer ends
/// hyper's part as an error; the connection is then taken back and gets the raw bytes of the
/// answer.
async fn serve_connection(stream: TcpStream, counter: Counter) {
    if stream.set_nodelay(true).is_err() {
        return; // closed already
    }
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), counter);
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    if let Err(error) = ended
        && let Some(answer) = error.source().and_then(|e| e.downcast_ref::<RawAnswer>())
    {
        answer.send(connection.into_parts().io.into_inner()).await;
    }
}

/// Counts each request, then passes it to the routes with its [`Visit`].
#[derive(Clone)]
pub(super) struct Counter {
    visits: Visits,
    revision: Arc<AtomicU64>,
    routes: TowerToHyperService<Router>,
}

impl Counter {
    pub(super) fn new(state: ShopState) -> Self {
        let (visits, revision) = (state.visits.clone(), state.revision.clone());
        Self { visits, revision, routes: TowerToHyperService::new(routes::routes(state)) }
    }

    fn visit(&self, request: &Request<Incoming>) -> Visit {
        let revision = self.revision.load(Ordering::Relaxed);
        let mut visit = Visit::new(request, revision);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        if !path.starts_with("/-/") {
            visit.nth = self.visits.record(visit.host(), path);
        }
        visit
    }
}

impl Service<Request<Incoming>> for Counter {
    type Response = Response<Body>;
    type Error = RawAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, RawAnswer>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let visit = self.visit(&request);
        request.extensions_mut().insert(visit);
        let answer = self.routes.call(request);
        Box::pin(async move {
            let Ok(mut response) = answer.await;
            match response.extensions_mut().remove::<RawAnswer>() {
                Some(raw) => Err(raw),
                None => Ok(response),
            }
        })
    }
}
