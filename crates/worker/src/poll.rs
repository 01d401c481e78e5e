//! The one part of a worker that asks the database how things are: host limits, cancelled runs and whether it takes
//! rows, once a second on one connection. Everybody else reads the snapshot.

use std::sync::Arc;
use std::time::Duration;

use fetchline_store::{Class, Cursor, HostLimit, Reading, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::dependencies::{Dependencies, FOREVER, GaveUp};
use crate::failure::chain;
use crate::snapshot::{CancelledParts, KnownLimits, Snapshot, Snapshots};

/// What an operator changes is in force everywhere within two seconds.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// In how many of these rounds slowed hosts are looked at, for whether they may have more: one in so many.
const RECOVER_EVERY: u32 = 5;
/// Asks, and publishes what has changed.
pub(crate) struct Poller {
    pub(crate) store: Arc<Store>,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
}

impl Poller {
    /// Asks until the database answers for the first time: nothing may be fetched before. `None` at a stop.
    pub(crate) async fn begin(&self, stop: &CancellationToken) -> Option<Cursor> {
        let mut attempts = self.dependencies.attempts(FOREVER, stop);
        loop {
            match self.store.poll(None).await {
                Ok(reading) => return Some(self.publish(reading)),
                Err(error) => match attempts.failed(&error).await {
                    Ok(()) | Err(GaveUp::Held) => {}
                    Err(GaveUp::Stopped) => return None,
                },
            }
        }
    }

    /// Asks again and again, until `end`. While the database is away, what is known stays in force.
    pub(crate) async fn follow(self, mut cursor: Cursor, end: CancellationToken) {
        for round in 1_u32.. {
            tokio::select! {
                () = tokio::time::sleep(POLL_EVERY) => {}
                () = end.cancelled() => return,
            }
            match self.store.poll(Some(&cursor)).await {
                Ok(reading) => cursor = self.publish(reading),
                // The server did not answer a simple question in time. For others, who use the connections or the rows,
                // it will tell.
                Err(error) if matches!(error.class(), Class::Slow) => self.dependencies.database_fails(&chain(&error)),
                Err(error) => self.dependencies.report(&error),
            }
            if round.is_multiple_of(RECOVER_EVERY)
                && self.slows_any_host()
                && let Err(error) = self.store.let_hosts_recover().await
            {
                debug!(cause = chain(&error), "slowed hosts cannot be looked at");
            }
        }
    }

    fn slows_any_host(&self) -> bool {
        let limits = self.snapshots.look(|snapshot| snapshot.limits.clone());
        limits.values().any(|(limit, _)| limit.slowed.is_some())
    }

    fn publish(&self, reading: Reading) -> Cursor {
        let Reading { limits, cancelled, cancelled_is_whole, cursor } = reading;
        self.dependencies.database_answers();
        self.snapshots.update(|snapshot| {
            let limits_changed = take_over_limits(snapshot, limits);
            limits_changed | take_over_cancelled(snapshot, cancelled, cancelled_is_whole)
        });
        cursor
    }
}

/// Takes over the parts that were cancelled, all of them or some more; whether there are others than before.
fn take_over_cancelled(snapshot: &mut Snapshot, cancelled: Vec<(String, String)>, is_whole: bool) -> bool {
    if cancelled.is_empty() && !is_whole {
        return false;
    }
    let mut parts = if is_whole { CancelledParts::default() } else { (*snapshot.cancelled).clone() };
    cancelled.into_iter().for_each(|(run, part)| _ = parts.add(run, part));
    if parts == *snapshot.cancelled {
        return false;
    }
    info!(runs = parts.runs(), "runs were cancelled: what waits of them is recorded as such, and not fetched");
    snapshot.cancelled = Arc::new(parts);
    true
}

/// Takes over the limits that are news; whether there are any.
fn take_over_limits(snapshot: &mut Snapshot, limits: Vec<HostLimit>) -> bool {
    let (now, mut changed) = (Instant::now(), false);
    for limit in limits {
        if !is_news(&limit, &snapshot.limits) {
            continue;
        }
        let known = Arc::make_mut(&mut snapshot.limits);
        let interval_ms = limit.interval().map(|interval| interval.as_millis());
        let (host, paused) = (limit.host.clone(), limit.paused);
        match holds(&limit) {
            true => _ = known.insert(host.as_str().into(), (limit, now)),
            false => _ = known.remove(host.as_str()),
        }
        info!(host, paused, interval_ms, "the limits of a host have changed");
        changed = true;
    }
    changed
}

fn holds(limit: &HostLimit) -> bool {
    limit.paused || limit.cool_down.is_some_and(|wait| !wait.is_zero()) || limit.interval().is_some()
}

/// Whether that is not known yet. What is left of a cool-down is less from reading to reading; where it ends counts.
fn is_news(limit: &HostLimit, known: &KnownLimits) -> bool {
    const SAME_END: Duration = Duration::from_millis(500);
    let Some((known, read_at)) = known.get(limit.host.as_str()) else { return holds(limit) };
    let left = known.cool_down.map(|wait| wait.saturating_sub(read_at.elapsed()));
    let same_end = match (left.filter(|left| !left.is_zero()), limit.cool_down) {
        (Some(left), Some(cool_down)) => left.abs_diff(cool_down) < SAME_END,
        (None, None) => true,
        _ => false,
    };
    limit.interval() != known.interval() || limit.paused != known.paused || limit.slowed != known.slowed || !same_end
}
