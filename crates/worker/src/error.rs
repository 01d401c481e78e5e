//! Why a worker does not start, or fails.

use std::net::SocketAddr;

use crate::observe::summary::Summary;
use crate::problem::Problem;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a worker does not start, or fails. Settings are named by their fields, in backticks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings cannot be used.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// A current-thread runtime: extraction from a large body would block it.
    #[error("the Tokio runtime has to be multi-threaded")]
    Runtime,
    /// The system's resolver configuration cannot be read.
    #[error(
        "the system's resolver configuration (/etc/resolv.conf) cannot be used; --dns-server \
             names a server instead"
    )]
    Resolver(#[source] BoxError),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] BoxError),
    /// Traces cannot be exported as configured.
    #[error("traces cannot be exported (`otlp_endpoint`, OTEL_…)")]
    Traces(#[source] BoxError),
    /// The address is in use, or not one of this host.
    #[error("cannot listen on {0} (`listen`)")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The database lacks the schema of this version.
    #[error(transparent)]
    Store(#[from] fetchline_store::Error),
    /// The broker refuses the user or the virtual host, or what exists there would multiply
    /// messages, keep them for ever or lose them.
    #[error("{}", .0.refusal().unwrap_or("the exchange and the queues cannot be used as they are"))]
    Broker(#[source] fetchline_queue::Error),
    /// A bug in the worker. The broker redelivers what was not settled.
    #[error("a stage of the worker failed: {0}")]
    Panic(String),
    /// The grace was over before the worker had finished. The broker redelivers what is left.
    #[error("the grace was over before everything was finished: the broker redelivers the rest")]
    GraceOver(Box<Summary>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
