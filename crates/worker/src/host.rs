//! A host as this worker sees it: who waits for it, and how it has answered.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::pace::Pace;

/// Over how long it is measured how much a host was sent.
const MEASURED: Duration = Duration::from_secs(10);

/// The hosts that somebody waits for or fetches from.
pub(crate) struct Hosts {
    per_host: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    hosts: HashMap<Arc<str>, Arc<Host>>,
    closed: bool,
}

/// One of them.
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    /// Fetches at once, in this worker.
    pub(crate) permits: Arc<Semaphore>,
    /// Whoever has it waits for the next slot. Others wait for it, in the order in which they came.
    pub(crate) pace: tokio::sync::Mutex<Pace>,
    waiting: AtomicUsize,
    /// Places that were given so far.
    places: AtomicUsize,
    /// The time from one slot of this worker to its next, as it was last, in microseconds; 0 where it is not known. With
    /// other workers at the same host it is longer than the host's interval.
    spacing_us: AtomicU64,
    /// Answers in a row that refused.
    refusals: AtomicU32,
    sent: Mutex<Sent>,
}

/// What was sent lately.
struct Sent {
    since: Instant,
    requests: u32,
    /// Requests per second in the time before.
    before: f64,
}

impl Sent {
    fn new(before: f64) -> Self {
        Self { since: Instant::now(), requests: 0, before }
    }

    /// Requests per second.
    fn rate(&self) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        let now = f64::from(self.requests) / seconds.max(1.0);
        // Too little of the present says nothing yet.
        if seconds < 1.0 { now.max(self.before) } else { now }
    }
}

impl Hosts {
    pub(crate) fn new(per_host: usize) -> Self {
        Self { per_host, known: Mutex::default() }
    }

    /// The host of this name, for as long as the visit lasts.
    pub(crate) fn visit(self: &Arc<Self>, name: &str) -> Visit {
        let mut known = self.lock();
        let host = match known.hosts.get(name) {
            Some(host) => host.clone(),
            None => {
                let host = Arc::new(Host::new(name, self.per_host));
                if known.closed {
                    host.permits.close();
                }
                known.hosts.insert(host.name.clone(), host.clone());
                host
            }
        };
        drop(known);
        Visit { host, hosts: self.clone() }
    }

    /// From now on nobody gets a permit.
    pub(crate) fn close(&self) {
        let mut known = self.lock();
        known.closed = true;
        for host in known.hosts.values() {
            host.permits.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn new(name: &str, per_host: usize) -> Self {
        Self {
            name: name.into(),
            permits: Arc::new(Semaphore::new(per_host.min(Semaphore::MAX_PERMITS))),
            pace: tokio::sync::Mutex::default(),
            waiting: AtomicUsize::new(0),
            places: AtomicUsize::new(0),
            spacing_us: AtomicU64::new(0),
            refusals: AtomicU32::new(0),
            sent: Mutex::new(Sent::new(0.0)),
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// About how long somebody who comes now would wait, where requests are sent `interval` apart.
    pub(crate) fn wait(&self, interval: Duration) -> Duration {
        let spacing = Duration::from_micros(self.spacing_us.load(Ordering::Relaxed)).max(interval);
        spacing.saturating_mul(u32::try_from(self.waiting()).unwrap_or(u32::MAX))
    }

    /// A place was given to somebody who had waited for it.
    pub(crate) fn place_is_given(&self) {
        self.places.fetch_add(1, Ordering::Relaxed);
    }

    /// Places that were given so far.
    pub(crate) fn places(&self) -> usize {
        self.places.load(Ordering::Relaxed)
    }

    /// So many slots were reserved, of which the last one ends after `span`.
    pub(crate) fn spaced(&self, span: Duration, slots: u32) {
        let spacing = span / slots.max(1);
        self.spacing_us.store(u64::try_from(spacing.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A request is sent.
    pub(crate) fn sends(&self) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.since.elapsed() > MEASURED {
            // What was long ago is not what was before.
            *sent = Sent::new(if sent.since.elapsed() > 2 * MEASURED { 0.0 } else { sent.rate() });
        }
        sent.requests += 1;
    }

    /// Requests per second that this worker has sent lately.
    pub(crate) fn rate(&self) -> f64 {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).rate()
    }

    /// The host has refused a request; returns how many in a row.
    pub(crate) fn refused(&self) -> u32 {
        self.refusals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The host has not refused.
    pub(crate) fn answered(&self) {
        // Mostly it is 0 already, and reading is cheaper.
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }
}

/// Keeps a host known. What was learnt of it is forgotten when the last visit ends.
pub(crate) struct Visit {
    host: Arc<Host>,
    hosts: Arc<Hosts>,
}

impl Deref for Visit {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut known = self.hosts.lock();
        // The map's and ours: visits begin under the same lock, so nobody else can get hold of it.
        if Arc::strong_count(&self.host) == 2 {
            known.hosts.remove(&self.host.name);
        }
    }
}

/// Somebody who waits, as a count.
pub(crate) struct Waiting<'a>(&'a Host);

impl<'a> Waiting<'a> {
    pub(crate) fn at(host: &'a Host) -> Self {
        host.waiting.fetch_add(1, Ordering::Relaxed);
        Self(host)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_known_for_as_long_as_it_is_visited() {
        let hosts = Arc::new(Hosts::new(1));
        let first = hosts.visit("a.example");
        let second = hosts.visit("a.example");
        let permit = first.permits.clone().try_acquire_owned();
        assert!(permit.is_ok() && second.permits.try_acquire().is_err(), "both are the same host");
        drop(first);
        assert_eq!(hosts.lock().hosts.len(), 1);
        drop(second);
        assert!(hosts.lock().hosts.is_empty());
    }

    #[tokio::test]
    async fn nobody_gets_a_permit_any_more_after_the_close() {
        let hosts = Arc::new(Hosts::new(1));
        let before = hosts.visit("a.example");
        hosts.close();
        assert!(before.permits.acquire().await.is_err() && hosts.visit("b.example").permits.acquire().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_is_measured_over_some_seconds_also_when_they_have_just_begun() {
        let host = Host::new("a.example", 1);
        for _ in 0..88 {
            host.sends();
            tokio::time::advance(Duration::from_millis(125)).await;
        }
        assert!((host.rate() - 8.0).abs() < 0.5, "{}", host.rate());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(host.rate() < 2.0, "{}", host.rate());
    }

    #[tokio::test]
    async fn the_wait_grows_with_those_who_wait_and_with_what_others_take() {
        let host = Host::new("a.example", 1);
        let interval = Duration::from_secs(1);
        assert_eq!(host.wait(interval), Duration::ZERO);
        let (first, second) = (Waiting::at(&host), Waiting::at(&host));
        assert_eq!(host.wait(interval), 2 * interval);
        host.spaced(8 * interval, 2);
        assert_eq!(host.wait(interval), 8 * interval);
        drop((first, second));
        assert_eq!(host.wait(interval), Duration::ZERO);
    }
}
