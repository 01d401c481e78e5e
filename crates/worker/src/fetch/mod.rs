//! One fetch: the request, its redirects and the body, bounded in time, memory and networks.

pub(crate) mod answer;
mod body;
mod client;
mod clients;
pub(crate) mod conditional;
mod config;
mod connection;
mod cookies;
mod deadline;
pub(crate) mod decoder;
pub(crate) mod dns;
pub(crate) mod failure;
pub(crate) mod fetcher;
mod framing;
mod guard;
mod header_limit;
mod hop;
mod progress;
mod proxy;
mod repeats;
pub(crate) mod resolver;
pub(crate) mod robots;
mod shortage;
mod signing;
pub(crate) mod tls;
mod trail;
mod unprocessed;

pub use config::{Config, Cookies, RobotsPolicy, Visitor};
pub use proxy::{Proxy, ProxyError};
pub use signing::{AgentError, BotKey, BotKeyError, SignatureAgent, Signing, key_directory};
pub use tls::{Authorities, AuthoritiesError};
