//! Resolves host names, with a cache, and lets the guard filter the addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::{Blocked, Guard};

/// How long a record is cached at most, whatever its time to live.
const MAX_TTL: Duration = Duration::from_secs(300);
/// How long the absence of a name is cached at most.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// How many answers are cached.
const CACHE_ENTRIES: u64 = 10_000;

/// Asks the system's name servers and hosts file. All fetches share its cache.
#[derive(Clone)]
pub(crate) struct Resolver(TokioResolver);

impl Resolver {
    /// Reads the system's configuration.
    pub(crate) fn from_system() -> Result<Self, NetError> {
        let mut builder = TokioResolver::builder_tokio()?;
        let options = builder.options_mut();
        options.cache_size = CACHE_ENTRIES;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self(builder.build()?))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            // The client sets the port.
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Passes on those addresses of another resolver that the guard allows.
///
/// The client connects to the addresses that it gets here. It does not resolve again in between, so
/// a name that changes its address gains nothing.
pub(crate) struct GuardedResolver {
    resolver: Arc<dyn Resolve>,
    guard: Guard,
    /// The host of the proxy, the only one that is not checked.
    proxy_host: Option<String>,
}

impl GuardedResolver {
    pub(crate) fn new(
        resolver: Arc<dyn Resolve>,
        guard: Guard,
        proxy_host: Option<String>,
    ) -> Self {
        Self { resolver, guard, proxy_host }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        if self.proxy_host.as_deref() == Some(name.as_str()) {
            return self.resolver.resolve(name);
        }
        let guard = self.guard.clone();
        let host = name.as_str().to_owned();
        let resolving = self.resolver.resolve(name);
        Box::pin(async move {
            let mut allowed = Vec::new();
            let mut first_blocked = None;
            for address in resolving.await? {
                match guard.check(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(blocked) => _ = first_blocked.get_or_insert(blocked),
                }
            }
            match first_blocked {
                Some(address) if allowed.is_empty() => Err(Blocked::Name { host, address }.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
