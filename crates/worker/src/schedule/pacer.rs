//! The slots of one limit that this worker has reserved and not used yet: moments at which it may send a request.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Slots are reserved for this span ahead, and for two round trips to the database besides. A worker that dies stops
/// the host for the others for no longer than that.
const AHEAD: Duration = Duration::from_millis(250);
/// A slot that was not used in time is lost: used late, it would add to those of other workers. Over a second, this
/// adds a twentieth at most.
const LATE: Duration = Duration::from_millis(50);
/// The last slot is lost later: a host may wait for several limits, and has to have a slot of each at some time.
const LAST_LATE: Duration = Duration::from_secs(2);

/// Slots in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    slots: VecDeque<Instant>,
    interval: Duration,
    last_use: Option<Instant>,
    /// How long a reservation takes: the longest of late, forgotten by a tenth each time.
    round_trip: Duration,
}

/// Slots that should be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) slots: u32,
    pub(crate) interval: Duration,
    /// How far ahead of the database's present the first one should lie, so that it is not late on arrival.
    pub(crate) lead: Duration,
}

impl Pacer {
    /// Slots that were reserved under another interval are void.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        if self.interval != interval {
            self.slots.clear();
            self.interval = interval;
        }
    }

    /// What was reserved is void: it was not used for a reason that holds for all workers, who would use it all at once.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    /// When the next request may be sent; `None` where no slot is reserved.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        while let Some(slot) = self.slots.front() {
            let late = if self.slots.len() == 1 { LAST_LATE } else { LATE };
            if *slot + self.interval.max(late) >= now {
                break;
            }
            self.slots.pop_front();
        }
        // Slots that are late together are not used all at once. Half an interval, since a timer is late as well, and
        // what one slot is late must not make the next one late.
        let spaced = self.last_use.map(|last| last + self.interval / 2);
        self.slots.front().map(|slot| spaced.map_or(*slot, |spaced| spaced.max(*slot)))
    }

    /// Uses the next slot.
    pub(crate) fn take(&mut self, now: Instant) {
        self.slots.pop_front();
        self.last_use = Some(now);
    }

    /// What to reserve while so many requests wait, so that there is no gap when the last slot is used.
    pub(crate) fn wanted(&self, waiting: usize) -> Option<Wanted> {
        let ahead = (AHEAD + 2 * self.round_trip).as_micros();
        let fitting = ahead.div_ceil(self.interval.as_micros().max(1));
        let wanted = usize::try_from(fitting).unwrap_or(usize::MAX).min(waiting);
        let missing = wanted.saturating_sub(self.slots.len());
        if missing == 0 || self.slots.len() * 2 > wanted {
            return None;
        }
        let slots = u32::try_from(missing).unwrap_or(u32::MAX);
        Some(Wanted { slots, interval: self.interval, lead: self.round_trip })
    }

    /// Slots were reserved, from `first` on; it was asked for them at `asked`. A slot that was just reserved is never
    /// too late.
    pub(crate) fn reserved(&mut self, first: Instant, wanted: Wanted, asked: Instant, now: Instant) {
        self.answered(asked, now);
        if wanted.interval == self.interval {
            let first = first.max(now);
            self.slots.extend((0..wanted.slots).map(|number| first + self.interval * number));
        }
    }

    /// The database has answered a reservation, whatever it said.
    pub(crate) fn answered(&mut self, asked: Instant, now: Instant) {
        self.round_trip = (now - asked).max(self.round_trip.mul_f64(0.9)).min(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pacer(interval: Duration) -> Pacer {
        let mut pacer = Pacer::default();
        pacer.set_interval(interval);
        pacer
    }

    fn wanted(slots: u32, interval: Duration) -> Wanted {
        Wanted { slots, interval, lead: Duration::ZERO }
    }

    #[test]
    fn slots_come_in_order_and_late_ones_are_lost() {
        let (mut pacer, now) = (pacer(20 * MS), Instant::now());
        assert_eq!(pacer.next(now), None);
        pacer.reserved(now, wanted(5, 20 * MS), now, now);
        assert_eq!(pacer.next(now), Some(now));
        pacer.take(now);
        assert_eq!(pacer.next(now + 70 * MS), Some(now + 20 * MS), "late by 50 ms, and still good");
        assert_eq!(pacer.next(now + 71 * MS), Some(now + 40 * MS));
        assert_eq!(pacer.next(now + 400 * MS), Some(now + 80 * MS), "the last one keeps for a while");
        assert_eq!(pacer.next(now + 2_081 * MS), None);
    }

    #[test]
    fn what_is_late_is_not_made_up_for_all_at_once() {
        let (mut pacer, now) = (pacer(20 * MS), Instant::now());
        pacer.reserved(now, wanted(5, 20 * MS), now, now);
        let late = now + 45 * MS;
        assert!(pacer.next(late).is_some_and(|slot| slot <= late));
        pacer.take(late);
        assert_eq!(pacer.next(late), Some(late + 10 * MS));
    }

    #[test]
    fn a_slot_that_was_just_reserved_is_never_too_late() {
        let (mut pacer, asked) = (pacer(5 * MS), Instant::now());
        // The statement took 90 ms, and its slot is long over when the answer comes.
        let now = asked + 90 * MS;
        pacer.reserved(asked, wanted(1, 5 * MS), asked, now);
        assert_eq!(pacer.next(now), Some(now));
        pacer.take(now);
        // Next time it is asked for slots that lie as far ahead as that takes, and for as many as are used meanwhile.
        assert_eq!(pacer.wanted(1000), Some(Wanted { slots: 86, interval: 5 * MS, lead: 90 * MS }));
    }

    #[test]
    fn another_interval_voids_what_was_reserved_and_what_is_on_its_way() {
        let (mut pacer, now) = (pacer(20 * MS), Instant::now());
        pacer.reserved(now, wanted(5, 20 * MS), now, now);
        pacer.set_interval(50 * MS);
        assert_eq!(pacer.next(now), None);
        pacer.reserved(now, wanted(5, 20 * MS), now, now);
        assert_eq!(pacer.next(now), None);
    }

    #[test]
    fn a_quarter_of_a_second_is_reserved_at_once_and_no_more_than_waits_for_it() {
        let slots = |interval, waiting| pacer(interval).wanted(waiting).map(|wanted| wanted.slots);
        assert_eq!(slots(20 * MS, 1000), Some(13));
        assert_eq!(slots(20 * MS, 3), Some(3));
        assert_eq!(slots(1000 * MS, 1000), Some(1));
        assert_eq!(slots(20 * MS, 0), None);
        assert_eq!(slots(Duration::ZERO, 7), Some(7));
    }

    #[test]
    fn more_is_reserved_when_half_of_it_is_used() {
        let (mut pacer, now) = (pacer(25 * MS), Instant::now());
        pacer.reserved(now, wanted(10, 25 * MS), now, now);
        assert_eq!(pacer.wanted(1000), None);
        (0..5).for_each(|_| pacer.take(now));
        assert_eq!(pacer.wanted(1000).map(|wanted| wanted.slots), Some(5));
    }
}
