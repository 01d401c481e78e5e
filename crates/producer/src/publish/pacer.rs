//! Spreads tasks evenly over time.

use std::time::Duration;

use tokio::time::Instant;

/// How late a timer may fire without making the rate drop.
const TIMER_DELAY: Duration = Duration::from_millis(5);

/// Says when the next task may be sent.
pub(crate) struct Pacer {
    interval: Duration,
    due: Instant,
}

impl Pacer {
    /// `rate` is in tasks per second.
    pub(crate) fn new(rate: f64) -> Self {
        Self { interval: Duration::from_secs_f64(rate.recip()), due: Instant::now() }
    }

    /// The time until the next task may be sent. Lost time is not made up for, except for the
    /// delay of a timer.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let now = Instant::now();
        let due = self.due.max(now.checked_sub(TIMER_DELAY).unwrap_or(now));
        self.due = due + self.interval;
        due.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_are_paced_and_lost_time_is_not_made_up_for() {
        let mut pacer = Pacer::new(10.0);
        let started = Instant::now();
        for _ in 0..11 {
            tokio::time::sleep(pacer.next_delay()).await;
        }
        assert_eq!(started.elapsed().as_millis(), 1_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pacer.next_delay(), Duration::ZERO);
        assert!(pacer.next_delay() > Duration::from_millis(90));
    }
}
