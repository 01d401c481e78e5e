//! Connections that are cut, and connections on which nothing comes any more.

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
        trial.reach(moment).await?;
        let link = if trial.rng.random() { Link::Broker } else { Link::Database };
        trial.cut(&fleet, link).await?;
    }
    trial.finish(fleet).await
}

/// One worker no longer hears the broker, another one no longer the database, and the third goes on.
#[tokio::test]
async fn silence_is_noticed_within_thirty_seconds() -> anyhow::Result<()> {
    let mut trial = Trial::new("connections-silent", seed()).await?;
    let urls = trial.urls("/slow/200/", 2_000);
    trial.produce(&urls, Fate::OK).await?;
    let mut fleet = Fleet::proxied(&trial.world).await?;
    let moment = trial.moments(1, urls.len() / 2)[0];
    trial.reach(moment).await?;

    trial.expose().await;
    fleet.silence(0, Link::Broker, true)?;
    fleet.silence(1, Link::Database, true)?;
    let silent = Instant::now();
    for (worker, link) in [(0, Link::Broker), (1, Link::Database)] {
        let reaches = async || fleet.reaches(worker, link).await;
        wait::until("the worker notices", reaches, |reaches| !reaches).await?;
        assert!(silent.elapsed() < Duration::from_secs(31), "{link:?}: noticed after {:?}", silent.elapsed());
    }
    trial.expose().await;
    fleet.silence(0, Link::Broker, false)?;
    fleet.silence(1, Link::Database, false)?;
    trial.finish(fleet).await
}
