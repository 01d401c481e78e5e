//! Observability: metrics, health, the progress log, traces and the summary.

mod config;
pub(crate) mod gauges;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod progress_log;
pub(crate) mod summary;
pub(crate) mod trace;

pub use config::Config;
