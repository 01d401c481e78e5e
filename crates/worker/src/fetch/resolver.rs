//! Gives the client the addresses of hosts, as far as the guard allows them.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::dns::KnownNames;
use super::guard::{Blocked, Guard};

/// Gives the addresses of known hosts. For others it fails with [`Unknown`], through which the
/// fetch looks the host up and then tries again: the client would count that as time for
/// connecting.
#[derive(Clone)]
pub(crate) struct Resolver(KnownNames);

/// The addresses of a host are not known yet.
#[derive(Clone, thiserror::Error)]
#[error("{host} has not been looked up")]
pub(crate) struct Unknown {
    pub(crate) host: String,
    pub(crate) names: KnownNames,
}

impl std::fmt::Debug for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Resolver {
    pub(crate) fn new(names: KnownNames) -> Self {
        Self(names)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, host) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let Some(found) = names.known_addresses(&host).await else {
                return Err(Unknown { host, names }.into());
            };
            // The client sets the port.
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
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
