//! The delay of a delay queue.

use std::time::Duration;

/// The broker stores a time to live as milliseconds in 32 bits.
const MAX_TIER_S: u32 = u32::MAX / 1000;

/// A delay that the broker keeps, in whole seconds, at least one. Each tier is a queue of its own,
/// since messages with individual times to live would block behind the head of their queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(u32);

impl Tier {
    /// The tier of a delay; `None` if that is not a whole number of seconds, or is longer than the
    /// broker supports.
    pub fn of(delay: Duration) -> Option<Self> {
        let seconds = u32::try_from(delay.as_secs())
            .ok()
            .filter(|seconds| (1..=MAX_TIER_S).contains(seconds))?;
        (delay.subsec_nanos() == 0).then_some(Self(seconds))
    }

    /// The delay.
    pub fn delay(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }

    /// The routing key of its queue.
    pub fn key(self) -> String {
        format!("retry.{}s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_a_whole_number_of_seconds() {
        assert_eq!(Tier::of(Duration::from_secs(90)).map(Tier::key).as_deref(), Some("retry.90s"));
        for delay in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(1 << 40)] {
            assert_eq!(Tier::of(delay), None, "{delay:?}");
        }
    }
}
