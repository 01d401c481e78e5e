//! A small trace collector: OTLP over HTTP, as protobuf.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A received span.
#[derive(Clone, Debug)]
pub struct Span {
    /// The id of its trace, in hex.
    pub trace: String,
    /// Its own id, in hex.
    pub id: String,
    /// The id of its parent span, in hex; empty for a root span.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since 1970.
    pub from: u64,
    /// Nanoseconds since 1970.
    pub to: u64,
    /// The attributes of the span and of its resource, as text.
    pub attributes: Vec<(String, String)>,
    /// Whether its status is an error.
    pub failed: bool,
}

impl Span {
    /// An attribute, as text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The collector. Dropping it closes its port.
pub struct Collector {
    /// The value for `--otlp-endpoint`.
    pub url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts a collector on a free port of loopback.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port for the collector")?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Arc::default();
        let router =
            Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&spans));
        let server = tokio::spawn(async move { _ = axum::serve(listener, router).await });
        Ok(Self { url, spans, server })
    }

    /// All spans received by now, ordered by their start.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone();
        spans.sort_by_key(|span| span.from);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(spans): State<Arc<Mutex<Vec<Span>>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default().attributes;
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope_spans| scope_spans.spans)
        {
            spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                from: span.start_time_unix_nano,
                to: span.end_time_unix_nano,
                attributes: span.attributes.iter().chain(&resource).map(text).collect(),
                failed: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attribute: &KeyValue) -> (String, String) {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    let value = match value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key.clone(), value)
}
