//! Host names and their addresses: what name servers say, for how long it is known, and what to do
//! when they do not answer.
//!
//! The wire format, UDP and TCP are those of hickory. When to ask which server, how long to wait,
//! and what to remember is decided here: hickory's resolver waits for A and AAAA both, asks for
//! AAAA although the hosts file has an A record, fails all that comes while many queries are under
//! way, drops a slow answer when it asks again, and forgets addresses whose name servers are away.

mod host_lookup;
mod known_names;
mod name_server;
mod name_servers;
mod reply;
mod trial;

pub(crate) use known_names::{KnownNames, Resolution};
pub(super) use name_servers::has_route;
pub(crate) use trial::ask_each;

use metrics::Counter;

/// What is counted.
#[derive(Clone)]
pub(crate) struct Counters {
    /// Lookups of a host that the cache did not answer, by their result.
    pub(crate) found: Counter,
    pub(crate) absent: Counter,
    pub(crate) unanswered: Counter,
    /// Lookups that ended with older addresses, since no name server answered.
    pub(crate) stale: Counter,
    /// Lookups that the cache answered.
    pub(crate) cached: Counter,
    /// Queries sent, repeated ones included.
    pub(crate) queries: Counter,
    /// Queries that were repeated, since no answer had come.
    pub(crate) repeated: Counter,
    /// Questions that no name server answered in time.
    pub(crate) timeouts: Counter,
}

#[cfg(test)]
impl Counters {
    pub(crate) fn none() -> Self {
        let [found, absent, unanswered, stale] = [const { Counter::noop() }; 4];
        let [cached, queries, repeated, timeouts] = [const { Counter::noop() }; 4];
        Self { found, absent, unanswered, stale, cached, queries, repeated, timeouts }
    }
}

#[cfg(test)]
mod tests;
