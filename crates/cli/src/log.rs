//! Logs on standard error.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people
    Text,
    /// One JSON object per line
    Json,
}

/// Starts logging at the levels of RUST_LOG, by default `info` and above.
pub(crate) fn start(format: LogFormat) {
    let (filter, problem) = match EnvFilter::try_from_default_env() {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    // We handle and log the errors of libraries ourselves. lapin would even log messages, which may
    // hold secrets.
    let silenced = [
        "lapin",
        "sqlx",
        "hickory_resolver",
        "hickory_net",
        "hickory_proto",
        "rustls_platform_verifier",
        "opentelemetry",
    ];
    let directives = silenced.iter().filter_map(|library| format!("{library}=off").parse().ok());
    let filter = directives.fold(filter, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            // https://no-color.org
            let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let ansi = !is_plain && io::IsTerminal::is_terminal(&io::stderr());
            registry
                .with(
                    tracing_subscriber::fmt::layer()
                        .with_writer(io::stderr)
                        // It would be printed to standard error, where nobody reads any more.
                        .log_internal_errors(false)
                        .with_ansi(ansi)
                        .with_target(false),
                )
                .init();
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .log_internal_errors(false)
                .with_writer(io::stderr);
            registry.with(layer).init();
        }
    }
    if let Some(problem) = problem.filter(|_| std::env::var_os(EnvFilter::DEFAULT_ENV).is_some()) {
        tracing::warn!("RUST_LOG is not understood, and `info` counts: {problem}");
    }
}
