//! The slots of one host that this worker has reserved and not used yet: moments at which it may send a request.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Slots are reserved for this span at once. A worker that dies stops the host for the others for no longer than what it
/// has reserved, and it never holds much more than this twice.
const AHEAD: Duration = Duration::from_millis(250);
/// A slot that could not be used in time is lost: used late it would come too close to another worker's. One interval is
/// in time, and this is for hosts with very short ones.
const LATE: Duration = Duration::from_millis(10);

/// Slots in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    slots: VecDeque<Instant>,
    interval: Duration,
}

impl Pace {
    /// Slots that were reserved under another interval are void.
    pub(crate) fn keep(&mut self, interval: Duration) {
        if self.interval != interval {
            self.slots.clear();
            self.interval = interval;
        }
    }

    /// The next slot that is not too late.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        let late = self.interval.max(LATE);
        while self.slots.front().is_some_and(|slot| *slot + late < now) {
            self.slots.pop_front();
        }
        self.slots.front().copied()
    }

    /// Uses the next slot.
    pub(crate) fn take(&mut self) {
        self.slots.pop_front();
    }

    /// Whether it is time to reserve more, so that there is no gap when the last slot is used.
    pub(crate) fn runs_out(&self) -> bool {
        self.slots.len() == 1 && self.interval * 4 < AHEAD
    }

    /// How many slots to reserve when so many requests wait.
    pub(crate) fn wanted(&self, waiting: usize) -> u32 {
        let ahead = AHEAD.as_micros() / self.interval.as_micros().max(1);
        u32::try_from(ahead.min(waiting as u128)).unwrap_or(u32::MAX).max(1)
    }

    /// Slots that were reserved.
    pub(crate) fn reserved(&mut self, first: Instant, count: u32) {
        self.slots.extend((0..count).map(|number| first + self.interval * number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn slots_come_in_order_and_late_ones_are_lost() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.keep(20 * MS);
        assert_eq!(pace.next(now), None);
        pace.reserved(now, 5);
        assert_eq!(pace.next(now), Some(now));
        pace.take();
        // In time is up to one interval later.
        assert_eq!(pace.next(now + 40 * MS), Some(now + 20 * MS));
        assert_eq!(pace.next(now + 41 * MS), Some(now + 40 * MS));
        assert_eq!(pace.next(now + 200 * MS), None);
    }

    #[test]
    fn another_interval_voids_what_was_reserved() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.keep(20 * MS);
        pace.reserved(now, 5);
        pace.keep(20 * MS);
        assert!(pace.next(now).is_some());
        pace.keep(50 * MS);
        assert_eq!(pace.next(now), None);
    }

    #[test]
    fn a_quarter_of_a_second_is_reserved_at_once_and_no_more_than_is_waited_for() {
        let wanted = |interval, waiting| {
            let mut pace = Pace::default();
            pace.keep(interval);
            pace.wanted(waiting)
        };
        assert_eq!(wanted(20 * MS, 1000), 12);
        assert_eq!(wanted(20 * MS, 3), 3);
        assert_eq!(wanted(1000 * MS, 1000), 1);
        assert_eq!(wanted(20 * MS, 0), 1);
        assert_eq!(wanted(Duration::ZERO, 7), 7);
    }
}
