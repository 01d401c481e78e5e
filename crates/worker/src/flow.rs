//! How it goes on, in the log: one line every ten seconds while there is anything to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::settle::Session;
use crate::summary::{SoFar, Tally};

/// Often enough to see that it goes on, and seldom enough for logs that are kept.
const EVERY: Duration = Duration::from_secs(10);

/// Tells until `end`. Counts are those since the line before.
pub(crate) async fn tell(tally: Arc<Tally>, session: watch::Receiver<Option<Session>>, end: CancellationToken) {
    let mut told = SoFar::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = end.cancelled() => return,
        }
        let now = tally.so_far();
        let held = session.borrow().as_ref().map_or(0, Session::held);
        if now == told && held == 0 {
            continue;
        }
        let (ok, failed) = (now.ok - told.ok, now.failed - told.failed);
        info!(
            ok,
            failed,
            retried = now.retried - told.retried,
            put_off = now.parked - told.parked,
            rows_per_second = (ok + failed) / EVERY.as_secs(),
            held,
            "working"
        );
        told = now;
    }
}
