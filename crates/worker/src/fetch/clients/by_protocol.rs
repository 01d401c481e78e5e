//! A client for each choice of protocols.

use std::sync::Arc;

use reqwest::{Client, ClientBuilder};

use crate::fetch::connection::ConnectionCount;

/// The versions of HTTP that a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fetch) enum Protocols {
    Any,
    Http1,
}

/// Makes a client that counts its connections.
pub(in crate::fetch) type Build =
    Box<dyn Fn(Protocols, ConnectionCount) -> reqwest::Result<ClientBuilder> + Send + Sync>;

/// A client for each choice of protocols.
pub(super) struct ByProtocol {
    any: Client,
    http1: Client,
}

impl ByProtocol {
    pub(super) fn new(
        build: impl Fn(Protocols) -> reqwest::Result<ClientBuilder>,
    ) -> reqwest::Result<Self> {
        Ok(Self { any: build(Protocols::Any)?.build()?, http1: build(Protocols::Http1)?.build()? })
    }

    pub(super) fn lease(&self, protocols: Protocols, in_use: Option<Arc<()>>) -> Lease {
        let client = match protocols {
            Protocols::Any => self.any.clone(),
            Protocols::Http1 => self.http1.clone(),
        };
        Lease { client, _in_use: in_use }
    }
}

/// A client for one request. Its generation counts as in use until this is dropped.
pub(in crate::fetch) struct Lease {
    pub(in crate::fetch) client: Client,
    _in_use: Option<Arc<()>>,
}
