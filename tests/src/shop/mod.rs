//! The sample shop: a web site with product pages and with every misbehaviour that a fetcher must
//! handle. It runs inside a test or as the binary `shop`, needs only a port, and counts its visits.
//!
//! `routes.rs` is the table of its paths; each group of paths is a file. Every path accepts any
//! method, and most accept any suffix, so that a test can make as many different URLs as it needs.

mod admin;
mod bodies;
mod catalogue;
mod charsets;
mod compression;
mod failures;
mod page;
mod posted;
mod products;
mod raw;
mod redirects;
mod routes;
mod server;
mod timing;
mod visit;
pub mod visits;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::oneshot, task::JoinHandle};

pub use self::{
    catalogue::{CATEGORIES, Product},
    charsets::charset_sample,
    compression::BOMB_BYTES,
    visits::{HostSummary, Summary, Visits},
};

/// The network of all shops, which workers must allow (`--allow-network`).
pub const NETWORK: &str = "127.0.0.0/8";

/// The options of a shop.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The address to listen on; by default any free port of 127.0.0.1.
    pub listen: SocketAddr,
    /// The first price revision, see [`Shop::set_revision`]; by default 0.
    pub revision: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), revision: 0 }
    }
}

/// An open shop. It serves until it is stopped or dropped; then it closes every connection,
/// answered or not.
#[derive(Debug)]
pub struct Shop {
    addr: SocketAddr,
    visits: Visits,
    revision: Arc<AtomicU64>,
    robots: Arc<Mutex<(u16, String)>>,
    posted: posted::PostedPages,
    /// Dropping it ends `serving`.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Shop {
    /// Opens a shop, which answers as soon as this returns.
    ///
    /// If the address cannot be bound.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        // HTTP clients of its tests have no cryptography of their own.
        _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let listener = server::listen(options.listen)?;
        let addr = listener.local_addr()?;
        let visits = Visits::new();
        let revision = Arc::new(AtomicU64::new(options.revision));
        let (stop, stopped) = oneshot::channel();
        let robots = Arc::new(Mutex::new((404, String::new())));
        let posted = posted::PostedPages::default();
        let state = admin::ShopState {
            visits: visits.clone(),
            revision: revision.clone(),
            robots: robots.clone(),
            posted: posted.clone(),
        };
        let counter = server::Counter::new(state);
        let serving = tokio::spawn(server::serve(listener, counter, stopped));
        Ok(Self { addr, visits, revision, robots, posted, stop, serving })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path, which starts with `/`, at the shop's address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The URL of a path at a host name that resolves to this shop, such as `shop-1.test`.
    #[must_use]
    pub fn url_at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.addr.port())
    }

    /// The counts of its visits.
    #[must_use]
    pub fn visits(&self) -> &Visits {
        &self.visits
    }

    /// Sets the price revision: above 0, every tenth product has another price than before
    /// ([`Product::at_revision`]).
    pub fn set_revision(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// Sets the status and the text of `/robots.txt`.
    pub fn set_robots(&self, status: u16, text: &str) {
        *self.robots.lock().unwrap_or_else(PoisonError::into_inner) = (status, text.to_owned());
    }

    /// Puts up the page `/posted/{name}` with this status, or replaces it.
    pub fn post(&self, name: &str, status: u16, html: &str) {
        self.posted.post(name, status, html);
    }

    /// Closes the shop; returns when its port is free and its connections are closed.
    pub async fn stop(self) {
        drop(self.stop);
        // The task neither panics nor is aborted; even then the shop would be closed.
        let _ = self.serving.await;
    }
}
