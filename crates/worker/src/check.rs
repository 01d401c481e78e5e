//! Checks, once, what a worker needs from its machine and from the network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fetchline_queue::{Address, FetchRequest};
use fetchline_store::Outcome;
use url::Url;

use crate::config::WorkerConfig;
use crate::error::Error;
use crate::error_chain::chain;
use crate::execute::extraction::without_credentials;
use crate::fetch::Config as FetchConfig;
use crate::fetch::dns::{KnownNames, ask_each};
use crate::fetch::fetcher::Fetcher;
use crate::fetch::resolver::Resolver;
use crate::fetch::tls;
use crate::observe::metrics::Metrics;
use crate::schedule::Place;

/// The result of a trial fetch.
#[derive(Clone, Debug)]
pub struct TrialFetch {
    /// As in a row of `fetches`.
    pub outcome: Outcome,
    /// The status of the last response.
    pub status: Option<u16>,
    /// Why the outcome is not `ok`.
    pub error: Option<String>,
    /// The URL of the last request, without credentials.
    pub url: Url,
    /// The header `Content-Type` of the last response.
    pub content_type: Option<String>,
    /// The body after decompression; `None` where it was not received to its end.
    pub body: Option<Vec<u8>>,
    /// From the start to the end of the body.
    pub elapsed: Duration,
}

/// A name server, and how long its answer took, or why there was none.
pub type AskedServer = (SocketAddr, Result<Duration, String>);

/// The certificate authorities of the system.
#[derive(Clone, Debug)]
pub struct SystemAuthorities {
    /// How many there are.
    pub count: usize,
    /// Which files cannot be read.
    pub problems: Vec<String>,
}

/// Whether the certificate authorities of the system and of the settings can be used.
///
/// # Errors
///
/// [`Error::Client`].
pub fn check_authorities(config: &FetchConfig) -> Result<SystemAuthorities, Error> {
    tls::client_config(&config.authorities, config.memory_budget)
        .map_err(|error| Error::Client(error.into()))?;
    let found = rustls_native_certs::load_native_certs();
    let problems = found.errors.iter().map(|error| chain(error)).collect();
    Ok(SystemAuthorities { count: found.certs.len(), problems })
}

/// Asks each name server alone for the addresses of a host.
///
/// # Errors
///
/// [`Error::Resolver`] where the system's configuration cannot be read.
pub async fn ask_name_servers(config: &FetchConfig, host: &str) -> Result<Vec<AskedServer>, Error> {
    let counters = Metrics::new(&[]).dns();
    ask_each(config, host, counters).await.map_err(|error| Error::Resolver(error.into()))
}

/// Fetches a page as a worker does, apart from limits and robots.txt. Stores nothing.
///
/// # Errors
///
/// [`Error::Resolver`] or [`Error::Client`].
pub async fn trial_fetch(config: &WorkerConfig, address: &Address) -> Result<TrialFetch, Error> {
    let WorkerConfig { fetch, schedule, hold, .. } = config;
    let names = KnownNames::new(fetch, Metrics::new(&[]).dns());
    let names = names.map_err(|error| Error::Resolver(error.into()))?;
    let resolver = Arc::new(Resolver::new(names));
    let fetcher = Fetcher::new(fetch, schedule.concurrency, *hold, resolver, None)
        .map_err(|error| Error::Client(error.into()))?;
    let request = FetchRequest::get(address.clone());
    let mut place = Place::unlimited(address.host());
    let began = Instant::now();
    let fetched = fetcher.fetch(&request, "trial", None, &mut place).await;
    let elapsed = began.elapsed();
    let Ok(answer) = fetched else { unreachable!("the place may always advance") };
    Ok(TrialFetch {
        outcome: answer.outcome,
        status: answer.status,
        error: answer.error,
        url: without_credentials(answer.redirected_to.as_ref().unwrap_or(address)).into_owned(),
        content_type: answer.content_type,
        body: answer.body,
        elapsed,
    })
}
