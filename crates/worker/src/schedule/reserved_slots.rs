//! The slots of one limit that this worker has reserved and not used yet.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Slots are reserved for this span ahead, plus two round trips to the database. If a worker dies,
/// the other workers do without its slots for no longer than that.
const AHEAD: Duration = Duration::from_millis(250);
/// A slot that is not used within this time expires: used later, it would add to the slots of
/// other workers. Over a second, this adds at most a twentieth to the rate.
const EXPIRY: Duration = Duration::from_millis(50);
/// The last slot expires later: a host that waits for several limits needs a slot of each at the
/// same time.
const LAST_EXPIRY: Duration = Duration::from_secs(2);
/// The upper bound of the round trip that requests account for.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Slots in ascending order of time.
#[derive(Debug, Default)]
pub(crate) struct ReservedSlots {
    slots: VecDeque<Instant>,
    interval: Duration,
    last_use: Option<Instant>,
    /// The duration of a request for slots: a recent maximum, which decays by a tenth per request.
    round_trip: Duration,
}

/// Slots to reserve in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotRequest {
    pub(crate) slots: u32,
    pub(crate) interval: Duration,
    /// How far the first slot lies ahead of the database's clock, so that it has not expired when
    /// the reply arrives.
    pub(crate) lead: Duration,
}

impl ReservedSlots {
    /// Sets the interval between slots. Slots with another interval are void.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        if self.interval != interval {
            self.slots.clear();
            self.interval = interval;
        }
    }

    /// Voids all slots: what kept this worker from using them stopped all workers, and all would
    /// use theirs at once.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Returns when the next request may be sent; `None` if no slot is reserved.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        while let Some(slot) = self.slots.front() {
            let expiry = if self.slots.len() == 1 { LAST_EXPIRY } else { EXPIRY };
            if *slot + self.interval.max(expiry) >= now {
                break;
            }
            self.slots.pop_front();
        }
        // Late slots are not used in a burst. The gap is half an interval: timers fire late, and a
        // late slot must not delay the next one.
        let spaced = self.last_use.map(|last| last + self.interval / 2);
        self.slots.front().map(|slot| spaced.map_or(*slot, |spaced| spaced.max(*slot)))
    }

    /// Uses the next slot.
    pub(crate) fn use_next(&mut self, now: Instant) {
        #[cfg(feature = "simulation")]
        if fetchline_store::planted::Fault::SlotTwice.is_planted() && self.last_use != Some(now) {
            self.last_use = Some(now);
            return;
        }
        self.slots.pop_front();
        self.last_use = Some(now);
    }

    /// Returns what to reserve while `waiting` requests wait, early enough to leave no gap after
    /// the last slot.
    pub(crate) fn missing(&self, waiting: usize) -> Option<SlotRequest> {
        let ahead = (AHEAD + 2 * self.round_trip).as_micros();
        let fitting = ahead.div_ceil(self.interval.as_micros().max(1));
        let wanted = usize::try_from(fitting).unwrap_or(usize::MAX).min(waiting);
        let missing = wanted.saturating_sub(self.slots.len());
        if missing == 0 || self.slots.len() * 2 > wanted {
            return None;
        }
        let slots = u32::try_from(missing).unwrap_or(u32::MAX);
        Some(SlotRequest { slots, interval: self.interval, lead: self.round_trip })
    }

    /// Adds the slots of a request that was sent at `sent_at`, beginning with `first`. A slot that
    /// has just been reserved is never expired.
    pub(crate) fn add(
        &mut self,
        first: Instant,
        request: SlotRequest,
        sent_at: Instant,
        now: Instant,
    ) {
        self.measure_round_trip(sent_at, now);
        if request.interval == self.interval {
            let first = first.max(now);
            self.slots.extend((0..request.slots).map(|number| first + self.interval * number));
        }
    }

    /// Records the duration of a request, whatever the database replied.
    pub(crate) fn measure_round_trip(&mut self, sent_at: Instant, now: Instant) {
        self.round_trip = (now - sent_at).max(self.round_trip.mul_f64(0.9)).min(LONGEST_ROUND_TRIP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn with_interval(interval: Duration) -> ReservedSlots {
        let mut slots = ReservedSlots::default();
        slots.set_interval(interval);
        slots
    }

    fn request(slots: u32, interval: Duration) -> SlotRequest {
        SlotRequest { slots, interval, lead: Duration::ZERO }
    }

    #[test]
    fn slots_are_used_in_order_and_late_ones_expire() {
        let (mut slots, now) = (with_interval(20 * MS), Instant::now());
        assert_eq!(slots.next(now), None);
        slots.add(now, request(5, 20 * MS), now, now);
        assert_eq!(slots.next(now), Some(now));
        slots.use_next(now);
        assert_eq!(slots.next(now + 70 * MS), Some(now + 20 * MS), "50 ms late and not expired");
        assert_eq!(slots.next(now + 71 * MS), Some(now + 40 * MS));
        assert_eq!(slots.next(now + 400 * MS), Some(now + 80 * MS), "the last slot expires later");
        assert_eq!(slots.next(now + 2_081 * MS), None);
    }

    #[test]
    fn late_slots_are_not_used_in_a_burst() {
        let (mut slots, now) = (with_interval(20 * MS), Instant::now());
        slots.add(now, request(5, 20 * MS), now, now);
        let late = now + 45 * MS;
        assert!(slots.next(late).is_some_and(|slot| slot <= late));
        slots.use_next(late);
        assert_eq!(slots.next(late), Some(late + 10 * MS));
    }

    #[test]
    fn a_slot_that_was_just_reserved_is_never_expired() {
        let (mut slots, sent_at) = (with_interval(5 * MS), Instant::now());
        // The statement takes 90 ms, so its slot lies in the past when the reply arrives.
        let now = sent_at + 90 * MS;
        slots.add(sent_at, request(1, 5 * MS), sent_at, now);
        assert_eq!(slots.next(now), Some(now));
        slots.use_next(now);
        // The next request asks for slots that lie a round trip ahead, and for as many as are used
        // until then.
        assert_eq!(
            slots.missing(1000),
            Some(SlotRequest { slots: 86, interval: 5 * MS, lead: 90 * MS })
        );
    }

    #[test]
    fn another_interval_voids_reserved_and_requested_slots() {
        let (mut slots, now) = (with_interval(20 * MS), Instant::now());
        slots.add(now, request(5, 20 * MS), now, now);
        slots.set_interval(50 * MS);
        assert_eq!(slots.next(now), None);
        slots.add(now, request(5, 20 * MS), now, now);
        assert_eq!(slots.next(now), None);
    }

    #[test]
    fn slots_for_a_quarter_of_a_second_are_reserved_and_no_more_than_requests_wait() {
        let missing = |interval, waiting| {
            with_interval(interval).missing(waiting).map(|request| request.slots)
        };
        assert_eq!(missing(20 * MS, 1000), Some(13));
        assert_eq!(missing(20 * MS, 3), Some(3));
        assert_eq!(missing(1000 * MS, 1000), Some(1));
        assert_eq!(missing(20 * MS, 0), None);
        assert_eq!(missing(Duration::ZERO, 7), Some(7));
    }

    #[test]
    fn more_slots_are_reserved_when_half_are_used() {
        let (mut slots, now) = (with_interval(25 * MS), Instant::now());
        slots.add(now, request(10, 25 * MS), now, now);
        assert_eq!(slots.missing(1000), None);
        (0..4).for_each(|_| slots.use_next(now));
        assert_eq!(slots.missing(1000), None, "more than half are left");
        slots.use_next(now);
        assert_eq!(slots.missing(1000).map(|request| request.slots), Some(5));
    }
}
