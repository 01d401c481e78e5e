//! What this worker knows of the limits of hosts. The database has them; they are asked for every second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use fetchline_store::{HostLimit, KnownHosts, Store};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::failure::chain;

/// How often changes are asked for: what an operator changes is in force everywhere within two seconds.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// In how many of these rounds slowed hosts are looked at, for whether they may have more: one in so many.
const RECOVER_EVERY: u32 = 5;

/// Requests are sent a twentieth further apart than a host's limit asks: a slot that was reserved is used some milliseconds
/// late where a machine is busy, and a host counts what arrives.
const MARGIN: f64 = 1.05;
/// What is slower than this is a pause.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// What limits a host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limit {
    /// The least time from one request to the next, over all workers.
    pub(crate) interval: Option<Duration>,
    pub(crate) paused: bool,
    /// Nothing is sent before.
    pub(crate) cools_until: Option<Instant>,
}

impl Limit {
    /// For how long nothing at all is sent; a pause has no end that is known.
    pub(crate) fn stands_still(&self, now: Instant) -> Option<Duration> {
        let cools_for = self.cools_until.map(|until| until.duration_since(now));
        if self.paused { Some(Duration::MAX) } else { cools_for }
    }

    fn holds(&self, now: Instant) -> bool {
        self.interval.is_some() || self.paused || self.cools_until.is_some_and(|until| until > now)
    }
}

/// The hosts that are limited.
#[derive(Default)]
pub(crate) struct Limits {
    known: RwLock<HashMap<String, Limit>>,
    /// Whether `known` holds anything: most fleets limit nothing, and ask for every URL.
    any: AtomicBool,
    changed: watch::Sender<()>,
}

impl Limits {
    /// What limits a host; `None` where nothing does.
    pub(crate) fn of(&self, host: &str) -> Option<Limit> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(host).copied().filter(|limit| limit.holds(Instant::now()))
    }

    /// Wakes when any limit may have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The host wants nothing until then; what is known of it besides stays.
    pub(crate) fn cool_down(&self, host: &str, until: Instant) {
        self.change(|known| {
            let limit = known.entry(host.to_owned()).or_default();
            limit.cools_until = limit.cools_until.max(Some(until));
        });
    }

    /// The host wants so much time between requests.
    pub(crate) fn space_out(&self, host: &str, delay: Duration) {
        self.change(|known| {
            let limit = known.entry(host.to_owned()).or_default();
            limit.interval = limit.interval.max(Some(with_margin(delay)));
        });
    }

    /// The database knows nothing of the host.
    pub(crate) fn forget(&self, host: &str) {
        self.change(|known| _ = known.remove(host));
    }

    /// Takes over what the database says.
    fn take_over(&self, limits: Vec<HostLimit>) {
        if limits.is_empty() {
            return;
        }
        let now = Instant::now();
        self.change(|known| {
            for told in limits {
                let limit = Limit {
                    interval: told.interval().map(with_margin),
                    paused: told.paused,
                    cools_until: told.cool_down.map(|wait| now + wait),
                };
                let before = known.get(&told.host).copied().unwrap_or_default();
                if (before.interval, before.paused) != (limit.interval, limit.paused) {
                    let interval_ms = limit.interval.map(|interval| interval.as_millis());
                    info!(host = told.host, paused = limit.paused, interval_ms, "the limits of a host have changed");
                }
                if limit.holds(now) {
                    known.insert(told.host, limit);
                } else {
                    known.remove(&told.host);
                }
            }
        });
    }

    /// Forgets what is over.
    fn sweep(&self) {
        let now = Instant::now();
        let over = |known: &HashMap<String, Limit>| known.values().any(|limit| !limit.holds(now));
        if over(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            self.change(|known| known.retain(|_, limit| limit.holds(now)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<String, Limit>)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        self.any.store(!known.is_empty(), Ordering::Relaxed);
        drop(known);
        self.changed.send_replace(());
    }

    /// Asks for what holds, until the database tells. Nothing may be fetched before.
    pub(crate) async fn begin(&self, store: &Store) -> KnownHosts {
        loop {
            match store.host_changes(None).await {
                Ok((limits, known)) => {
                    self.take_over(limits);
                    return known;
                }
                Err(error) => {
                    warn!(cause = chain(&error), "the limits of hosts cannot be read; nothing is fetched before")
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Asks for changes until `stop`. While the database is away what is known stays in force.
    pub(crate) async fn follow(&self, store: &Store, mut known: KnownHosts, stop: CancellationToken) {
        for round in 1_u32.. {
            match store.host_changes(Some(known)).await {
                Ok((limits, now)) => {
                    self.take_over(limits);
                    known = now;
                }
                Err(error) => debug!(cause = chain(&error), "the limits of hosts cannot be read"),
            }
            if round.is_multiple_of(RECOVER_EVERY) {
                self.sweep();
            }
            if round.is_multiple_of(RECOVER_EVERY)
                && self.any.load(Ordering::Relaxed)
                && let Err(error) = store.let_hosts_recover().await
            {
                debug!(cause = chain(&error), "hosts that were slowed cannot be looked at");
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

fn with_margin(interval: Duration) -> Duration {
    interval.min(LONGEST_INTERVAL).mul_f64(MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(host: &str) -> HostLimit {
        HostLimit { host: host.to_owned(), ..HostLimit::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_until_it_is_lifted_or_over() {
        let limits = Limits::default();
        assert_eq!(limits.of("a.example"), None);
        let cool_down = Some(Duration::from_secs(5));
        limits.take_over(vec![
            HostLimit { rate: Some(4.0), ..told("a.example") },
            HostLimit { cool_down, ..told("b.example") },
            HostLimit { paused: true, ..told("c.example") },
        ]);
        let interval = |host| limits.of(host).and_then(|limit| limit.interval);
        assert_eq!(interval("a.example"), Some(Duration::from_micros(262_500)));
        assert!(limits.of("b.example").is_some() && limits.of("c.example").is_some_and(|limit| limit.paused));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(limits.of("b.example"), None);
        limits.take_over(vec![told("a.example"), told("c.example")]);
        assert_eq!((limits.of("a.example"), limits.of("c.example")), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_cool_down_is_not_shortened_by_another_answer() {
        let limits = Limits::default();
        limits.cool_down("a.example", Instant::now() + Duration::from_secs(60));
        limits.cool_down("a.example", Instant::now() + Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(limits.of("a.example").is_some());
    }
}
