//! The sample shop: a web site of our own with product pages, and with every misbehaviour that a fetcher has to take.
//! It runs inside a test or as the binary `shop`, needs nothing but a port, and counts its visits.
//!
//! `routes.rs` is the table of its paths; each group of paths is a file. Any path may be asked for with any method, and
//! most take whatever follows as a name, so that a test can make as many different URLs as it needs.

mod admin;
mod bodies;
mod catalogue;
mod charsets;
mod compression;
mod failures;
mod page;
mod products;
mod raw;
mod redirects;
mod routes;
mod server;
mod timing;
mod visit;
mod visits;

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

/// Where shops are: workers have to be let in (`--allow-network`).
pub const NETWORK: &str = "127.0.0.0/8";

/// How to open a shop.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where to listen; by default any free port of 127.0.0.1.
    pub listen: SocketAddr,
    /// The price revision to begin with, see [`Shop::set_revision`]; by default 0.
    pub revision: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), revision: 0 }
    }
}

/// An open shop. It serves until it is stopped or dropped; then it closes every connection, answered or not.
#[derive(Debug)]
pub struct Shop {
    addr: SocketAddr,
    visits: Visits,
    revision: Arc<AtomicU64>,
    robots: Arc<Mutex<(u16, String)>>,
    /// Dropping it ends `serving`.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Shop {
    /// Opens a shop; it answers from the moment this returns.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let listener = server::listen(options.listen)?;
        let addr = listener.local_addr()?;
        let visits = Visits::new();
        let revision = Arc::new(AtomicU64::new(options.revision));
        let (stop, stopped) = oneshot::channel();
        let robots = Arc::new(Mutex::new((404, String::new())));
        let books = admin::Books { visits: visits.clone(), revision: revision.clone(), robots: robots.clone() };
        let counter = server::Counter::new(books);
        let serving = tokio::spawn(server::serve(listener, counter, stopped));
        Ok(Self { addr, visits, revision, robots, stop, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path (which begins with `/`), by address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The URL of a path at a host name that was pointed to this shop, such as `shop-1.test`.
    #[must_use]
    pub fn url_at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.addr.port())
    }

    /// The count of its visits.
    #[must_use]
    pub fn visits(&self) -> &Visits {
        &self.visits
    }

    /// Sets the price revision: above 0, every tenth product has another price than before
    /// ([`Product::at_revision`]).
    pub fn set_revision(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// Sets what `/robots.txt` answers: its status and its text.
    pub fn set_robots(&self, status: u16, text: &str) {
        *self.robots.lock().unwrap_or_else(PoisonError::into_inner) = (status, text.to_owned());
    }

    /// Closes the shop, and returns when its port is free and its connections are closed.
    pub async fn stop(self) {
        drop(self.stop);
        // The task neither panics nor is it aborted; were it so, the shop would be closed as well.
        let _ = self.serving.await;
    }
}
