//! The settings of fetches.

use std::net::SocketAddr;
use std::time::Duration;

use fetchline_queue::RESERVED_HEADERS;
use http::header::{ACCEPT_LANGUAGE, COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::body;
use super::proxy::Proxy;
use super::robots::product_token;
use super::signing::Signing;
use super::tls::Authorities;
use crate::problem::Problems;

/// The longest time for name servers: messages are unacked meanwhile.
const MAX_DNS_TIMEOUT: Duration = Duration::from_secs(60);
/// The most queries at once: each has a socket.
const MAX_DNS_CONCURRENCY: usize = 10_000;

/// The settings of fetches.
#[derive(Clone, Debug)]
pub struct Config {
    /// The time for a whole fetch, redirects and body included.
    pub timeout: Duration,
    /// The time for connecting, TLS included.
    pub connect_timeout: Duration,
    /// The time that name servers have to answer, besides `timeout` and `connect_timeout`.
    pub dns_timeout: Duration,
    /// The most queries to name servers at once.
    pub dns_concurrency: usize,
    /// The name servers; those of the system where it is empty.
    pub dns_servers: Vec<SocketAddr>,
    /// The longest silence of a site, before a response begins and within its body; `None` for as
    /// long as `timeout`.
    pub read_timeout: Option<Duration>,
    /// The largest body after decompression, in bytes.
    pub max_body: usize,
    /// The memory for bodies that are read or wait for their commit, and for held messages, in
    /// bytes.
    pub memory_budget: usize,
    /// Certificate authorities that are trusted besides those of the system.
    pub authorities: Authorities,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Whether the worker obeys robots.txt.
    pub robots: RobotsPolicy,
    /// The product token whose rules in robots.txt apply; `None` for that of `user_agent`.
    pub robots_token: Option<String>,
    /// Networks that the worker may fetch from although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// The proxy for every fetch. Proxies of the environment are ignored.
    pub proxy: Option<Proxy>,
    /// How the worker looks to sites, besides its `user_agent`.
    pub visitor: Visitor,
}

/// How the worker looks to sites.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// How long cookies live.
    pub cookies: Cookies,
    /// The header `Accept-Language`; `None` to send none.
    pub accept_language: Option<HeaderValue>,
    /// How requests are signed; `None` to sign none.
    pub signing: Option<Signing>,
    /// Further headers of every request, to all sites. A task's header of the same name replaces
    /// one.
    pub headers: HeaderMap,
}

/// How long cookies live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Cookies {
    /// As long as a fetch with its redirects
    #[default]
    Fetch,
    /// As long as the worker: the tasks of a run at a host share their cookies
    Run,
}

/// Headers that `headers` must not contain since other settings set them, besides those that no
/// request may set.
const SET_OTHERWISE: [HeaderName; 3] = [COOKIE, USER_AGENT, ACCEPT_LANGUAGE];

/// Whether the worker obeys robots.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum RobotsPolicy {
    /// Do not request robots.txt: the URLs are your own
    Ignore,
    /// Do not fetch what robots.txt forbids. One worker requests it for all, once a day
    Obey,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            dns_timeout: Duration::from_secs(10),
            dns_concurrency: 64,
            dns_servers: Vec::new(),
            read_timeout: None,
            max_body: 10 << 20,
            memory_budget: 256 << 20,
            authorities: Authorities::default(),
            user_agent: concat!("fetchline/", env!("CARGO_PKG_VERSION")).to_owned(),
            robots: RobotsPolicy::Ignore,
            robots_token: None,
            allowed_networks: Vec::new(),
            proxy: None,
            visitor: Visitor::default(),
        }
    }
}

impl Config {
    /// The product token whose rules in robots.txt apply.
    pub(crate) fn product_token(&self) -> Option<&str> {
        self.robots_token.as_deref().or_else(|| product_token::find(&self.user_agent))
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        problems.require(!self.timeout.is_zero(), "timeout", "is 0: every fetch would fail");
        let read_timeout = self.read_timeout.unwrap_or(self.timeout);
        for (setting, part) in
            [("connect_timeout", self.connect_timeout), ("read_timeout", read_timeout)]
        {
            let is_within = !part.is_zero() && part <= self.timeout;
            problems.require(is_within, setting, "has to be above 0 and at most `timeout`");
        }
        let is_set = |name: &&HeaderName| self.visitor.headers.contains_key(*name);
        for name in RESERVED_HEADERS.iter().chain(&SET_OTHERWISE).filter(is_set) {
            let problem = format!("has {name}, which the worker sets itself");
            problems.require(false, "header", problem);
        }
        problems.require(
            (Duration::from_secs(1)..=MAX_DNS_TIMEOUT).contains(&self.dns_timeout),
            "dns_timeout",
            "has to be between 1 s and 60 s",
        );
        problems.require(
            (2..=MAX_DNS_CONCURRENCY).contains(&self.dns_concurrency),
            "dns_concurrency",
            "has to be between 2 and 10,000: a look-up asks for IPv4 and IPv6 at once",
        );
        problems.require(
            self.robots_token.as_deref().is_none_or(product_token::is_valid),
            "robots_token",
            "has to be letters, hyphens and underscores: RFC 9309 allows no others",
        );
        problems.require(
            self.robots == RobotsPolicy::Ignore || self.product_token().is_some(),
            "user_agent",
            "names no crawler by which rules of robots.txt could address it, only browsers or \
             nothing: begin it with a name, such as example-bot/1.0, or set `robots_token`",
        );
        let least = body::least_memory(self.max_body);
        problems.require(
            self.memory_budget >= least,
            "memory_budget",
            format!(
                "is {}: with a `max_body` of {} it has to be at least {}",
                in_mib(self.memory_budget),
                in_mib(self.max_body),
                in_mib(least)
            ),
        );
    }
}

/// A size, rounded up.
fn in_mib(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
