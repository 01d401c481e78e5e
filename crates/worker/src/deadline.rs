//! The time limit of a fetch. It stands still while we are the ones who let the site wait.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

/// A time limit.
#[derive(Debug)]
pub(crate) struct Deadline {
    clock: Mutex<Clock>,
    /// How long it may stand still in all.
    hold: Duration,
}

#[derive(Debug)]
struct Clock {
    ends: Instant,
    stopped: Option<Instant>,
    stood_still: Duration,
}

/// The time limit stood still for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited for too long")]
pub(crate) struct HeldTooLong;

impl Deadline {
    /// A limit that counts from now.
    pub(crate) fn new(limit: Duration, hold: Duration) -> Self {
        let clock = Clock { ends: Instant::now() + limit, stopped: None, stood_still: Duration::ZERO };
        Self { clock: Mutex::new(clock), hold }
    }

    /// Works within the limit; `None` when it is over. The work has to be one task: it is not looked at from outside
    /// while the limit stands still.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut over = pin!(sleep_until(self.clock().ends));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            let Clock { ends, stopped, .. } = *self.clock();
            if stopped.is_some() {
                // What is waited for wakes this task.
                return Poll::Pending;
            }
            if over.deadline() != ends {
                over.as_mut().reset(ends);
            }
            over.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Waits for what is our own affair; the limit stands still meanwhile. Not to be nested.
    pub(crate) async fn stand_still<T>(&self, wait: impl Future<Output = T>) -> Result<T, HeldTooLong> {
        let left = self.hold.saturating_sub(self.stood_still());
        self.clock().stopped = Some(Instant::now());
        let _going_on = GoesOn(self);
        timeout(left, wait).await.map_err(|_| HeldTooLong)
    }

    /// For how long it stood still in all.
    pub(crate) fn stood_still(&self) -> Duration {
        self.clock().stood_still
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the clock go on when it is dropped.
struct GoesOn<'a>(&'a Deadline);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        if let Some(stopped) = clock.stopped.take() {
            let stood_still = stopped.elapsed();
            clock.ends += stood_still;
            clock.stood_still += stood_still;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_its_limit() {
        let began = Instant::now();
        let deadline = Deadline::new(3 * SECOND, 60 * SECOND);
        assert_eq!(deadline.bound(sleep(2 * SECOND)).await, Some(()));
        assert_eq!(deadline.bound(sleep(2 * SECOND)).await, None);
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_stands_still_while_we_let_the_site_wait() {
        let began = Instant::now();
        let deadline = Deadline::new(3 * SECOND, 60 * SECOND);
        let work = async {
            sleep(2 * SECOND).await;
            assert_eq!(deadline.stand_still(sleep(10 * SECOND)).await, Ok(()));
            assert_eq!(deadline.stand_still(sleep(20 * SECOND)).await, Ok(()));
            sleep(2 * SECOND).await;
        };
        assert_eq!(deadline.bound(work).await, None);
        assert_eq!((began.elapsed().as_secs(), deadline.stood_still().as_secs()), (33, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_stand_still_for_ever() {
        let began = Instant::now();
        let deadline = Deadline::new(3 * SECOND, 15 * SECOND);
        let work = async {
            deadline.stand_still(sleep(10 * SECOND)).await?;
            deadline.stand_still(sleep(10 * SECOND)).await
        };
        assert_eq!(deadline.bound(work).await, Some(Err(HeldTooLong)));
        assert_eq!(began.elapsed().as_secs(), 15);
    }
}
