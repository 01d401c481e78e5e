//! Traces of tasks, exported by OTLP over HTTP. A trace travels with its claim; where nothing is exported, there is none.
//!
//! The stages that a task passes follow upon each other, so a trace is one span of the whole (`consume`) with one child
//! for each stage, and entering a stage leaves the one before it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetchline_queue::{Original, Task, Topology};
use fetchline_store::Outcome;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData};
use tracing::{info, warn};
use url::Url;

use crate::execute::Answer;
use crate::failure::chain;

/// The headers that a trace is taken up from (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// The most spans that a delivery comes to.
const SPANS: usize = 7;
/// How long the last spans may take to be exported.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// How long an export may take.
const EXPORT: Duration = Duration::from_secs(10);

/// Begins traces, and sends what has ended of them.
pub(crate) struct Traces(Option<Exporting>);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    queue: String,
}

/// The trace of one delivery. Dropped, all that is open of it ends, the innermost first.
pub(crate) struct Trace {
    tracer: SdkTracer,
    stage: Mutex<Option<Span>>,
    /// Holds the span of the whole.
    whole: Context,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Waits for its turn.
    Wait,
    /// Is fetched, redirects and body included.
    Fetch,
    /// Its row waits for the batch to close, and for the batches before it.
    Batch,
    /// Its batch is being committed.
    Commit,
    /// The message that replaces its own is being published.
    HandOver,
    /// Its message is being acked, or given back.
    Settle,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Fetch => "fetch",
            Self::Batch => "batch",
            Self::Commit => "commit",
            Self::HandOver => "hand over",
            Self::Settle => "settle",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Fetch => SpanKind::Client,
            Self::HandOver => SpanKind::Producer,
            Self::Wait | Self::Batch | Self::Commit | Self::Settle => SpanKind::Internal,
        }
    }
}

impl Traces {
    /// Exports to this URL (`http://collector:4318/v1/traces`), from a thread of its own. `None`: there are no traces. What
    /// else there is to choose, such as how many of them are kept, the standard `OTEL_` variables choose.
    pub(crate) fn to(
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
        let exporter = Noticing { exporter: exporter.build()?, failing: AtomicBool::new(false) };
        let mut limits = BatchConfigBuilder::default();
        if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
            // The spans of a batch of rows end at the same moment, and what does not fit is dropped.
            limits = limits.with_max_queue_size(prefetch.saturating_mul(SPANS).max(2048));
        }
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(limits.build()).build();
        let mut resource = Resource::builder().with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", pod.to_owned()),
        ]);
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("fetchline");
        }
        let provider =
            SdkTracerProvider::builder().with_span_processor(batches).with_resource(resource.build()).build();
        let (tracer, queue) = (provider.tracer("fetchline"), topology.queue(Topology::URLS));
        Ok(Self(Some(Exporting { provider, tracer, queue })))
    }

    /// The trace of a delivery, in the trace that its message belongs to; `None` where it is not sampled.
    pub(crate) fn begin(&self, task: &Task, original: &Original, redelivered: bool) -> Option<Box<Trace>> {
        let Exporting { tracer, queue, .. } = self.0.as_ref()?;
        let told =
            [TRACEPARENT, TRACESTATE].into_iter().filter_map(|name| Some((name.to_owned(), original.header(name)?)));
        let parent = TraceContextPropagator::new().extract(&told.collect::<HashMap<_, _>>());
        let builder = SpanBuilder::from_name("consume").with_kind(SpanKind::Consumer);
        let mut span = tracer.build_with_context(builder, &parent);
        if !span.is_recording() {
            return None;
        }
        // Names of OpenTelemetry's semantic conventions, and beside them our own.
        let mut attributes = vec![
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", queue.clone()),
            KeyValue::new("url.full", task.order.address.to_string()),
            KeyValue::new("fetchline.run", task.run.clone()),
            KeyValue::new("fetchline.attempt", i64::from(task.attempt)),
            KeyValue::new("fetchline.redelivered", redelivered),
        ];
        attributes.extend(task.message_id.clone().map(|id| KeyValue::new("messaging.message.id", id)));
        span.set_attributes(attributes);
        Some(Box::new(Trace { tracer: tracer.clone(), whole: parent.with_span(span), stage: Mutex::default() }))
    }

    /// Exports what is left.
    pub(crate) async fn finish(&self) {
        let Some(Exporting { provider, .. }) = &self.0 else { return };
        let provider = provider.clone();
        // It waits for its thread.
        _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS)).await;
    }
}

impl Trace {
    /// The task leaves the step before.
    pub(crate) fn enter(&self, step: Step) {
        let mut stage = self.stage();
        // Dropped, the one before ends.
        drop(stage.take());
        let builder = SpanBuilder::from_name(step.name()).with_kind(step.kind());
        *stage = Some(self.tracer.build_with_context(builder, &self.whole));
    }

    /// The `traceparent` of what comes of this delivery.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let mut told = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.whole, &mut told);
        told.remove(TRACEPARENT)
    }

    /// What came of the fetch.
    pub(crate) fn fetched(&self, task: &Task, answer: &Answer) {
        let mut attributes = vec![
            KeyValue::new("http.request.method", task.order.method.as_str().to_owned()),
            KeyValue::new("server.address", task.order.address.as_url().host_str().unwrap_or_default().to_owned()),
            KeyValue::new("fetchline.outcome", answer.outcome.as_str()),
        ];
        attributes.extend(answer.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
        if answer.outcome != Outcome::Ok {
            attributes.push(KeyValue::new("error.type", answer.outcome.as_str()));
        }
        if let Some(stage) = &mut *self.stage() {
            stage.set_attributes(attributes);
            if answer.outcome != Outcome::Ok {
                stage.set_status(Status::error(answer.error.clone().unwrap_or_default()));
            }
        }
    }

    /// How many rows are committed together.
    pub(crate) fn of_batch(&self, rows: usize) {
        if let Some(stage) = &mut *self.stage() {
            stage.set_attribute(KeyValue::new("fetchline.batch.rows", i64::try_from(rows).unwrap_or(i64::MAX)));
        }
    }

    /// What became of the message.
    pub(crate) fn settled(&self, how: &'static str) {
        self.whole.span().set_attribute(KeyValue::new("fetchline.settled", how));
    }

    fn stage(&self) -> MutexGuard<'_, Option<Span>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As everywhere, the environment's proxies are ignored. It is made on a thread of its own, since it waits where a runtime
/// must not.
fn client() -> reqwest::blocking::Client {
    let client = || reqwest::blocking::Client::builder().no_proxy().timeout(EXPORT).build().unwrap_or_default();
    std::thread::spawn(client).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Says once that nothing can be exported, and once that it can again.
#[derive(Debug)]
struct Noticing {
    exporter: SpanExporter,
    failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Noticing {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        match &exported {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => info!("traces are exported again"),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                warn!(cause = chain(error), "traces cannot be exported and are lost; nothing else is");
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
