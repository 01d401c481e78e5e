//! How many connections a client may have, which the client library does not say.

use std::time::Duration;

use tokio::time::Instant;

use crate::fetch::client::IDLE;
use crate::fetch::connection::ConnectionCount;

/// No connection stays idle for longer: the library looks for old ones once in the time after which
/// they are old.
const WINDOW: Duration = Duration::from_secs(2 * IDLE.as_secs());

/// An upper bound of the connections of a client, by its requests.
///
/// A request makes a connection if none is idle. There are therefore as many as there were requests
/// at once, and in addition the spare ones: those whose request got another one that became idle
/// meanwhile. Connections that the host has closed are not seen. They count until the window after
/// the next one begins.
pub(super) struct Estimate {
    made: ConnectionCount,
    under_way: usize,
    /// The most requests under way in this window and in the one before.
    most: [usize; 2],
    /// The spare connections when this window and the one before began.
    spare_before: [usize; 2],
    began: Instant,
}

impl Estimate {
    pub(super) fn new(made: ConnectionCount) -> Self {
        let (most, spare_before) = ([0; 2], [0; 2]);
        Self { made, under_way: 0, most, spare_before, began: Instant::now() }
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.advance();
        self.under_way += 1;
        self.most[0] = self.most[0].max(self.under_way);
    }

    /// A request has ended. Returns how many are left.
    pub(super) fn end(&mut self) -> usize {
        self.advance();
        self.under_way -= 1;
        self.under_way
    }

    /// How many idle connections there may be, by the last beginning or end. An unused client
    /// counts as one at least, so that clients are bounded, too.
    pub(super) fn idle(&self) -> usize {
        let [this, before] = self.most;
        let spare = self.made.spare() - self.spare_before[1];
        let connections = self.made.get().min(this.max(before) + spare);
        match self.under_way {
            0 => connections.max(1),
            in_use => connections.saturating_sub(in_use),
        }
    }

    /// Begins a window if it is time.
    fn advance(&mut self) {
        let passed = self.began.elapsed();
        if passed < WINDOW {
            return;
        }
        // Nothing began or ended in the windows that were missed.
        let before = if passed < 2 * WINDOW { self.most[0] } else { self.under_way };
        self.most = [self.under_way, before];
        let spare = self.made.spare();
        let spare_before = if passed < 2 * WINDOW { self.spare_before[0] } else { spare };
        self.spare_before = [spare, spare_before];
        self.began = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many requests at once, each of which makes a connection.
    fn at_once(estimate: &mut Estimate, requests: usize) {
        (0..requests).for_each(|_| estimate.begin());
        (0..requests).for_each(|_| estimate.made.add(true));
        (0..requests).for_each(|_| _ = estimate.end());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_count_as_long_as_they_may_be_idle() {
        let mut estimate = Estimate::new(ConnectionCount::default());
        at_once(&mut estimate, 10);
        assert_eq!(estimate.idle(), 10);
        // The host closes each connection after its request.
        for _ in 0..29 {
            tokio::time::advance(Duration::from_secs(1)).await;
            at_once(&mut estimate, 1);
            assert_eq!(estimate.idle(), 10);
        }
        for _ in 29..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            at_once(&mut estimate, 1);
        }
        assert_eq!(estimate.idle(), 1);
        at_once(&mut estimate, 10);
        tokio::time::advance(Duration::from_secs(60)).await;
        at_once(&mut estimate, 1);
        assert_eq!(estimate.idle(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_beside_a_request_count() {
        let mut estimate = Estimate::new(ConnectionCount::default());
        estimate.begin();
        at_once(&mut estimate, 9);
        assert_eq!(estimate.idle(), 8, "its own connection is not made yet");
        estimate.made.add(true);
        at_once(&mut estimate, 9);
        assert_eq!(estimate.idle(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn spare_connections_count_in_addition() {
        let mut estimate = Estimate::new(ConnectionCount::default());
        at_once(&mut estimate, 1);
        (0..3).for_each(|_| estimate.made.add(false));
        assert_eq!(estimate.idle(), 4);
        tokio::time::advance(WINDOW).await;
        at_once(&mut estimate, 1);
        assert_eq!(estimate.idle(), 4);
        tokio::time::advance(WINDOW).await;
        at_once(&mut estimate, 1);
        assert_eq!(estimate.idle(), 1);
    }
}
