//! Growing, jittered pauses before an operation is repeated.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(20);
/// A connection that lasted at least this long counts as a success.
const SUCCESS: Duration = Duration::from_secs(30);

/// The pauses within one outage.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the next pause. Pauses double up to 20 s, and each is cut by a random part of up to
    /// a half: workers that lost the same server do not all reconnect at the same moment.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Resets the pauses if the operation ran for long enough. One that fails again at once is
    /// repeated less and less often.
    pub(crate) fn reset_after(&mut self, lifetime: Duration) {
        if lifetime >= SUCCESS {
            self.reset();
        }
    }

    /// Starts over with the shortest pause: the outage is over.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..50).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses[20..].iter().all(|pause| (LONGEST / 2..=LONGEST).contains(pause)));
        assert!(pauses[20..].iter().collect::<std::collections::HashSet<_>>().len() > 1);
        backoff.reset_after(SUCCESS / 2);
        assert!(backoff.next_pause() >= LONGEST / 2, "a short life is no success");
        backoff.reset_after(SUCCESS);
        assert!(backoff.next_pause() <= FIRST);
    }
}
