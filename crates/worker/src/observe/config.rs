//! The settings of observability.

use std::net::SocketAddr;

use url::Url;

/// The settings of observability.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where the worker serves health and metrics; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Where traces are exported to by OTLP over HTTP, path included; `None` for nowhere.
    pub otlp_endpoint: Option<Url>,
}
