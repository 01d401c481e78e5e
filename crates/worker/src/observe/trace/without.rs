//! A build without OpenTelemetry, which takes long to compile: there are no traces.

use fetchline_queue::{RawMessage, Task, Topology};
use fetchline_store::Outcome;
use url::Url;

use super::Step;

/// The program cannot export traces.
#[derive(Debug, thiserror::Error)]
#[error(
    "this program is built without traces: use the image or `make dist`, or build it with \
     `--features otlp`"
)]
pub(crate) struct NotBuilt;

/// Starts no traces.
pub(crate) struct Traces(());

/// Does not exist.
pub(crate) enum Trace {}

impl Traces {
    /// Fails if there is an endpoint.
    pub(crate) fn new(
        endpoint: Option<&Url>,
        _pod: &str,
        _topology: &Topology,
        _prefetch: usize,
    ) -> Result<Self, NotBuilt> {
        match endpoint {
            Some(_) => Err(NotBuilt),
            None => Ok(Self(())),
        }
    }

    pub(crate) fn begin(
        &self,
        _task: &Task,
        _original: &RawMessage,
        _redelivered: bool,
    ) -> Option<Box<Trace>> {
        None
    }

    pub(crate) async fn finish(&self) {}
}

impl Trace {
    pub(crate) fn enter(&self, _step: Step) {
        match *self {}
    }

    pub(crate) fn traceparent(&self) -> Option<String> {
        match *self {}
    }

    pub(crate) fn fetched(
        &self,
        _task: &Task,
        _outcome: Outcome,
        _status: Option<u16>,
        _error: Option<&str>,
    ) {
        match *self {}
    }

    pub(crate) fn batch(&self, _rows: usize) {
        match *self {}
    }

    pub(crate) fn settled(&self, _how: &'static str) {
        match *self {}
    }
}
