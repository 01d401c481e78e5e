//! Faults of workers: they are killed or terminated.

use fetchline_tests::fleet::Fleet;
use fetchline_tests::trial::{Fate, Trial, seed};
use fetchline_tests::wait;

/// The number of crashes after which a task is poison.
const POISON_AFTER: u64 = 20;

#[tokio::test]
async fn killed_at_random_moments() -> anyhow::Result<()> {
    let mut trial = Trial::new("workers-killed", seed()).await?;
    let urls = trial.urls("/slow/50/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let mut fleet = Fleet::direct(&trial.world).await?;
    for moment in trial.moments(5, urls.len()) {
        trial.wait_for_visits(moment).await?;
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
        trial.wait_for_visits(moment).await?;
        trial.terminate_worker(&mut fleet).await?;
    }
    trial.finish(fleet).await
}

/// The broker counts each crash against every message that the worker held.
#[tokio::test]
async fn a_task_that_kills_its_worker_is_given_up_and_its_neighbours_are_not() -> anyhow::Result<()>
{
    let mut trial = Trial::new("crashing-task", seed()).await?;
    let (crashing, neighbours) = (trial.urls("/hang/", 1), trial.urls("/slow/200/", 20));
    trial.produce(&crashing, Fate::POISON).await?;
    trial.produce(&neighbours, Fate::OK).await?;
    for crash in 1..=POISON_AFTER {
        let worker = trial.world.worker(&["--concurrency", "10", "--prefetch", "100"])?;
        let visits = async || Ok(trial.world.shop.visits().of("/hang/0"));
        wait::until("the worker fetches the crashing page", visits, |visits| *visits == crash)
            .await?;
        trial.expose().await;
        worker.kill().await?;
    }
    let fleet = Fleet::direct(&trial.world).await?;
    trial.finish(fleet).await
}
