//! The database's clock, as this process sees it.
//!
//! Workers agree on times by the database's clock. A single reply gives the time only as precisely
//! as the round trip was short, and round trips differ. This clock combines many replies, so the
//! distances between neighbouring times stay right.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};
use tokio::time::Instant;

/// The assumed drift between two clocks: one part in this many, many times the usual drift.
const DRIFT: i64 = 10_000;

/// The offset between the database's clock and this process's monotonic clock.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The zero of the local clock.
    epoch: Instant,
    offset: Mutex<Option<Offset>>,
}

/// The bounds of the offset by all readings, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Offset {
    min: i64,
    max: i64,
    /// The local time of the last reading.
    read_at: i64,
}

impl Offset {
    fn estimate(self) -> i64 {
        self.min.midpoint(self.max)
    }
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), offset: Mutex::new(None) }
    }

    /// Adds a reading: the database's clock was at `time_us` at some moment between the question
    /// and the answer.
    pub(crate) fn add_reading(&self, time_us: i64, asked: Instant, answered: Instant) {
        let (asked, answered) = (self.local_us(asked), self.local_us(answered));
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = Offset { min: time_us - answered, max: time_us - asked, read_at: answered };
        let combined = offset.map(|known| {
            let drift = (answered - known.read_at) / DRIFT;
            Offset {
                min: reading.min.max(known.min - drift),
                max: reading.max.min(known.max + drift),
                ..reading
            }
        });
        // Readings contradict each other if one of the clocks was set, or the server changed.
        *offset = Some(combined.filter(|bounds| bounds.min <= bounds.max).unwrap_or(reading));
    }

    /// The local moment at which the database's clock is at `time_us`; `None` before the first
    /// reading.
    pub(crate) fn instant_at(&self, time_us: i64) -> Option<Instant> {
        let local = time_us - self.offset()?.estimate();
        Some(self.epoch + Duration::from_micros(u64::try_from(local).unwrap_or(0)))
    }

    /// The database's present time; `None` before the first reading.
    pub(crate) fn now(&self) -> Option<OffsetDateTime> {
        self.time_at(Instant::now())
    }

    fn time_at(&self, moment: Instant) -> Option<OffsetDateTime> {
        let time_us = i128::from(self.local_us(moment)) + i128::from(self.offset()?.estimate());
        OffsetDateTime::from_unix_timestamp_nanos(time_us * 1_000).ok()
    }

    fn offset(&self) -> Option<Offset> {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn local_us(&self, moment: Instant) -> i64 {
        i64::try_from(moment.saturating_duration_since(self.epoch).as_micros()).unwrap_or(i64::MAX)
    }
}

/// A time as the database stores it: in UTC and without an offset.
pub(crate) fn to_stored(at: OffsetDateTime) -> PrimitiveDateTime {
    let utc = at.to_offset(UtcOffset::UTC);
    PrimitiveDateTime::new(utc.date(), utc.time())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    /// The time of the database's clock at the local epoch.
    const ZERO: i64 = 1_800_000_000_000_000;

    /// Reads a database clock that runs at the right speed. The question takes `there`
    /// milliseconds, the answer `back`.
    fn read(clock: &Clock, at_ms: u32, there: u32, back: u32) {
        let time_us = ZERO + i64::from(at_ms + there) * 1000;
        let (asked, answered) = (MS * at_ms, MS * (at_ms + there + back));
        clock.add_reading(time_us, clock.epoch + asked, clock.epoch + answered);
    }

    /// By how many milliseconds the clock is late at a moment.
    fn late_by(clock: &Clock, at_ms: u32) -> f64 {
        let at = clock.instant_at(ZERO + i64::from(at_ms) * 1000).unwrap();
        (at - clock.epoch).as_secs_f64() * 1000.0 - f64::from(at_ms)
    }

    #[test]
    fn slow_answers_do_not_spoil_a_fast_one() {
        let clock = Clock::new();
        assert_eq!(clock.instant_at(ZERO), None);
        read(&clock, 1_000, 1, 1);
        assert_eq!(late_by(&clock, 2_000), 0.0);
        read(&clock, 2_000, 1, 300);
        read(&clock, 3_000, 300, 1);
        let late = late_by(&clock, 4_000);
        assert!(late.abs() <= 1.2, "{late} ms");
    }

    #[test]
    fn a_fast_answer_corrects_a_slow_one() {
        let clock = Clock::new();
        read(&clock, 1_000, 0, 100);
        assert_eq!(late_by(&clock, 2_000), 50.0);
        read(&clock, 2_000, 1, 1);
        let late = late_by(&clock, 3_000);
        assert!(late.abs() <= 1.0, "{late} ms");
    }

    #[test]
    fn the_present_time_is_that_of_the_database() {
        let clock = Clock::new();
        assert_eq!(clock.now(), None);
        read(&clock, 1_000, 1, 1);
        let time = clock.time_at(clock.epoch + MS * 5_000).unwrap();
        assert_eq!(time.unix_timestamp_nanos() / 1_000, i128::from(ZERO + 5_000_000));
    }

    #[test]
    fn a_clock_that_was_set_is_trusted() {
        let clock = Clock::new();
        read(&clock, 1_000, 1, 1);
        let (asked, answered) = (clock.epoch + MS * 2_000, clock.epoch + MS * 2_002);
        clock.add_reading(ZERO - 5_000_000, asked, answered);
        assert_eq!(clock.instant_at(ZERO - 5_000_000), Some(clock.epoch + MS * 2_001));
    }
}
