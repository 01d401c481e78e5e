//! The database's clock, as this process reads it.
//!
//! Moments that workers agree on are the database's. What one reply says of the present is old by as long as the reply
//! took, and that differs from reply to reply. By a clock that many readings have set, neighbouring moments keep their
//! distance.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Two clocks may drift apart by one part in so many: many times what is usual.
const DRIFT: i64 = 10_000;

/// How far the database's clock is ahead of ours.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Where ours begins.
    epoch: Instant,
    ahead: Mutex<Option<Ahead>>,
}

/// By all readings so far, the database is ahead by as many microseconds as these, or by something in between.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    least: i64,
    most: i64,
    read_us: i64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), ahead: Mutex::new(None) }
    }

    /// The database has said `time_us`, at some moment between the question and the answer.
    pub(crate) fn read(&self, time_us: i64, asked: Instant, answered: Instant) {
        let (asked, answered) = (self.ours(asked), self.ours(answered));
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Ahead { least: time_us - answered, most: time_us - asked, read_us: answered };
        let agreed = ahead.map(|known| {
            let drift = (answered - known.read_us) / DRIFT;
            Ahead { least: told.least.max(known.least - drift), most: told.most.min(known.most + drift), ..told }
        });
        // Readings that contradict each other: one of the clocks was set, or it is another database.
        *ahead = Some(agreed.filter(|agreed| agreed.least <= agreed.most).unwrap_or(told));
    }

    /// When it is `time_us` in the database, by our clock; `None` before the first reading.
    pub(crate) fn at(&self, time_us: i64) -> Option<Instant> {
        let ahead = (*self.ahead.lock().unwrap_or_else(PoisonError::into_inner))?;
        let ours = time_us - ahead.least.midpoint(ahead.most);
        Some(self.epoch + Duration::from_micros(u64::try_from(ours).unwrap_or(0)))
    }

    /// The database's present time; `None` before the first reading.
    pub(crate) fn now(&self) -> Option<OffsetDateTime> {
        self.time_at(Instant::now())
    }

    fn time_at(&self, moment: Instant) -> Option<OffsetDateTime> {
        let ahead = (*self.ahead.lock().unwrap_or_else(PoisonError::into_inner))?;
        let time_us = i128::from(self.ours(moment)) + i128::from(ahead.least.midpoint(ahead.most));
        OffsetDateTime::from_unix_timestamp_nanos(time_us * 1_000).ok()
    }

    fn ours(&self, moment: Instant) -> i64 {
        i64::try_from(moment.saturating_duration_since(self.epoch).as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    /// What a database's clock shows at our epoch.
    const ZERO: i64 = 1_800_000_000_000_000;

    /// A database whose clock is right. The question arrives after `there`, the answer after `back`.
    fn reading(clock: &Clock, at_ms: u32, there: u32, back: u32) {
        let says = ZERO + i64::from(at_ms + there) * 1000;
        clock.read(says, clock.epoch + MS * at_ms, clock.epoch + MS * (at_ms + there + back));
    }

    /// By how many milliseconds the clock is late at a moment.
    fn late_by(clock: &Clock, at_ms: u32) -> f64 {
        let at = clock.at(ZERO + i64::from(at_ms) * 1000).unwrap();
        (at - clock.epoch).as_secs_f64() * 1000.0 - f64::from(at_ms)
    }

    #[test]
    fn slow_answers_do_not_spoil_what_a_quick_one_has_told() {
        let clock = Clock::new();
        assert_eq!(clock.at(ZERO), None);
        reading(&clock, 1_000, 1, 1);
        assert_eq!(late_by(&clock, 2_000), 0.0);
        reading(&clock, 2_000, 1, 300);
        reading(&clock, 3_000, 300, 1);
        let late = late_by(&clock, 4_000);
        assert!(late.abs() <= 1.2, "{late} ms");
    }

    #[test]
    fn a_slow_answer_is_better_than_none_and_a_quick_one_mends_it() {
        let clock = Clock::new();
        reading(&clock, 1_000, 0, 100);
        assert_eq!(late_by(&clock, 2_000), 50.0);
        reading(&clock, 2_000, 1, 1);
        let late = late_by(&clock, 3_000);
        assert!(late.abs() <= 1.0, "{late} ms");
    }

    #[test]
    fn the_present_time_is_that_of_the_database() {
        let clock = Clock::new();
        assert_eq!(clock.now(), None);
        reading(&clock, 1_000, 1, 1);
        let told = clock.time_at(clock.epoch + MS * 5_000).unwrap();
        assert_eq!(told.unix_timestamp_nanos() / 1_000, i128::from(ZERO + 5_000_000));
    }

    #[test]
    fn a_clock_that_was_set_is_believed() {
        let clock = Clock::new();
        reading(&clock, 1_000, 1, 1);
        let (asked, answered) = (clock.epoch + MS * 2_000, clock.epoch + MS * 2_002);
        clock.read(ZERO - 5_000_000, asked, answered);
        assert_eq!(clock.at(ZERO - 5_000_000), Some(clock.epoch + MS * 2_001));
    }
}
