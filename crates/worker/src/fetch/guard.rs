//! SSRF protection: which addresses a worker may connect to. Workers run in private networks and
//! fetch URLs that others have put into a queue, so by default only public addresses are allowed.
//!
//! The address that is checked is the one that the client connects to. A name is checked where it
//! is resolved (`resolver.rs`), once per connection. A host that is itself an address never reaches
//! the resolver, so it is checked before each request (`fetcher.rs`). A reused connection was
//! checked when it was made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fetchline_queue::Address;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Decides whether an address may be connected to; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// The networks that are allowed although they are not public.
    allowed: Arc<[IpNet]>,
}

/// An address that may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ip} is {kind}")]
pub(crate) struct BlockedAddress {
    ip: IpAddr,
    /// In plain words, with an article.
    kind: &'static str,
}

/// A host that may not be fetched from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Blocked {
    /// The host is an address.
    #[error("{0} (not allowed by --allow-network)")]
    Address(BlockedAddress),
    /// The host is a name, and none of its addresses is allowed. `address` is the first of them.
    #[error("{host} is not public: {address} (not allowed by --allow-network)")]
    Name { host: String, address: BlockedAddress },
}

impl Guard {
    /// Allows public addresses and these networks.
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Fails for an address that is not allowed. An IPv6 network allows the IPv4-embedded IPv6
    /// addresses in it; an IPv4 network does not.
    pub(crate) fn check(&self, ip: IpAddr) -> Result<(), BlockedAddress> {
        let kind = match ip {
            IpAddr::V4(ip) => kind_of_v4(ip),
            IpAddr::V6(ip) => kind_of_v6(ip),
        };
        match kind {
            Some(kind) if !self.allowed.iter().any(|network| network.contains(&ip)) => {
                Err(BlockedAddress { ip, kind })
            }
            _ => Ok(()),
        }
    }

    /// Checks a host that is an address, in any spelling: [`Address`] has normalised it. A name
    /// passes, since it is checked when it is resolved.
    pub(crate) fn check_host(&self, address: &Address) -> Result<(), Blocked> {
        address.ip().map_or(Ok(()), |ip| self.check(ip).map_err(Blocked::Address))
    }
}

const METADATA: &str = "a cloud's metadata service";
const PRIVATE: &str = "a private address";
const DOCUMENTATION: &str = "an address for documentation";
const BENCHMARKS: &str = "an address for benchmarks";
const RESERVED: &str = "a reserved address";
const MULTICAST: &str = "a multicast address";
const LOOPBACK: &str = "a loopback address";
const LINK_LOCAL: &str = "a link-local address";

/// Blocked IPv4 networks: those of the IANA IPv4 Special-Purpose Address Registry that are not
/// globally reachable, multicast, and Azure's metadata service, whose address looks public. The
/// first one that contains an address names it.
const BLOCKED_V4: [(Ipv4Net, &str); 19] = [
    (v4([169, 254, 169, 254], 32), METADATA),
    (v4([100, 100, 100, 200], 32), METADATA),
    (v4([168, 63, 129, 16], 32), METADATA),
    (v4([0, 0, 0, 0], 8), "an address of this host or network"),
    (v4([10, 0, 0, 0], 8), PRIVATE),
    (v4([100, 64, 0, 0], 10), "a carrier-grade NAT address"),
    (v4([127, 0, 0, 0], 8), LOOPBACK),
    (v4([169, 254, 0, 0], 16), LINK_LOCAL),
    (v4([172, 16, 0, 0], 12), PRIVATE),
    (v4([192, 0, 0, 0], 24), RESERVED),
    (v4([192, 0, 2, 0], 24), DOCUMENTATION),
    (v4([192, 88, 99, 0], 24), "an address of 6to4 relays"),
    (v4([192, 168, 0, 0], 16), PRIVATE),
    (v4([198, 18, 0, 0], 15), BENCHMARKS),
    (v4([198, 51, 100, 0], 24), DOCUMENTATION),
    (v4([203, 0, 113, 0], 24), DOCUMENTATION),
    (v4([224, 0, 0, 0], 4), MULTICAST),
    (v4([255, 255, 255, 255], 32), "the broadcast address"),
    (v4([240, 0, 0, 0], 4), RESERVED),
];

/// The global unicast addresses of IPv6. [`BLOCKED_V6`] blocks some of them.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Blocked IPv6 networks that have a name: those of the IANA IPv6 Special-Purpose Address Registry,
/// all IPv4-embedded addresses included, and multicast. The first one that contains an address
/// names it.
const BLOCKED_V6: [(Ipv6Net, &str); 20] = [
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), METADATA),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), LOOPBACK),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "the unspecified address"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "an IPv4-embedded IPv6 address (mapped)"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), "an IPv4-embedded IPv6 address (translated)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "an IPv4-embedded IPv6 address (compatible)"),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), "an IPv4-embedded IPv6 address (NAT64)"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "an IPv4-embedded IPv6 address (local NAT64)"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "an IPv4-embedded IPv6 address (Teredo)"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "an IPv4-embedded IPv6 address (6to4)"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "a discard-only address"),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), BENCHMARKS),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), RESERVED),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), DOCUMENTATION),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), DOCUMENTATION),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "a segment routing identifier"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a unique-local address"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
];

const fn v4(octets: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), length)
}

const fn v6(segments: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), length)
}

/// The kind of a blocked address; `None` for a public one.
fn kind_of_v4(ip: Ipv4Addr) -> Option<&'static str> {
    BLOCKED_V4.iter().find(|(network, _)| network.contains(&ip)).map(|(_, kind)| *kind)
}

/// The kind of a blocked address; `None` for a public one.
fn kind_of_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let named = BLOCKED_V6.iter().find(|(network, _)| network.contains(&ip)).map(|(_, kind)| *kind);
    named.or_else(|| (!PUBLIC_V6.contains(&ip)).then_some(RESERVED))
}

#[cfg(test)]
mod tests;
