//! The cache of host names. Concurrent lookups of one host are one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::net::NetError;
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::time::timeout;

use super::Counters;
use super::host_lookup::HostLookup;
use super::name_servers::{Others, Unanswered};
use super::reply::Reply;
use crate::fetch::config::Config;

/// How many hosts are cached.
const CACHED_HOSTS: u64 = 65_536;
/// How long addresses are kept after they have become invalid, for when no name server answers.
const STALE_FOR: Duration = Duration::from_secs(3_600);
/// How long a lookup may take before older addresses are used: RFC 8767, section 5, has 1.8 s.
const STALE_PATIENCE: Duration = Duration::from_millis(1_800);
/// For how long older addresses are used before the name servers are asked again (RFC 8767).
const STALE_TTL: Duration = Duration::from_secs(30);
/// For how long it is known that nobody answers (RFC 9520: a second at least).
const UNANSWERED_TTL: Duration = Duration::from_secs(1);

/// What is known about a host.
#[derive(Clone, Debug)]
pub(crate) enum Resolution {
    Addresses(Arc<[IpAddr]>),
    /// The name servers say that there are none, and why.
    Absent(Arc<str>),
    /// No name server answers for this host, and why. Nothing is known of others.
    Unanswered(Arc<str>),
    /// No name server answers, and why. They do not answer for other hosts either.
    Outage(Arc<str>),
    /// No name server answers for this host, and why. They answer for others.
    HostUnanswered(Arc<str>),
    /// Too many other lookups of this worker were ahead.
    Crowded(Arc<str>),
    /// This worker had no socket for its question.
    NoSockets(Arc<str>),
}

/// The hosts that are known, and how to look up others. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KnownNames(Arc<Inner>);

struct Inner {
    lookup: HostLookup,
    known: Cache<String, Entry>,
    /// Addresses that were known once.
    older: Cache<String, Arc<[IpAddr]>>,
    counters: Counters,
}

#[derive(Clone)]
struct Entry {
    resolution: Resolution,
    valid_for: Duration,
}

impl KnownNames {
    pub(crate) fn new(config: &Config, counters: Counters) -> Result<Self, NetError> {
        // The least recently used host goes first. Moka's default may drop a new one at once.
        let known = Cache::builder()
            .max_capacity(CACHED_HOSTS)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(ByValidity)
            .build();
        let older = Cache::builder()
            .max_capacity(CACHED_HOSTS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(STALE_FOR)
            .build();
        let lookup = HostLookup::new(config, counters.clone())?;
        Ok(Self(Arc::new(Inner { lookup, known, older, counters })))
    }

    /// The addresses of a host, if they are known.
    pub(crate) async fn known_addresses(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        match self.0.known.get(host).await?.resolution {
            Resolution::Addresses(addresses) => {
                self.0.counters.cached.increment(1);
                Some(addresses)
            }
            Resolution::Absent(_)
            | Resolution::Unanswered(_)
            | Resolution::Outage(_)
            | Resolution::HostUnanswered(_)
            | Resolution::Crowded(_)
            | Resolution::NoSockets(_) => None,
        }
    }

    /// Ends the validity of what is known about a host.
    #[cfg(test)]
    pub(super) async fn forget_validity(&self, host: &str) {
        self.0.known.invalidate(host).await;
    }

    /// Forgets that the name servers have answered lately.
    #[cfg(test)]
    pub(super) fn forget_answers(&self) {
        self.0.lookup.forget_answers();
    }

    /// Looks a host up, unless it is known.
    pub(crate) async fn look_up(&self, host: &str) -> Resolution {
        self.0.known.get_with_by_ref(host, self.0.refresh(host)).await.resolution
    }
}

impl Inner {
    async fn refresh(&self, host: &str) -> Entry {
        let older = self.older.get(host).await;
        let looking_up = self.lookup.look_up(host);
        let answer = match older {
            Some(_) => timeout(STALE_PATIENCE, looking_up).await.ok(),
            None => Some(looking_up.await),
        };
        let absent = |why: &str, ttl| {
            self.counters.absent.increment(1);
            Entry { resolution: Resolution::Absent(format!("{host} {why}").into()), valid_for: ttl }
        };
        match answer {
            Some(Ok(Reply::Addresses(addresses, valid_for))) => {
                self.counters.found.increment(1);
                let addresses: Arc<[IpAddr]> = addresses.into();
                self.older.insert(host.to_owned(), addresses.clone()).await;
                Entry { resolution: Resolution::Addresses(addresses), valid_for }
            }
            Some(Ok(Reply::NoName(ttl))) => {
                self.older.invalidate(host).await;
                absent("does not exist (NXDOMAIN)", ttl)
            }
            Some(Ok(Reply::NoData(ttl))) => {
                self.older.invalidate(host).await;
                absent("has no address that this machine can reach (NODATA)", ttl)
            }
            unanswered => self.without_answer(host, older, unanswered.and_then(Result::err)).await,
        }
    }

    async fn without_answer(
        &self,
        host: &str,
        older: Option<Arc<[IpAddr]>>,
        cause: Option<Unanswered>,
    ) -> Entry {
        if let Some(addresses) = older {
            self.counters.stale.increment(1);
            return Entry { resolution: Resolution::Addresses(addresses), valid_for: STALE_TTL };
        }
        self.counters.unanswered.increment(1);
        let why = cause.as_ref().map(Unanswered::to_string).unwrap_or_default();
        let text = format!("{host} could not be looked up: {why}").into();
        let resolution = match cause {
            Some(Unanswered::Crowded(..)) => Resolution::Crowded(text),
            Some(Unanswered::NoSockets) => Resolution::NoSockets(text),
            _ => match self.lookup.others_than(host).await {
                Others::Answered => Resolution::HostUnanswered(text),
                Others::Unanswered => Resolution::Outage(text),
                Others::Unknown => Resolution::Unanswered(text),
            },
        };
        Entry { resolution, valid_for: UNANSWERED_TTL }
    }
}

/// Expires each entry when its validity ends.
struct ByValidity;

impl Expiry<String, Entry> for ByValidity {
    fn expire_after_create(&self, _: &String, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.valid_for)
    }

    fn expire_after_update(
        &self,
        _: &String,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.valid_for)
    }
}
