//! A site whose answers a test decides, and which keeps what it was asked.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    headers: HeaderMap,
}

impl Asked {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Reply {
    /// An answer with this status and this HTML.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
            .with(hyper::header::CONTENT_TYPE, "text/html")
    }

    /// The same answer with another header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// A site at an address of its own. It serves until it is dropped.
pub struct Origin {
    address: SocketAddr,
    log: Arc<Log>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    body_bytes: AtomicU64,
}

impl Origin {
    /// Opens a site.
    pub async fn start(
        reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (log, reply) = (Arc::<Log>::default(), Arc::new(reply));
        let serving = tokio::spawn({
            let log = log.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (log, reply) = (log.clone(), reply.clone());
                    let service = service_fn(move |request: Request<Incoming>| {
                        let response = log.answer(&request, &*reply);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    // An error ends the connection.
                    tokio::spawn(
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                    );
                }
            }
        });
        Ok(Self { address, log, _serving: AbortOnDropHandle::new(serving) })
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests since this was called last.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.log.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bytes of all bodies that were sent.
    pub fn body_bytes(&self) -> u64 {
        self.log.body_bytes.load(Ordering::Relaxed)
    }
}

impl Log {
    fn answer(
        &self,
        request: &Request<Incoming>,
        reply: &impl Fn(&Asked) -> Reply,
    ) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let asked = Asked {
            method: request.method().to_string(),
            path: path.to_owned(),
            headers: request.headers().clone(),
        };
        let reply = reply(&asked);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        self.body_bytes.fetch_add(reply.body.len() as u64, Ordering::Relaxed);
        reply.response()
    }
}
