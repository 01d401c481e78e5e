//! Waiting for a condition, with a deadline, and never for a fixed time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::bail;

/// How long a condition may take. Generous: a machine that runs all tests at once is slow.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `reached` holds of what `look` sees; returns what was seen. Fails with the last sight after a minute.
pub async fn until<T: Debug>(
    what: &str,
    look: impl AsyncFnMut() -> anyhow::Result<T>,
    reached: impl Fn(&T) -> bool,
) -> anyhow::Result<T> {
    within(DEADLINE, what, look, reached).await
}

/// The same with another deadline, for what takes long by its nature.
pub async fn within<T: Debug>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
    reached: impl Fn(&T) -> bool,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        let seen = look().await?;
        if reached(&seen) {
            return Ok(seen);
        }
        if started.elapsed() > deadline {
            bail!("{what}: not reached within {} s; last seen: {seen:?}", deadline.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until so much time has passed since a moment: where a promise is about time itself.
pub async fn since(moment: Instant, long: Duration) -> anyhow::Result<()> {
    let elapsed = async || Ok(moment.elapsed());
    within(long + DEADLINE, "time passes", elapsed, |elapsed| *elapsed >= long).await.map(drop)
}
