//! Waits for a condition with a deadline, never for a fixed time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Deadline of a condition. It is generous: a machine that runs all tests at once is slow.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Polls `observe` until `reached` holds for its result, and returns that result. Fails with the
/// last result after a minute.
pub async fn until<T: Debug>(
    what: &str,
    observe: impl AsyncFnMut() -> anyhow::Result<T>,
    reached: impl Fn(&T) -> bool,
) -> anyhow::Result<T> {
    within(DEADLINE, what, observe, reached).await
}

/// Like [`until`], with another deadline, for conditions that take longer.
pub async fn within<T: Debug>(
    deadline: Duration,
    what: &str,
    mut observe: impl AsyncFnMut() -> anyhow::Result<T>,
    reached: impl Fn(&T) -> bool,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        let observed = observe().await?;
        if reached(&observed) {
            return Ok(observed);
        }
        if started.elapsed() > deadline {
            bail!("{what}: not reached within {} s; last seen: {observed:?}", deadline.as_secs());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until this time has passed since a moment, for promises about time itself.
pub async fn since(moment: Instant, duration: Duration) -> anyhow::Result<()> {
    let elapsed = async || Ok(moment.elapsed());
    within(duration + DEADLINE, "time passes", elapsed, |elapsed| *elapsed >= duration)
        .await
        .map(drop)
}
