//! Workers that are killed, and workers that are asked to stop.

use fetchline_tests::fleet::Fleet;
use fetchline_tests::trial::{Fate, Trial, seed};

#[tokio::test]
async fn killed_at_random_moments() -> anyhow::Result<()> {
    let mut trial = Trial::new("workers-killed", seed()).await?;
    let urls = trial.urls("/slow/50/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let mut fleet = Fleet::direct(&trial.world).await?;
    for moment in trial.moments(5, urls.len()) {
        trial.reach(moment).await?;
        trial.kill_worker(&mut fleet).await?;
    }
    trial.finish(fleet).await
}

#[tokio::test]
async fn terminated_at_random_moments_they_repeat_nothing() -> anyhow::Result<()> {
    let mut trial = Trial::new("workers-terminated", seed()).await?;
    let urls = trial.urls("/slow/50/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let mut fleet = Fleet::direct(&trial.world).await?;
    for moment in trial.moments(5, urls.len()) {
        trial.reach(moment).await?;
        trial.terminate_worker(&mut fleet).await?;
    }
    trial.finish(fleet).await
}
