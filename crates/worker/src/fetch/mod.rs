//! One fetch: the request, its redirects and the body, bounded in time, memory and networks.

pub(crate) mod answer;
mod body;
mod client;
mod clients;
mod config;
mod connection;
mod cookies;
mod deadline;
mod decoder;
pub(crate) mod dns;
pub(crate) mod failure;
pub(crate) mod fetcher;
mod guard;
mod header_limit;
mod hop;
mod progress;
mod proxy;
pub(crate) mod resolver;
pub(crate) mod robots;
mod trail;
mod unprocessed;
pub(crate) mod tls;

pub use config::{Config, Cookies, RobotsPolicy, Visitor};
pub use proxy::{Proxy, ProxyError};
pub use tls::{Authorities, AuthoritiesError};
