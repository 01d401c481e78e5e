//! What a name server says about a name.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

/// How long a record is valid at most, whatever its time to live.
const MAX_TTL: Duration = Duration::from_secs(300);
/// How long it is valid at least: a connection needs the address a moment after it became known.
const MIN_TTL: Duration = Duration::from_secs(5);
/// How long the absence of a name is valid at most, and where the server names no time.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// How many addresses of one name are kept.
const MAX_ADDRESSES: usize = 32;
/// How many aliases lead from a name to its address at most.
pub(super) const MAX_ALIASES: usize = 8;

/// What a name server says about a name, and for how long that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Addresses(Vec<IpAddr>, Duration),
    /// The name does not exist.
    NoName(Duration),
    /// The name has no record of this kind.
    NoData(Duration),
}

/// The content of a response.
pub(super) enum Content {
    Reply(Reply),
    /// The name is an alias of another one, about which the response says nothing.
    Alias(Name),
}

impl Content {
    /// Reads the response to a question for addresses of this kind. Records of other names do not
    /// count.
    pub(super) fn of(response: &DnsResponse, name: &Name, kind: RecordType) -> Self {
        let mut owner = name;
        let mut ttl = u32::MAX;
        for _ in 0..MAX_ALIASES {
            let alias = response.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *owner => Some((&target.0, record.ttl)),
                _ => None,
            });
            let Some((target, its_ttl)) = alias else { break };
            owner = target;
            ttl = ttl.min(its_ttl);
        }
        let mut addresses = Vec::new();
        for record in &response.answers {
            if record.name == *owner && record.record_type() == kind {
                addresses.extend(record.data.ip_addr());
                ttl = ttl.min(record.ttl);
            }
        }
        addresses.truncate(MAX_ADDRESSES);
        let negative_ttl =
            || response.negative_ttl().map_or(MAX_NEGATIVE_TTL, seconds).min(MAX_NEGATIVE_TTL);
        Self::Reply(if !addresses.is_empty() {
            Reply::Addresses(addresses, seconds(ttl).clamp(MIN_TTL, MAX_TTL))
        } else if response.response_code == ResponseCode::NXDomain {
            Reply::NoName(negative_ttl().max(MIN_TTL))
        } else if owner != name {
            return Self::Alias(owner.clone());
        } else {
            Reply::NoData(negative_ttl().max(MIN_TTL))
        })
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// What a response says about the server rather than about the name; `None` if it is about the
/// name.
pub(super) fn about_the_server(response: &DnsResponse) -> Option<String> {
    match response.response_code {
        ResponseCode::NXDomain => None,
        ResponseCode::NoError => {
            is_referral(response).then(|| "with a referral to other name servers".to_owned())
        }
        code => Some(code.to_string()),
    }
}

/// Whether a server refers to others instead of asking them (RFC 2308, 2.2): it was not meant to be
/// asked, or it has lost its zone. A server that knows of no address sends an SOA, or nothing.
fn is_referral(response: &DnsResponse) -> bool {
    let has = |kind| response.authorities.iter().any(|record| record.record_type() == kind);
    response.answers.is_empty()
        && !response.authoritative
        && has(RecordType::NS)
        && !has(RecordType::SOA)
}
