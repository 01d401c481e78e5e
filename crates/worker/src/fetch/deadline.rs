//! The time limit of a fetch. It pauses while the site waits for us.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

/// A time limit that can pause.
#[derive(Debug)]
pub(crate) struct Deadline {
    clock: Mutex<Clock>,
    /// How long it may pause in all.
    max_pause: Duration,
}

#[derive(Debug)]
struct Clock {
    ends: Instant,
    paused_at: Option<Instant>,
    paused_for: Duration,
}

/// The deadline has paused for as long as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited for too long")]
pub(crate) struct PausedTooLong;

impl Deadline {
    /// A limit that counts from now.
    pub(crate) fn new(limit: Duration, max_pause: Duration) -> Self {
        let clock =
            Clock { ends: Instant::now() + limit, paused_at: None, paused_for: Duration::ZERO };
        Self { clock: Mutex::new(clock), max_pause }
    }

    /// Runs `work` within the limit; `None` when time is up. `work` has to run in the task that
    /// polls this: nothing else wakes it during a pause.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut time_up = pin!(sleep_until(self.clock().ends));
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            let Clock { ends, paused_at, .. } = *self.clock();
            if paused_at.is_some() {
                return Poll::Pending;
            }
            if time_up.deadline() != ends {
                time_up.as_mut().reset(ends);
            }
            time_up.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Pauses the deadline while it awaits `wait`. Must not be nested.
    pub(crate) async fn pause_during<T>(
        &self,
        wait: impl Future<Output = T>,
    ) -> Result<T, PausedTooLong> {
        let left = self.max_pause.saturating_sub(self.paused_for());
        self.clock().paused_at = Some(Instant::now());
        let _resume = ResumeOnDrop(self);
        timeout(left, wait).await.map_err(|_| PausedTooLong)
    }

    /// The length of all pauses together.
    pub(crate) fn paused_for(&self) -> Duration {
        self.clock().paused_for
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ResumeOnDrop<'a>(&'a Deadline);

impl Drop for ResumeOnDrop<'_> {
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        if let Some(paused_at) = clock.paused_at.take() {
            let pause = paused_at.elapsed();
            clock.ends += pause;
            clock.paused_for += pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_ends_at_its_limit() {
        let started = Instant::now();
        let deadline = Deadline::new(3 * SECOND, 60 * SECOND);
        assert_eq!(deadline.limit(sleep(2 * SECOND)).await, Some(()));
        assert_eq!(deadline.limit(sleep(2 * SECOND)).await, None);
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_pauses_while_the_site_waits_for_us() {
        let started = Instant::now();
        let deadline = Deadline::new(3 * SECOND, 60 * SECOND);
        let work = async {
            sleep(2 * SECOND).await;
            assert_eq!(deadline.pause_during(sleep(10 * SECOND)).await, Ok(()));
            assert_eq!(deadline.pause_during(sleep(20 * SECOND)).await, Ok(()));
            sleep(2 * SECOND).await;
        };
        assert_eq!(deadline.limit(work).await, None);
        assert_eq!((started.elapsed().as_secs(), deadline.paused_for().as_secs()), (33, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_pause_forever() {
        let started = Instant::now();
        let deadline = Deadline::new(3 * SECOND, 15 * SECOND);
        let work = async {
            deadline.pause_during(sleep(10 * SECOND)).await?;
            deadline.pause_during(sleep(10 * SECOND)).await
        };
        assert_eq!(deadline.limit(work).await, Some(Err(PausedTooLong)));
        assert_eq!(started.elapsed().as_secs(), 15);
    }
}
