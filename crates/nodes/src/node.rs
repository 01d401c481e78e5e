//! A node: an address of a host that a URL names.

use std::fmt;
use std::net::SocketAddr;

/// A host and port that a URL names. Its name may have several addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What the URL says.
    pub endpoint: Endpoint,
    /// The place of the endpoint in the URL.
    pub index: usize,
    /// One of the addresses of the name; `None` if the name is not resolved here.
    pub address: Option<SocketAddr>,
    /// Whether the name has other addresses, too.
    pub(crate) is_one_of_many: bool,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) if self.is_one_of_many => {
                write!(f, "{} ({})", self.endpoint, address.ip())
            }
            _ => self.endpoint.fmt(f),
        }
    }
}
