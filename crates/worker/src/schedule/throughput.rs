//! How many requests per second pass a host or a limit, and what was deferred because of it.

use std::time::Duration;

use tokio::time::Instant;

use super::deferral::Allotments;

/// The length of a measuring period.
const PERIOD: Duration = Duration::from_secs(10);
/// The first estimate covers at least this many seconds.
const SHORTEST: f64 = 0.1;
/// A host that was sent fewer requests is forgotten as soon as no fetch at it is in flight.
const WORTH_KEEPING: u32 = 10;

/// The rate of requests past a host or a limit, and the deferrals that it caused.
#[derive(Debug)]
pub(crate) struct Throughput {
    pub(crate) sent: SendRate,
    pub(crate) allotments: Allotments,
}

impl Throughput {
    pub(crate) fn new(now: Instant) -> Self {
        Self { sent: SendRate::new(now), allotments: Allotments::default() }
    }
}

/// The requests of the present measuring period, and the rate of the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendRate {
    since: Instant,
    requests: u32,
    /// Requests per second in the period before; `None` in the first one.
    before: Option<f64>,
}

impl SendRate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, requests: 0, before: None }
    }

    /// Counts a request that is sent now.
    pub(crate) fn count(&mut self, now: Instant) {
        let elapsed = now - self.since;
        if elapsed > PERIOD {
            // A period that ended long ago says nothing about the one before this.
            let before = if elapsed > 2 * PERIOD { 0.0 } else { self.per_second(now) };
            *self = Self { since: now, requests: 0, before: Some(before) };
        }
        self.requests += 1;
    }

    /// The measured rate in requests per second.
    pub(crate) fn per_second(&self, now: Instant) -> f64 {
        let seconds = (now - self.since).as_secs_f64();
        let present = f64::from(self.requests) / seconds.max(1.0);
        // Less than a second is too short to lower the estimate.
        if seconds < 1.0 { present.max(self.before.unwrap_or_default()) } else { present }
    }

    /// The rate to expect from now on, in requests per second. In the first second the estimate is
    /// as high as the requests allow, since the first fetches at a fast host look like those at a
    /// slow one. No request within some seconds counts as one within them, so the rate is never 0.
    pub(crate) fn expected(&self, now: Instant) -> f64 {
        let elapsed = (now - self.since).as_secs_f64();
        let rate = match self.before {
            Some(_) => self.per_second(now),
            None => f64::from(self.requests) / elapsed.max(SHORTEST),
        };
        rate.max(elapsed.max(1.0).recip())
    }

    /// Whether the measurement is worth its memory.
    pub(crate) fn is_worth_keeping(&self, now: Instant) -> bool {
        let many =
            self.requests >= WORTH_KEEPING || self.before.is_some_and(|before| before >= 1.0);
        many && now - self.since < 2 * PERIOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_covers_some_seconds_even_right_after_a_new_period_begins() {
        let start = Instant::now();
        let mut sent = SendRate::new(start);
        let mut now = start;
        for _ in 0..88 {
            sent.count(now);
            now += Duration::from_millis(125);
        }
        assert!((sent.per_second(now) - 8.0).abs() < 0.5, "{}", sent.per_second(now));
        now += Duration::from_secs(7);
        assert!(sent.per_second(now) < 2.0, "{}", sent.per_second(now));
    }

    #[test]
    fn the_expected_rate_is_known_within_a_second_and_is_never_zero() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut fast = SendRate::new(start);
        (0..300).for_each(|request| fast.count(after(request)));
        assert!((fast.expected(after(300)) - 1_000.0).abs() < 1.0, "{}", fast.expected(after(300)));
        // Thirty at once, and none has finished.
        let mut slow = SendRate::new(start);
        (0..30).for_each(|_| slow.count(start));
        assert!(slow.expected(after(50)) >= 300.0, "too early for a lower estimate");
        assert!((slow.expected(after(2_000)) - 15.0).abs() < 0.1);
        let silent = SendRate::new(start);
        assert!((silent.expected(after(4_000)) - 0.25).abs() < 0.01);
    }
}
