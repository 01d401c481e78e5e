//! Keeps the exchange and the queues: checks now and then that they exist and that their leaders
//! answer, and restores bindings.

use std::time::Duration;

use fetchline_queue::lapin::Connection;
use fetchline_queue::{Broker, Error, Topology};
use tracing::{debug, info, warn};

use super::dependencies::Dependencies;
use super::news::{Fact, NewsHandle};
use crate::error_chain::chain;

/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// What is checked, and who hears of it.
pub(super) struct TopologyKeeper<'a> {
    pub(super) connection: &'a Connection,
    pub(super) broker: &'a Broker,
    pub(super) dependencies: &'a Dependencies,
    pub(super) news: &'a NewsHandle,
}

impl TopologyKeeper<'_> {
    /// Checks until the connection is lost. Declares missing queues; a queue that this worker may
    /// not declare makes it unready, and so does one whose leader does not answer.
    pub(super) async fn keep(&self) -> Result<(), Error> {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            match self.broker.topology().declare(self.connection).await {
                Ok(created) => {
                    if self.leaders_answer().await? {
                        self.is_whole();
                    }
                    created.iter().for_each(|what| self.has_declared(what));
                    self.restore_bindings().await;
                }
                Err(error @ Error::Missing(_)) => self.lacks(&error),
                Err(error) if error.is_answer() => {
                    debug!(cause = chain(&error), "cannot check the exchange and the queues");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_whole(&self) {
        if self.dependencies.topology_is(None) {
            let sentence = "the exchange and all queues are usable again";
            info!("{sentence}");
            self.report("topology_restored", "topology restored".to_owned(), sentence.to_owned());
        }
    }

    fn has_declared(&self, what: &str) {
        warn!(what, "was missing; this worker has declared it again");
        let sentence = format!("{what} was missing; a worker has declared it again");
        self.report("topology_restored", format!("topology restored {what}"), sentence);
    }

    fn lacks(&self, error: &Error) {
        let cause = chain(error);
        if self.dependencies.topology_is(Some(&cause)) {
            warn!(cause, "the exchange or a queue is missing; retrying until it exists");
            self.report("topology_missing", format!("topology missing {cause}"), cause);
        }
    }

    /// Whether the queues that workers consume have leaders. The worker is not ready while one has
    /// none.
    async fn leaders_answer(&self) -> Result<bool, Error> {
        for key in [Topology::RUNS, Topology::URLS] {
            let counts = self.broker.known_counts(self.connection, key).await;
            let Err(error @ Error::NoLeader(_)) = counts else {
                counts?;
                continue;
            };
            let cause = chain(&error);
            if self.dependencies.topology_is(Some(&cause)) {
                warn!(cause, "a queue has no leader; waiting until the broker has elected one");
                self.report("topology_missing", format!("topology silent {cause}"), cause);
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Restores the bindings, if it is this worker's turn. Binding is a transaction of the whole
    /// cluster, so about one worker of a fleet does it at a time. Each is a consumer of the queue
    /// of part reports; without its leader the cluster is in trouble, and needs no transactions.
    async fn restore_bindings(&self) {
        let topology = self.broker.topology();
        let counts = topology.counts(self.connection, Topology::RUNS).await;
        let workers = counts.ok().flatten().map_or(0, |counts| counts.consumers);
        if workers > 0
            && rand::random_range(0..workers) == 0
            && let Err(error) = topology.restore_bindings(self.connection, &[]).await
        {
            debug!(cause = chain(&error), "cannot restore the bindings");
        }
    }

    fn report(&self, kind: &'static str, subject: String, sentence: String) {
        self.news.report(Fact::new(kind, subject, sentence));
    }
}
