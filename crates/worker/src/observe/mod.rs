//! Observability: metrics, traces and the summary.

mod config;
pub(crate) mod metrics;
pub(crate) mod summary;
pub(crate) mod trace;

pub use config::Config;
