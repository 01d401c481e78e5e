//! Hosts that respond with 429 (too many requests) or 503 (unavailable), or refuse HTTP/2 requests:
//! all workers slow down.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limit;

/// The longest cool-down. A host that asks for more may do so by mistake.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(3600);
/// A cool-down that ends at most this much later than a known one changes nothing.
const SAME_COOL_DOWN: Duration = Duration::from_secs(1);
/// This many signals in a row without a `Retry-After` halve the host's rate.
const SLOW_AFTER: u32 = 5;
/// The minimum time between two halvings. Until then the host answers requests that were sent
/// before the first one.
const SLOW_INTERVAL: Duration = Duration::from_secs(10);

/// A sign that a host throttles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThrottleSignal {
    /// `None`: the host refused the request without a response.
    pub(crate) status: Option<u16>,
    /// The wait that the host asks for.
    pub(crate) retry_after: Option<Duration>,
}

impl ThrottleSignal {
    /// What the host did.
    fn what(self) -> String {
        match self.status {
            Some(status) => format!("answered {status}"),
            None => "refused requests (HTTP/2)".to_owned(),
        }
    }
}

/// A limit that the database has to know, so that all workers obey it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LimitUpdate {
    /// The host gets no request for `wait`.
    CoolDown { host: Arc<str>, wait: Duration, why: String },
    /// The host gets half of `rate` requests per second. `rate` is that of the whole fleet if
    /// `is_of_fleet`, else that of this worker.
    Slow { host: Arc<str>, rate: f64, is_of_fleet: bool, why: String },
}

/// The signals of one host.
#[derive(Debug, Default)]
pub(crate) struct Throttling {
    in_a_row: u32,
    slowed_at: Option<Instant>,
}

impl Throttling {
    /// Records a response that does not throttle.
    pub(crate) fn reset(&mut self) {
        self.in_a_row = 0;
    }

    /// Records a signal of a host with this limit and this measured rate, and returns
    /// what follows for all workers.
    pub(crate) fn record(
        &mut self,
        host: Arc<str>,
        signal: ThrottleSignal,
        limit: Limit,
        sent_per_second: f64,
        now: Instant,
    ) -> Option<LimitUpdate> {
        self.in_a_row += 1;
        if let Some(asked) = signal.retry_after.filter(|asked| !asked.is_zero()) {
            let wait = asked.min(LONGEST_COOL_DOWN);
            // The requests that were in flight at the first signal are throttled as well.
            let known = limit.cools_until.map(|until| until - now);
            if known.is_some_and(|known| wait <= known + SAME_COOL_DOWN) {
                return None;
            }
            let why = format!("{} and asked for {} s", signal.what(), asked.as_secs());
            return Some(LimitUpdate::CoolDown { host, wait, why });
        }
        let was_just_slowed = self.slowed_at.is_some_and(|then| now - then < SLOW_INTERVAL);
        if self.in_a_row < SLOW_AFTER || was_just_slowed {
            return None;
        }
        self.slowed_at = Some(now);
        let allowed = limit.rate();
        let why = format!("slowed: {} {} times in a row", signal.what(), self.in_a_row);
        let (rate, is_of_fleet) = (allowed.unwrap_or(sent_per_second), allowed.is_some());
        Some(LimitUpdate::Slow { host, rate, is_of_fleet, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Records a 429 that asks for this many seconds.
    fn record(
        throttling: &mut Throttling,
        retry_after: Option<u64>,
        limit: Limit,
        now: Instant,
    ) -> Option<LimitUpdate> {
        let retry_after = retry_after.map(Duration::from_secs);
        let signal = ThrottleSignal { status: Some(429), retry_after };
        throttling.record("a.example".into(), signal, limit, 0.5, now)
    }

    #[test]
    fn a_host_that_asks_for_time_gets_it_once_and_at_most_an_hour() {
        let (mut throttling, now, mut limit) =
            (Throttling::default(), Instant::now(), Limit::default());
        let update = record(&mut throttling, Some(90), limit, now);
        let Some(LimitUpdate::CoolDown { wait, why, .. }) = update else { panic!("{update:?}") };
        assert_eq!((wait, &*why), (90 * SECOND, "answered 429 and asked for 90 s"));
        limit.cool_down(now + wait);
        let again = record(&mut throttling, Some(91), limit, now);
        assert_eq!(again, None, "the cool-down is known");
        let later = now + 100 * SECOND;
        let update = record(&mut throttling, Some(86_400), limit, later);
        let Some(LimitUpdate::CoolDown { wait, .. }) = update else { panic!("{update:?}") };
        assert_eq!(wait, LONGEST_COOL_DOWN);
    }

    #[test]
    fn a_host_that_refuses_requests_of_http_2_has_no_status() {
        let refused = ThrottleSignal { status: None, retry_after: None };
        assert_eq!(refused.what(), "refused requests (HTTP/2)");
    }

    #[test]
    fn five_answers_in_a_row_without_retry_after_halve_the_measured_rate_or_the_limit() {
        let (mut throttling, now, mut limit) =
            (Throttling::default(), Instant::now(), Limit::default());
        for _ in 0..4 {
            assert_eq!(record(&mut throttling, None, limit, now), None);
        }
        throttling.reset();
        for _ in 0..4 {
            let update = record(&mut throttling, None, limit, now);
            assert_eq!(update, None, "another response restarts the count");
        }
        let update = record(&mut throttling, Some(0), limit, now);
        assert!(
            matches!(update, Some(LimitUpdate::Slow { rate: 0.5, is_of_fleet: false, .. })),
            "{update:?}"
        );
        limit.space_out(2 * SECOND);
        for _ in 0..40 {
            let update = record(&mut throttling, None, limit, now);
            assert_eq!(update, None, "the host was just slowed");
        }
        let update = record(&mut throttling, None, limit, now + SLOW_INTERVAL);
        assert!(
            matches!(update, Some(LimitUpdate::Slow { is_of_fleet: true, rate, .. })
                if (rate - 0.5).abs() < 1e-6),
            "{update:?}"
        );
    }
}
