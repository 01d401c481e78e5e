//! The progress log: one line every ten seconds while the worker has anything to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::observe::metrics::{Metrics, Totals};
use crate::settle::Session;

/// Often enough to see progress, and rarely enough for logs that are kept.
const EVERY: Duration = Duration::from_secs(10);

/// Logs until `end`. A line counts what happened since the previous one.
pub(crate) async fn run(
    metrics: Arc<Metrics>,
    session: watch::Receiver<Option<Session>>,
    end: CancellationToken,
) {
    let mut logged = Totals::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = end.cancelled() => return,
        }
        let now = metrics.totals();
        let held = session.borrow().as_ref().map_or(0, Session::held);
        if now == logged && held == 0 {
            continue;
        }
        let (ok, failed) = (now.ok - logged.ok, now.failed - logged.failed);
        let unchanged = now.unchanged - logged.unchanged;
        info!(
            ok,
            unchanged,
            failed,
            retried = now.retried - logged.retried,
            deferred = now.deferred - logged.deferred,
            rows_per_second = (ok + unchanged + failed) / EVERY.as_secs(),
            held,
            "working"
        );
        logged = now;
    }
}
