//! A client for each choice of protocols.

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

    pub(super) fn client(&self, protocols: Protocols) -> Client {
        match protocols {
            Protocols::Any => self.any.clone(),
            Protocols::Http1 => self.http1.clone(),
        }
    }
}
