//! Traces of tasks. A trace travels with its claim.
//!
//! A task passes its steps one after the other. So a trace is one span for the whole delivery
//! (`consume`) with a child for each step, and entering a step ends the previous one.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
mod without;

#[cfg(feature = "otlp")]
pub(crate) use otlp::{Trace, Traces};
#[cfg(not(feature = "otlp"))]
pub(crate) use without::{Trace, Traces};

/// Whether this build can export traces.
pub const EXPORTS_TRACES: bool = cfg!(feature = "otlp");

/// A step of a task; each has a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Waits to be fetched.
    Wait,
    /// The fetch, redirects and body included.
    Fetch,
    /// The row waits for its batch to close, and for earlier batches.
    Batch,
    /// The commit of its batch.
    Commit,
    /// The publication of the message that replaces its own.
    Republish,
    /// The ack or requeue of its message.
    Settle,
}
