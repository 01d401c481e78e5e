//! The shop's own counts of its visits, independent of what its visitors report.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::Serialize;

/// The counts of all requests, exact at any moment. Clones share the same counts.
///
/// A path is that of the request line, including its query; the same path at two host names is one
/// path. Requests to `/-/…` are not counted.
#[derive(Clone, Debug)]
pub struct Visits {
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug)]
struct Ledger {
    since: Instant,
    total: u64,
    by_path: HashMap<String, u64>,
    /// For each host, the number of requests in each second since `since`.
    by_host: HashMap<String, Vec<u32>>,
}

/// A snapshot of the counts, as `GET /-/visits` returns it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The number of requests.
    pub total: u64,
    /// The number of different paths.
    pub paths: u64,
    /// Requests beyond the first of the same path.
    pub repeats: u64,
    /// The most visited paths with their counts, in descending order.
    pub top: Vec<(String, u64)>,
    /// The counts of each host, ordered by name.
    pub hosts: Vec<HostSummary>,
}

/// The counts of one host name.
#[derive(Clone, Debug, Serialize)]
pub struct HostSummary {
    /// The requested host name in lower case, without a port.
    pub host: String,
    /// The number of its requests.
    pub total: u64,
    /// The most requests within one second of the shop's clock.
    pub busiest_second: u32,
}

impl Visits {
    pub(super) fn new() -> Self {
        Self { ledger: Arc::new(Mutex::new(Ledger::new())) }
    }

    /// Counts a request and returns the count of its path.
    pub(super) fn record(&self, host: &str, path: &str) -> u64 {
        self.lock().record(host, path)
    }

    /// The number of requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// The number of requests of a path, such as `/p/17`.
    #[must_use]
    pub fn of(&self, path: &str) -> u64 {
        self.lock().by_path.get(path).copied().unwrap_or(0)
    }

    /// The number of different paths.
    #[must_use]
    pub fn paths(&self) -> u64 {
        self.lock().by_path.len() as u64
    }

    /// Requests beyond the first of the same path.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        let ledger = self.lock();
        ledger.total - ledger.by_path.len() as u64
    }

    /// The number of requests for a host name (lower case, without a port) in each second since the
    /// start or the last reset, up to the second of its last request.
    #[must_use]
    pub fn seconds(&self, host: &str) -> Vec<u32> {
        self.lock().by_host.get(host).cloned().unwrap_or_default()
    }

    /// A snapshot with this many of the most visited paths.
    #[must_use]
    pub fn summary(&self, top: usize) -> Summary {
        let ledger = self.lock();
        let most_visited =
            |a: &(&String, &u64), b: &(&String, &u64)| b.1.cmp(a.1).then(a.0.cmp(b.0));
        // The lock blocks all requests: a million paths are neither read if none is wanted, nor
        // sorted for a few.
        let mut by_path: Vec<_> =
            if top == 0 { Vec::new() } else { ledger.by_path.iter().collect() };
        if top < by_path.len() {
            by_path.select_nth_unstable_by(top, most_visited);
            by_path.truncate(top);
        }
        by_path.sort_by(most_visited);
        let mut hosts: Vec<_> = ledger
            .by_host
            .iter()
            .map(|(host, seconds)| HostSummary {
                host: host.clone(),
                total: seconds.iter().copied().map(u64::from).sum(),
                busiest_second: seconds.iter().copied().max().unwrap_or(0),
            })
            .collect();
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        Summary {
            total: ledger.total,
            paths: ledger.by_path.len() as u64,
            repeats: ledger.total - ledger.by_path.len() as u64,
            top: by_path.into_iter().map(|(p, n)| (p.clone(), *n)).collect(),
            hosts,
        }
    }

    /// Resets all counts: seconds start anew, and flaky paths fail again.
    pub fn reset(&self) {
        *self.lock() = Ledger::new();
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn new() -> Self {
        Self { since: Instant::now(), total: 0, by_path: HashMap::new(), by_host: HashMap::new() }
    }

    fn record(&mut self, host: &str, path: &str) -> u64 {
        self.total += 1;

        let second = self.since.elapsed().as_secs() as usize;
        update(&mut self.by_host, host, |seconds: &mut Vec<u32>| {
            if seconds.len() <= second {
                seconds.resize(second + 1, 0);
            }
            seconds[second] += 1;
        });
        update(&mut self.by_path, path, |count| {
            *count += 1;
            *count
        })
    }
}

/// Changes the value of a key; allocates only for a new key.
fn update<V: Default, R>(
    map: &mut HashMap<String, V>,
    key: &str,
    update: impl FnOnce(&mut V) -> R,
) -> R {
    if let Some(value) = map.get_mut(key) {
        return update(value);
    }
    update(map.entry(key.to_owned()).or_default())
}

/// The median of the seconds from the first request on: the rate that a host got, whatever a busy
/// machine cost in a few of them. The last one is only a part of a second.
#[must_use]
pub fn median(seconds: &[u32]) -> u32 {
    let mut visited: Vec<u32> = seconds.iter().copied().skip_while(|visits| *visits == 0).collect();
    visited.pop();
    visited.sort_unstable();
    visited.get(visited.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_under_concurrency() {
        let visits = Visits::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..10_000 {
                        visits.record("shop-1.test", &format!("/p/{}", n % 100));
                    }
                });
            }
        });
        assert_eq!(visits.total(), 40_000);
        assert_eq!(visits.of("/p/17"), 400);
        assert_eq!(visits.paths(), 100);
        assert_eq!(visits.repeats(), 39_900);
        assert_eq!(visits.seconds("shop-1.test").iter().sum::<u32>(), 40_000);
        assert!(visits.seconds("shop-2.test").is_empty());
    }

    #[test]
    fn the_summary_starts_with_the_most_visited_paths() {
        let visits = Visits::new();
        for path in ["/once", "/twice", "/twice", "/again", "/again", "/again"] {
            visits.record("a.test", path);
        }
        let top =
            |count| visits.summary(count).top.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(top(0), [""; 0]);
        assert_eq!(top(2), ["/again", "/twice"]);
        assert_eq!(top(9), ["/again", "/twice", "/once"]);
    }

    #[test]
    fn the_median_is_that_of_the_whole_seconds_from_the_first_request_on() {
        assert_eq!(median(&[0, 9, 30, 30, 12, 30, 2]), 30);
        assert_eq!(median(&[0, 50, 0, 50, 0, 50]), 0, "half of the time nothing was sent");
        assert_eq!((median(&[0, 7]), median(&[])), (0, 0));
    }

    #[test]
    fn a_reset_clears_all_counts() {
        let visits = Visits::new();
        visits.record("a.test", "/p/1");
        visits.reset();
        assert_eq!(visits.total(), 0);
        assert_eq!(visits.record("a.test", "/p/1"), 1);
    }
}
