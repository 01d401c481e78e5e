//! A site that records the requests that it gets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A site on all of 127.0.0.0/8. It ends with its runtime.
pub struct Recorder {
    address: SocketAddr,
    requests: Requests,
}

type Requests = Arc<Mutex<Vec<Value>>>;

impl Recorder {
    /// The key for tests of RFC 9421, B.1.4.
    pub const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n\
        -----END PRIVATE KEY-----\n";

    /// Starts a site. `/hop` redirects to `/page` at another host, and `/busy` answers 503 once.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let (address, requests) = (listener.local_addr()?, Requests::default());
        let site = Router::new().fallback(answer).with_state((address.port(), requests.clone()));
        tokio::spawn(async move { axum::serve(listener, site).await });
        Ok(Self { address, requests })
    }

    /// A URL of the site at one of its addresses.
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.address.port())
    }

    /// The requests so far: their methods, URLs and headers.
    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State((port, requests)): State<(u16, Requests)>, request: Request) -> Response {
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (headers, path) = (request.headers(), request.uri().path());
    let url = format!("http://{}{path}", text(headers, "host"));
    let fields: serde_json::Map<_, _> = headers
        .keys()
        .map(|name| (name.to_string(), text(headers, name.as_str()).into()))
        .collect();
    let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = requests.iter().all(|before| before["url"] != url.as_str());
    requests.push(json!({ "method": request.method().as_str(), "url": url, "headers": fields }));
    match path {
        "/robots.txt" => StatusCode::NOT_FOUND.into_response(),
        "/hop" => {
            let location = format!("http://127.0.0.2:{port}/page");
            (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
        }
        "/busy" if is_first => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => "page".into_response(),
    }
}
