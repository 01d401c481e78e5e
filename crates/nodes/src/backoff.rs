//! Growing, jittered pauses before an operation is repeated.

use std::time::Duration;

/// An operation that lasted at least this long counts as a success.
const SUCCESS: Duration = Duration::from_secs(30);

/// The pauses within one outage.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses that double from `first` up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Returns the next pause. Each is cut by a random part of up to a half: processes that lost
    /// the same server do not all reconnect at the same moment.
    pub fn next_pause(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.longest).mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Resets the pauses if the operation ran for long enough. One that fails again at once is
    /// repeated less and less often.
    pub fn reset_after(&mut self, lifetime: Duration) {
        if lifetime >= SUCCESS {
            self.reset();
        }
    }

    /// Starts over with the shortest pause: the outage is over.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Pauses of 200 ms to 20 s, for a service that may be away for long.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(3));
        let mut backoff = Backoff::new(first, longest);
        let pauses: Vec<_> = (0..50).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] <= first && pauses[0] >= first / 2);
        assert!((2 * first..=4 * first).contains(&pauses[2]), "{:?}", pauses[2]);
        assert!(pauses[20..].iter().all(|pause| (longest / 2..=longest).contains(pause)));
        assert!(pauses[20..].iter().collect::<std::collections::HashSet<_>>().len() > 1);
        backoff.reset_after(SUCCESS / 2);
        assert!(backoff.next_pause() >= longest / 2, "a short life is no success");
        backoff.reset_after(SUCCESS);
        assert!(backoff.next_pause() <= first);
    }
}
