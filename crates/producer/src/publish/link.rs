//! The connection to the broker.

use std::task::Poll;
use std::time::Duration;

use fetchline_queue::{
    Broker, ConfirmChannel, ConnectionBlocked, Error, Topology, Undeclared, watch_blocked,
};
use lapin::Connection;
use tokio::sync::watch;

use super::reporter::Reporter;
use crate::progress::Event;

/// How often a blocked connection is reported.
const BLOCKED_INTERVAL: Duration = Duration::from_secs(10);

/// Two channels in turn: while the broker confirms the round of one, the other sends its own.
pub(super) struct Link {
    lanes: [ConfirmChannel; 2],
    blocked: watch::Receiver<Option<ConnectionBlocked>>,
    connection: Connection,
}

impl Link {
    pub(super) async fn open(broker: &Broker) -> Result<Self, Error> {
        let connection = broker.connect().await?;
        let topology = broker.topology();
        let lanes = [
            ConfirmChannel::open(&connection, topology).await?,
            ConfirmChannel::open(&connection, topology).await?,
        ];
        Ok(Self { lanes, blocked: watch_blocked(&connection), connection })
    }

    /// Declares what is missing as far as the user may. Returns what is missing then.
    /// With `binds_all` also restores the bindings of what exists.
    pub(super) async fn declare(
        &self,
        topology: &Topology,
        binds_all: bool,
    ) -> Result<Undeclared, Error> {
        topology.declare_permitted(&self.connection, binds_all).await
    }

    /// Checks that published tasks reach their queue, and only that.
    pub(super) async fn check(&self, topology: &Topology) -> Result<(), Error> {
        topology.check_publishing(&self.connection).await
    }

    /// The lane of a round.
    pub(super) fn lane(&self, round: usize) -> &ConfirmChannel {
        &self.lanes[round % 2]
    }

    /// How many tasks are ready in the queue.
    pub(super) async fn ready_tasks(&self, topology: &Topology) -> Result<u32, Error> {
        let counts = topology.counts(&self.connection, Topology::URLS).await?;
        // A queue that does not exist yet is empty.
        Ok(counts.map_or(0, |counts| counts.ready))
    }

    pub(super) fn is_open(&self) -> bool {
        self.lanes.iter().all(ConfirmChannel::is_open)
    }

    /// Whether the broker blocks the connection now.
    pub(super) fn blocked(&self) -> watch::Receiver<Option<ConnectionBlocked>> {
        self.blocked.clone()
    }
}

/// Runs `work`, and reports while the broker blocks the connection. `blocked` is `None` if there is
/// no connection.
pub(super) async fn report_blocked<T>(
    blocked: Option<watch::Receiver<Option<ConnectionBlocked>>>,
    reporter: &Reporter<'_>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    // Most work is done at once, and then the state of the connection does not matter.
    let at_once = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    let mut blocked = match (at_once, blocked) {
        (Poll::Ready(done), _) => return done,
        (Poll::Pending, None) => return work.await,
        (Poll::Pending, Some(blocked)) => blocked,
    };
    let mut interval = tokio::time::interval(BLOCKED_INTERVAL);
    let mut was_blocked = false;
    let done = loop {
        let state = blocked.borrow_and_update().clone();
        reporter.progress.set_blocked(state.clone());
        if let Some(ConnectionBlocked { reason, since }) = state {
            was_blocked = true;
            (reporter.observer)(Event::Blocked { reason: &reason, duration: since.elapsed() });
            interval.reset();
        }
        tokio::select! {
            biased;
            done = &mut work => break done,
            changed = blocked.changed() => if changed.is_err() {
                // The connection is closed, and the work fails for it.
                break work.await;
            },
            _ = interval.tick() => {}
        }
    };
    reporter.progress.set_blocked(None);
    if was_blocked {
        (reporter.observer)(Event::Resumed);
    }
    done
}
