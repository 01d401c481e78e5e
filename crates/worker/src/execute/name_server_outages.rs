//! Reports to the operator that no name server answers: meanwhile tasks are only deferred.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use tracing::warn;

use crate::control::news::{Fact, NewsHandle};
use crate::fetch::failure::Fault;
use crate::log_interval::is_due;

/// Reports outages of the name servers.
pub(crate) struct NameServerOutages {
    news: NewsHandle,
    logged_at: Mutex<Option<Instant>>,
}

impl NameServerOutages {
    pub(crate) fn new(news: NewsHandle) -> Self {
        Self { news, logged_at: Mutex::default() }
    }

    /// Reports that a task is deferred, if no name server answers for any host, or the proxy is not
    /// found.
    pub(super) fn noticed(&self, fault: Fault, error: &str) {
        if !matches!(fault, Fault::NameServers | Fault::Proxy) {
            return;
        }
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(&mut logged_at) {
            return;
        }
        if fault == Fault::Proxy {
            return warn!(
                error,
                "the proxy is not found; tasks are deferred until it is (--proxy)"
            );
        }
        warn!(error, "no name server answers for any host; tasks are deferred until one does");
        let sentence = format!(
            "no name server answers for any host ({error}): tasks are deferred until one does, \
             which costs no attempt"
        );
        let name = "name servers away".to_owned();
        self.news.report(Fact::new("name_servers_away", name, sentence));
    }
}
