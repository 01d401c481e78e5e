//! Polls the database once a second, on one connection, for host limits, cancelled parts and its
//! health. All other parts of the worker read the snapshot.

use std::sync::Arc;
use std::time::Duration;

use fetchline_store::{Class, Cursor, HostLimit, PollResult, Selection, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::answers::{cancelled_name, cancelled_sentence};
use super::dependencies::{Dependencies, FOREVER, GaveUp};
use super::host_facts::HostFacts;
use super::news::{Fact, NewsHandle};
use super::snapshot::{CancelledParts, KnownLimits, Snapshot, Snapshots};
use crate::error_chain::chain;

/// A change of an operator is in force everywhere within two seconds.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Once in this many polls, the reduced rates of hosts may rise.
const RECOVER_EVERY: u32 = 5;
/// Two cool-downs that end within this time are the same.
const SAME_END: Duration = Duration::from_millis(500);

/// Polls, and publishes changes.
pub(crate) struct Poller {
    pub(crate) store: Arc<Store>,
    pub(crate) snapshots: Snapshots,
    pub(crate) dependencies: Dependencies,
    pub(crate) news: NewsHandle,
}

impl Poller {
    /// Polls until the database answers for the first time, since nothing may be fetched before.
    /// Returns `None` at a stop.
    pub(crate) async fn begin(&self, stop: &CancellationToken) -> Option<Cursor> {
        let mut repeater = self.dependencies.repeater(FOREVER, stop);
        loop {
            match self.store.poll(None).await {
                // What is in force already is no news.
                Ok(reading) => return Some(self.publish(reading).0),
                Err(error) => match repeater.failed(&error).await {
                    Ok(()) | Err(GaveUp::HoldOver) => {}
                    Err(GaveUp::Stopped) => return None,
                },
            }
        }
    }

    /// Polls until `end`. While the database is away, the last known values apply.
    pub(crate) async fn follow(self, mut cursor: Cursor, end: CancellationToken) {
        let mut host_facts = HostFacts::default();
        for round in 1_u32.. {
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = end.cancelled() => return,
            }
            match self.store.poll(Some(&cursor)).await {
                Ok(reading) => {
                    let (next, changes) = self.publish(reading);
                    cursor = next;
                    self.report(changes, &mut host_facts).await;
                }
                // A slow statement of another part may be its own fault. A slow poll is not: the
                // server did not answer a simple query in time.
                Err(error) if matches!(error.class(), Class::Slow) => {
                    self.dependencies.database_fails(&chain(&error))
                }
                Err(error) => self.dependencies.report(&error),
            }
            if round.is_multiple_of(RECOVER_EVERY)
                && self.has_slowed_hosts()
                && let Err(error) = self.store.let_hosts_recover().await
            {
                debug!(cause = chain(&error), "cannot raise the rate of slowed hosts");
            }
        }
    }

    fn has_slowed_hosts(&self) -> bool {
        let limits = self.snapshots.read(|snapshot| snapshot.limits.clone());
        limits.values().any(|(limit, _)| limit.slowed.is_some())
    }

    fn publish(&self, reading: PollResult) -> (Cursor, Changes) {
        let PollResult { limits, cancelled, cancelled_is_complete, cursor } = reading;
        self.dependencies.database_answers();
        let mut changes = Changes::default();
        self.snapshots.update(|snapshot| {
            changes.limits = update_limits(&mut snapshot.limits, limits);
            changes.cancelled = update_cancelled(snapshot, cancelled, cancelled_is_complete);
            !changes.limits.is_empty() || changes.cancelled.is_some()
        });
        (cursor, changes)
    }

    /// Reports to the operator what hosts have caused, and which runs were cancelled.
    async fn report(&self, changes: Changes, host_facts: &mut HostFacts) {
        for run in changes.cancelled.into_iter().flatten() {
            // Without an answer, nobody knows better.
            let known = self.store.run(&run, &Selection::Newest).await;
            let sentence = cancelled_sentence(&run, known.map_or(true, |run| run.is_known()));
            let fact = Fact::new("run_cancelled", cancelled_name(&run), sentence);
            self.news.report(fact.with("run", run));
        }
        for limit in changes.limits {
            let Some(fact) = host_facts.of(&limit, Instant::now()) else { continue };
            self.news.report(fact);
        }
    }
}

/// What a poll has changed.
#[derive(Default)]
struct Changes {
    /// The limits that are new or have changed.
    limits: Vec<HostLimit>,
    /// The runs with parts that were not cancelled before; `None` if nothing has changed.
    cancelled: Option<Vec<String>>,
}

/// Adds cancelled parts, or replaces them if `is_whole`. Returns the runs of new ones, and `None`
/// if nothing has changed.
fn update_cancelled(
    snapshot: &mut Snapshot,
    cancelled: Vec<(String, String)>,
    is_whole: bool,
) -> Option<Vec<String>> {
    if cancelled.is_empty() && !is_whole {
        return None;
    }
    let mut parts =
        if is_whole { CancelledParts::default() } else { (*snapshot.cancelled).clone() };
    cancelled.into_iter().for_each(|(run, part)| _ = parts.add(run, part));
    if parts == *snapshot.cancelled {
        return None;
    }
    let new = parts.new_since(&snapshot.cancelled).map(str::to_owned).collect();
    info!(
        runs = parts.runs(),
        "runs were cancelled; their waiting tasks are recorded and not fetched"
    );
    snapshot.cancelled = Arc::new(parts);
    Some(new)
}

/// Updates limits, and returns those that have changed.
fn update_limits(known: &mut Arc<KnownLimits>, limits: Vec<HostLimit>) -> Vec<HostLimit> {
    let (now, mut changed) = (Instant::now(), Vec::new());
    for limit in limits {
        if !is_new(&limit, known) {
            continue;
        }
        let known = Arc::make_mut(known);
        let interval_ms = limit.interval().map(|interval| interval.as_millis());
        let (host, paused) = (limit.host.clone(), limit.paused);
        changed.push(limit.clone());
        match limit.is_in_force(Duration::ZERO) {
            true => _ = known.insert(host.as_str().into(), (limit, now)),
            false => _ = known.remove(host.as_str()),
        }
        info!(host, paused, interval_ms, "a host limit has changed");
    }
    if !changed.is_empty() {
        // The end of a cool-down is no change in the database.
        Arc::make_mut(known).retain(|_, (limit, read_at)| limit.is_in_force(now - *read_at));
    }
    changed
}

/// Whether a limit differs from the known one. The rest of a cool-down shrinks from poll to poll,
/// so its end is compared.
fn is_new(limit: &HostLimit, known: &KnownLimits) -> bool {
    let Some((known, read_at)) = known.get(limit.host.as_str()) else {
        return limit.is_in_force(Duration::ZERO);
    };
    let left = known.cool_down.map(|wait| wait.saturating_sub(read_at.elapsed()));
    let same_end = match (left.filter(|left| !left.is_zero()), limit.cool_down) {
        (Some(left), Some(cool_down)) => left.abs_diff(cool_down) < SAME_END,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    limit.interval() != known.interval()
        || limit.paused != known.paused
        || limit.slowed != known.slowed
        || !same_end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(host: &str, rate: Option<f64>, cool_down: Option<Duration>) -> HostLimit {
        let (host, slowed, crawl_delay, note) = (host.to_owned(), None, None, None);
        HostLimit { host, rate, paused: false, cool_down, slowed, crawl_delay, note }
    }

    #[tokio::test(start_paused = true)]
    async fn cool_downs_that_are_over_are_forgotten() {
        let mut known = Arc::default();
        let minute = Duration::from_secs(60);
        for number in 0..100 {
            let host = format!("{number}.example");
            update_limits(&mut known, vec![limit(&host, None, Some(minute))]);
        }
        update_limits(&mut known, vec![limit("slow.example", Some(2.0), Some(minute))]);
        assert_eq!(known.len(), 101);
        tokio::time::advance(minute).await;
        let changed = update_limits(&mut known, vec![limit("new.example", Some(5.0), None)]);
        assert_eq!(changed.len(), 1);
        let mut hosts: Vec<&str> = known.keys().map(|host| &**host).collect();
        hosts.sort_unstable();
        assert_eq!(hosts, ["new.example", "slow.example"]);
    }
}
