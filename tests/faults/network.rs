//! Faults of the network: connections that are cut or become silent.

use std::time::{Duration, Instant};

use fetchline_tests::fleet::{Fleet, Link};
use fetchline_tests::trial::{Fate, Trial, seed};
use fetchline_tests::wait;
use rand::RngExt;

#[tokio::test]
async fn cut_at_random_moments() -> anyhow::Result<()> {
    let mut trial = Trial::new("connections-cut", seed()).await?;
    let urls = trial.urls("/slow/50/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let fleet = Fleet::proxied(&trial.world).await?;
    for moment in trial.moments(8, urls.len()) {
        trial.wait_for_visits(moment).await?;
        let link = if trial.rng.random() { Link::Broker } else { Link::Database };
        trial.cut(&fleet, link).await?;
    }
    trial.finish(fleet).await
}

/// One worker receives nothing more from the broker, another one nothing from the database, and the
/// third one continues.
#[tokio::test]
async fn silence_is_noticed_within_thirty_seconds() -> anyhow::Result<()> {
    let mut trial = Trial::new("connections-silent", seed()).await?;
    let urls = trial.urls("/slow/200/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let mut fleet = Fleet::proxied(&trial.world).await?;
    let moment = trial.moments(1, urls.len() / 2)[0];
    trial.wait_for_visits(moment).await?;

    trial.expose().await;
    fleet.silence(0, Link::Broker, true)?;
    fleet.silence(1, Link::Database, true)?;
    let silent = Instant::now();
    for (worker, link) in [(0, Link::Broker), (1, Link::Database)] {
        let reaches = async || fleet.reaches(worker, link).await;
        wait::until("the worker notices the silence", reaches, |reaches| !reaches).await?;
        assert!(
            silent.elapsed() < Duration::from_secs(31),
            "{link:?}: noticed after {:?}",
            silent.elapsed()
        );
    }
    trial.expose().await;
    fleet.silence(0, Link::Broker, false)?;
    fleet.silence(1, Link::Database, false)?;
    trial.finish(fleet).await
}
