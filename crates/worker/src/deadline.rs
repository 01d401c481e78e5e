//! A deadline that stands still while a fetch waits for something of ours: that is not the site's fault.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When a fetch has to be finished.
pub(crate) struct Deadline(Mutex<State>);

struct State {
    ends: Instant,
    /// Since when it stands still.
    still_since: Option<Instant>,
}

/// The time is up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over;

impl Deadline {
    /// After so much time, not counting the time in which it stands still.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Mutex::new(State { ends: Instant::now() + time, still_since: None }))
    }

    /// Does the work, unless the time is up first.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T, Over> {
        let mut work = std::pin::pin!(work);
        loop {
            let next_look = self.look(Instant::now()).ok_or(Over)?;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = sleep_until(next_look) => {}
            }
        }
    }

    /// Waits, and stands still meanwhile.
    pub(crate) async fn stand_still<T>(&self, wait: impl Future<Output = T>) -> T {
        self.state().still_since = Some(Instant::now());
        let waited = wait.await;
        let mut state = self.state();
        if let Some(since) = state.still_since.take() {
            state.ends += since.elapsed();
        }
        waited
    }

    /// The first moment at which the time can be up; `None` when it is.
    fn look(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        let ends = state.ends + state.still_since.map_or(Duration::ZERO, |since| now - since);
        (ends > now).then_some(ends)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_time_is_up_when_the_work_takes_longer() {
        assert_eq!(Deadline::after(2 * SECOND).bound(sleep(SECOND)).await, Ok(()));
        let started = Instant::now();
        assert_eq!(Deadline::after(2 * SECOND).bound(sleep(3 * SECOND)).await, Err(Over));
        assert_eq!(started.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_meanwhile_does_not_count() {
        let deadline = Deadline::after(2 * SECOND);
        let work = async {
            sleep(SECOND).await;
            deadline.stand_still(sleep(60 * SECOND)).await;
            sleep(SECOND / 2).await;
        };
        assert_eq!(deadline.bound(work).await, Ok(()));
        let deadline = Deadline::after(2 * SECOND);
        let started = Instant::now();
        let work = async {
            sleep(SECOND).await;
            deadline.stand_still(sleep(60 * SECOND)).await;
            sleep(3 * SECOND).await;
        };
        assert_eq!(deadline.bound(work).await, Err(Over));
        assert_eq!(started.elapsed().as_secs(), 62);
    }
}
