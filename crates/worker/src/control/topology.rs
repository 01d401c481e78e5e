//! Keeps the exchange and the queues: checks now and then that they exist and that their leaders
//! answer, and restores bindings.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetchline_queue::lapin::Connection;
use fetchline_queue::{Broker, Error, Inspection, Topology};
use tracing::{debug, info, warn};

use super::dependencies::Dependencies;
use super::news::{Fact, NewsHandle};
use crate::error_chain::chain;

/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The name of the fact that all problems have ended.
const RESTORED: &str = "topology restored";
/// Two workers that find the same thing missing at the same time both declare it.
const SAME: Duration = Duration::from_secs(5);
/// How often the same difference is reported.
const ONE_DAY: Duration = Duration::from_secs(86_400);

/// What this worker knows about the exchange and the queues; it outlives connections.
#[derive(Default)]
pub(super) struct TopologyState {
    /// The name of the control stream, if it is no stream.
    no_stream: Option<String>,
    /// The name of the fact that was reported last, and has not ended.
    problem: Option<String>,
}

/// What is checked, and where problems are reported.
pub(super) struct TopologyKeeper<'a> {
    pub(super) connection: &'a Connection,
    pub(super) broker: &'a Broker,
    pub(super) dependencies: &'a Dependencies,
    pub(super) news: &'a NewsHandle,
    pub(super) state: &'a Mutex<TopologyState>,
}

/// Reports that something was missing, and that it exists again.
pub(crate) fn report_declared(news: &NewsHandle, what: &str) {
    warn!(what, "was missing; this worker has declared it again");
    let sentence = format!("{what} was missing; a worker has declared it again");
    let fact = Fact::new("topology_restored", format!("topology restored {what}"), sentence);
    // No other worker notices it.
    news.report(fact.once_in(SAME));
}

/// Reports how the exchange and the queues differ from what a worker declares.
pub(crate) fn report_differences(news: &NewsHandle, inspection: &Inspection) {
    for difference in &inspection.differences {
        let text = difference.to_string();
        warn!("{text}");
        let fact = Fact::new("topology_differs", text.clone(), text);
        news.report(fact.once_in(ONE_DAY));
    }
}

impl TopologyKeeper<'_> {
    /// Checks until the connection is lost. Declares missing queues; a queue that this worker may
    /// not declare makes it unready, and so does one whose leader does not answer, or a control
    /// stream that is no stream.
    pub(super) async fn keep(&self) -> Result<(), Error> {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            match self.declare().await {
                Ok(()) => {
                    if self.leaders_answer().await? && self.can_read_directives() {
                        self.record_complete();
                    }
                }
                Err(error @ Error::Missing(_)) => {
                    self.record_missing(&error);
                }
                Err(error) if error.is_answer() => {
                    debug!(cause = chain(&error), "cannot check the exchange and the queues");
                }
                Err(error) => return Err(error),
            }
            // Also while a queue is missing: the others work.
            self.restore_bindings().await;
        }
    }

    async fn declare(&self) -> Result<(), Error> {
        let topology = self.broker.topology();
        let flow = topology.declare(self.connection).await;
        flow.iter().flatten().for_each(|what| report_declared(self.news, what));
        // A missing queue of the flow says more than one of these, but does not keep them missing.
        let sides = topology.declare_sides(self.connection).await;
        sides.iter().flatten().for_each(|what| report_declared(self.news, what));
        flow.and(sides).map(drop)
    }

    /// Records whether the control stream is a stream.
    pub(super) fn record_stream(&self, error: Option<&Error>) {
        self.state().no_stream = match error {
            Some(Error::NotAStream(queue)) => Some(queue.clone()),
            _ => None,
        };
        self.can_read_directives();
    }

    fn can_read_directives(&self) -> bool {
        let no_stream = self.state().no_stream.clone();
        let Some(queue) = no_stream else { return true };
        self.record_missing(&Error::NotAStream(queue));
        false
    }

    fn record_complete(&self) {
        let flipped = self.dependencies.set_topology(None);
        let ended = self.state().problem.take();
        if flipped || ended.is_some() {
            let sentence = "the exchange and all queues are usable again";
            info!("{sentence}");
            let fact = Fact::new("topology_restored", RESTORED.to_owned(), sentence.to_owned());
            // It is news again if the problem was.
            self.news.report(match ended {
                Some(problem) => fact.again_after(problem),
                None => fact,
            });
        }
    }

    /// Makes the worker unready, and reports why if that is new.
    fn record_missing(&self, error: &Error) {
        let cause = chain(error);
        let (kind, name, sentence) = match error {
            Error::NotAStream(_) => (
                "topology_differs",
                "topology differs",
                "the control stream is no stream; working without directives until it is one",
            ),
            Error::NoLeader(_) => (
                "topology_missing",
                "topology silent",
                "a queue has no leader; waiting until the broker has elected one",
            ),
            _ => (
                "topology_missing",
                "topology missing",
                "the exchange or a queue is missing; retrying until it exists",
            ),
        };
        self.dependencies.set_topology(Some(&cause));
        let subject = format!("{name} {cause}");
        let known = self.state().problem.replace(subject.clone());
        if known.as_ref() != Some(&subject) {
            warn!(cause, "{sentence}");
            self.news.report(Fact::new(kind, subject, cause).again_after(RESTORED.to_owned()));
        }
    }

    fn state(&self) -> MutexGuard<'_, TopologyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.record_missing(&error);
            return Ok(false);
        }
        Ok(true)
    }

    /// Restores the bindings, at random once per fleet and check on average, since binding is a
    /// transaction of the whole cluster. The consumers of the queue of part reports are the
    /// workers; if its leader does not answer, the cluster is spared.
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
}
