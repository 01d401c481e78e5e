//! Which addresses may be connected to. Workers run inside networks and fetch what others put in a queue, so by default
//! only public addresses are open.
//!
//! The address that is checked is the one that is connected to. A name is checked where it is resolved
//! (`resolver.rs`), once for each connection; a host that is an address itself, which the client never asks the resolver
//! for, is checked before each request is sent (`fetch.rs`). A connection that is used again was checked when it was made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fetchline_queue::Address;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Tells open addresses from closed ones; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Open, whatever they are.
    opened: Arc<[IpNet]>,
}

/// An address that is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ip} is {kind}")]
pub(crate) struct Closed {
    ip: IpAddr,
    /// In plain words.
    kind: &'static str,
}

/// A host that is not fetched from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Blocked {
    /// The host is an address.
    #[error("{0} (--allow-network does not open it)")]
    Address(Closed),
    /// The host is a name, and none of its addresses is open. This is the first of them.
    #[error("{host} is not public: {closed} (--allow-network does not open it)")]
    Name { host: String, closed: Closed },
}

impl Guard {
    /// Public addresses are open, and these networks.
    pub(crate) fn new(opened: &[IpNet]) -> Self {
        Self { opened: opened.into() }
    }

    /// Whether an address is open. An IPv4 address in IPv6 disguise is opened by an IPv6 network that holds it, and by
    /// no IPv4 network.
    pub(crate) fn check(&self, ip: IpAddr) -> Result<(), Closed> {
        let kind = match ip {
            IpAddr::V4(ip) => kind_of_v4(ip),
            IpAddr::V6(ip) => kind_of_v6(ip),
        };
        match kind {
            Some(kind) if !self.opened.iter().any(|network| network.contains(&ip)) => Err(Closed { ip, kind }),
            _ => Ok(()),
        }
    }

    /// Checks a host that is an address, however it was spelt: [`Address`] has read it. A name passes: it is checked when
    /// it is resolved.
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

/// What is not public of IPv4: the networks of the IANA IPv4 Special-Purpose Address Registry that are not globally
/// reachable, multicast, and Azure's service, which is public only by its number. The first that holds an address names it.
const CLOSED_V4: [(Ipv4Net, &str); 19] = [
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

/// All that is public of IPv6, less what [`CLOSED_V6`] holds of it.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What is not public of IPv6, as far as it has a name: the IANA IPv6 Special-Purpose Address Registry, all disguises of
/// IPv4 included, and multicast. The first that holds an address names it.
const CLOSED_V6: [(Ipv6Net, &str); 20] = [
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), METADATA),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), LOOPBACK),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "the unspecified address"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "an IPv4 address in IPv6 disguise (mapped)"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), "an IPv4 address in IPv6 disguise (translated)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "an IPv4 address in IPv6 disguise (compatible)"),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), "an IPv4 address in IPv6 disguise (NAT64)"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "an IPv4 address in IPv6 disguise (local NAT64)"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "an IPv4 address in IPv6 disguise (Teredo)"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "an IPv4 address in IPv6 disguise (6to4)"),
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

/// What kind of closed address it is; `None` for a public one.
fn kind_of_v4(ip: Ipv4Addr) -> Option<&'static str> {
    CLOSED_V4.iter().find(|(network, _)| network.contains(&ip)).map(|(_, kind)| *kind)
}

/// What kind of closed address it is; `None` for a public one.
fn kind_of_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let named = CLOSED_V6.iter().find(|(network, _)| network.contains(&ip)).map(|(_, kind)| *kind);
    named.or_else(|| (!PUBLIC_V6.contains(&ip)).then_some(RESERVED))
}

#[cfg(test)]
mod tests;
