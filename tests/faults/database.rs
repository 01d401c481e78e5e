//! Faults of the database: it is killed or frozen.

use std::time::Duration;

use fetchline_tests::fleet::Fleet;
use fetchline_tests::trial::{Fate, Trial, seed};

#[tokio::test]
async fn killed_and_restarted() -> anyhow::Result<()> {
    let mut trial = Trial::new("database-killed", seed()).await?;
    let urls = trial.urls("/slow/50/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let fleet = Fleet::direct(&trial.world).await?;
    for moment in trial.moments(3, urls.len()) {
        trial.wait_for_visits(moment).await?;
        trial.kill_database().await?;
    }
    trial.finish(fleet).await
}

#[tokio::test]
async fn frozen_for_twenty_seconds() -> anyhow::Result<()> {
    let mut trial = Trial::new("database-frozen", seed()).await?;
    let urls = trial.urls("/slow/50/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let fleet = Fleet::direct(&trial.world).await?;
    let moment = trial.moments(1, urls.len())[0];
    trial.wait_for_visits(moment).await?;
    trial.freeze_database(Duration::from_secs(20)).await?;
    trial.finish(fleet).await
}
