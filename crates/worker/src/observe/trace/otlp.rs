//! Traces that are exported by OTLP over HTTP. Without an endpoint there are no traces.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetchline_queue::{RawMessage, Task, Topology};
use fetchline_store::Outcome;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData,
};
use tracing::{info, warn};
use url::Url;

use super::Step;
use crate::error_chain::chain;

/// The headers of the parent trace (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// The largest number of spans of a delivery.
const MAX_SPANS: usize = 7;
/// How long the last export may take.
const LAST_EXPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts traces and exports their spans.
pub(crate) struct Traces(Option<Exporter>);

struct Exporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    queue: String,
}

/// The trace of one delivery. Dropping it ends its open spans, the innermost first.
pub(crate) struct Trace {
    tracer: SdkTracer,
    step: Mutex<Option<Span>>,
    /// The context of the span `consume`.
    context: Context,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Fetch => "fetch",
            Self::Batch => "batch",
            Self::Commit => "commit",
            Self::Republish => "hand over",
            Self::Settle => "settle",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Fetch => SpanKind::Client,
            Self::Republish => SpanKind::Producer,
            Self::Wait | Self::Batch | Self::Commit | Self::Settle => SpanKind::Internal,
        }
    }
}

impl Traces {
    /// Exports to this URL (`http://collector:4318/v1/traces`) from a thread of its own; `None` for
    /// no traces. The standard `OTEL_` variables set the rest, such as sampling.
    pub(crate) fn new(
        endpoint: Option<&Url>,
        pod: &str,
        topology: &Topology,
        prefetch: usize,
    ) -> Result<Self, ExporterBuildError> {
        let Some(endpoint) = endpoint else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.as_str());
        let exporter = OutageLog { exporter: exporter.build()?, failing: AtomicBool::new(false) };
        let mut limits = BatchConfigBuilder::default();
        if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
            // The spans of a batch end at the same moment, and spans that do not fit are dropped.
            limits = limits.with_max_queue_size(prefetch.saturating_mul(MAX_SPANS).max(2048));
        }
        let batches =
            BatchSpanProcessor::builder(exporter).with_batch_config(limits.build()).build();
        let mut resource = Resource::builder().with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", pod.to_owned()),
        ]);
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("fetchline");
        }
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batches)
            .with_resource(resource.build())
            .build();
        let (tracer, queue) = (provider.tracer("fetchline"), topology.queue(Topology::URLS));
        Ok(Self(Some(Exporter { provider, tracer, queue })))
    }

    /// The trace of a delivery, as a part of the trace in its message; `None` where it is not
    /// sampled.
    pub(crate) fn begin(
        &self,
        task: &Task,
        original: &RawMessage,
        redelivered: bool,
    ) -> Option<Box<Trace>> {
        let Exporter { tracer, queue, .. } = self.0.as_ref()?;
        let headers = [TRACEPARENT, TRACESTATE]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), original.header(name)?)));
        let parent = TraceContextPropagator::new().extract(&headers.collect::<HashMap<_, _>>());
        let builder = SpanBuilder::from_name("consume").with_kind(SpanKind::Consumer);
        let mut span = tracer.build_with_context(builder, &parent);
        if !span.is_recording() {
            return None;
        }
        // Those without the prefix `fetchline.` are of OpenTelemetry's semantic conventions.
        let mut attributes = vec![
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", queue.clone()),
            KeyValue::new("url.full", task.request.address.to_string()),
            KeyValue::new("fetchline.run", task.run.clone()),
            KeyValue::new("fetchline.attempt", i64::from(task.attempt)),
            KeyValue::new("fetchline.redelivered", redelivered),
        ];
        attributes
            .extend(task.message_id.clone().map(|id| KeyValue::new("messaging.message.id", id)));
        span.set_attributes(attributes);
        Some(Box::new(Trace {
            tracer: tracer.clone(),
            context: parent.with_span(span),
            step: Mutex::default(),
        }))
    }

    /// Exports the remaining spans.
    pub(crate) async fn finish(&self) {
        let Some(Exporter { provider, .. }) = &self.0 else { return };
        let provider = provider.clone();
        // Blocking: it waits for the exporting thread.
        _ = tokio::task::spawn_blocking(move || {
            provider.shutdown_with_timeout(LAST_EXPORT_TIMEOUT)
        })
        .await;
    }
}

impl Trace {
    /// Ends the previous step and begins this one.
    pub(crate) fn enter(&self, step: Step) {
        let mut current = self.step();
        // A dropped span ends, here before the next one starts.
        drop(current.take());
        let builder = SpanBuilder::from_name(step.name()).with_kind(step.kind());
        *current = Some(self.tracer.build_with_context(builder, &self.context));
    }

    /// The `traceparent` for the message that replaces this one.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.context, &mut headers);
        headers.remove(TRACEPARENT)
    }

    /// Records the answer of the fetch.
    pub(crate) fn fetched(
        &self,
        task: &Task,
        outcome: Outcome,
        status: Option<u16>,
        error: Option<&str>,
    ) {
        let mut attributes = vec![
            KeyValue::new("http.request.method", task.request.method.as_str().to_owned()),
            KeyValue::new(
                "server.address",
                task.request.address.as_url().host_str().unwrap_or_default().to_owned(),
            ),
            KeyValue::new("fetchline.outcome", outcome.as_str()),
        ];
        attributes.extend(
            status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))),
        );
        if !outcome.is_success() {
            attributes.push(KeyValue::new("error.type", outcome.as_str()));
        }
        if let Some(span) = &mut *self.step() {
            span.set_attributes(attributes);
            if !outcome.is_success() {
                span.set_status(Status::error(error.unwrap_or_default().to_owned()));
            }
        }
    }

    /// Records the number of rows that are committed together.
    pub(crate) fn batch(&self, rows: usize) {
        if let Some(span) = &mut *self.step() {
            span.set_attribute(KeyValue::new(
                "fetchline.batch.rows",
                i64::try_from(rows).unwrap_or(i64::MAX),
            ));
        }
    }

    /// Records how the message ended.
    pub(crate) fn settled(&self, how: &'static str) {
        self.context.span().set_attribute(KeyValue::new("fetchline.settled", how));
    }

    fn step(&self) -> MutexGuard<'_, Option<Span>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client of the exporter. Like all clients it ignores the proxies of the environment. Built on
/// a thread of its own, since building a blocking client blocks.
fn client() -> reqwest::blocking::Client {
    let build = || {
        // The HTTP client has no cryptography of its own. It does not matter who installs it.
        _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(EXPORT_TIMEOUT)
            .build()
            .unwrap_or_default()
    };
    std::thread::spawn(build).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Logs once that exports fail, and once that they succeed again.
#[derive(Debug)]
struct OutageLog {
    exporter: SpanExporter,
    failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for OutageLog {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        match &exported {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                info!("traces are exported again")
            }
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                warn!(
                    cause = chain(error),
                    "traces cannot be exported and are lost; tasks are not affected"
                );
            }
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
