//! Host names to addresses, with a cache and past the guard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::{Blocked, Guard};

/// A record is asked for again after this long at the latest, whatever its own time to live says.
const LONGEST_TTL: Duration = Duration::from_secs(300);
/// A name that was not found is asked for again after this long at the latest.
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// Answers that are kept.
const CACHE_ENTRIES: u64 = 10_000;

/// The system's name servers and hosts file, behind a cache that all fetches share.
#[derive(Clone)]
pub(crate) struct Resolver(TokioResolver);

impl Resolver {
    /// Reads the system's configuration.
    pub(crate) fn from_system() -> Result<Self, NetError> {
        let mut builder = TokioResolver::builder_tokio()?;
        let options = builder.options_mut();
        options.cache_size = CACHE_ENTRIES;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self(builder.build()?))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            // The client puts in the port.
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Hands on only the open ones of another resolver's addresses.
///
/// What the client is given here is what it connects to. It does not ask again in between, so a name that changes its
/// address gains nothing.
pub(crate) struct Guarded {
    resolver: Arc<dyn Resolve>,
    guard: Guard,
    /// The one host that is not checked: the proxy's.
    proxy: Option<String>,
}

impl Guarded {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, guard: Guard, proxy: Option<String>) -> Self {
        Self { resolver, guard, proxy }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        if self.proxy.as_deref() == Some(name.as_str()) {
            return self.resolver.resolve(name);
        }
        let guard = self.guard.clone();
        let host = name.as_str().to_owned();
        let resolving = self.resolver.resolve(name);
        Box::pin(async move {
            let mut open = Vec::new();
            let mut first_closed = None;
            for address in resolving.await? {
                match guard.check(address.ip()) {
                    Ok(()) => open.push(address),
                    Err(closed) => _ = first_closed.get_or_insert(closed),
                }
            }
            match first_closed {
                Some(closed) if open.is_empty() => Err(Blocked::Name { host, closed }.into()),
                _ => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}
