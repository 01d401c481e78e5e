//! Growing, jittered pauses between tries.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(20);
/// A session that lived for so long was a success.
const SUCCESS: Duration = Duration::from_secs(30);

/// The pauses of one outage.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause: it doubles up to 20 s, and a random half of it is left out, so that many workers that lost the
    /// same server do not come back at the same moment.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries += 1;
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// What was tried has lived for so long. Only what lived for a while was a success: what fails again at once is tried
    /// less and less often.
    pub(crate) fn lived(&mut self, lifetime: Duration) {
        if lifetime >= SUCCESS {
            self.reset();
        }
    }

    /// The outage is over.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
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
        backoff.lived(SUCCESS / 2);
        assert!(backoff.next_pause() >= LONGEST / 2, "it failed again soon");
        backoff.lived(SUCCESS);
        assert!(backoff.next_pause() <= FIRST);
    }
}
