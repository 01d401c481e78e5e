//! Nodes of the database are killed, frozen, cut off, made to refuse queries or to fall behind, and
//! restarted one after the other.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::trial::{STAND_STILL, Trial};

const URLS: u64 = 6_000;

#[tokio::test]
async fn the_node_of_a_worker_is_killed() -> anyhow::Result<()> {
    let mut trial = Trial::begin("database-killed", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "database").await?;
    trial.cluster.node("kill", &node).await?;
    trial.last(Duration::from_secs(20)).await?;
    trial.cluster.node("revive", &node).await?;
    trial.finish(STAND_STILL).await
}

#[tokio::test]
async fn the_node_of_a_worker_is_frozen() -> anyhow::Result<()> {
    let mut trial = Trial::begin("database-frozen", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "database").await?;
    trial.cluster.node("freeze", &node).await?;
    trial.last(Duration::from_secs(40)).await?;
    trial.cluster.node("thaw", &node).await?;
    // A group that takes a node out commits nothing for a moment.
    trial.finish(STAND_STILL * 2).await
}

#[tokio::test]
async fn the_node_of_a_worker_is_cut_off() -> anyhow::Result<()> {
    if !Cluster::can_cut().await {
        return Ok(());
    }
    let mut trial = Trial::begin("database-cut-off", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "database").await?;
    trial.cluster.node("cut", &node).await?;
    trial.last(Duration::from_secs(30)).await?;
    trial.cluster.heal().await?;
    // A group that takes a node out commits nothing for a moment.
    trial.finish(STAND_STILL * 2).await
}

#[tokio::test]
async fn a_node_gets_all_data_anew() -> anyhow::Result<()> {
    let mut trial = Trial::begin("database-state-transfer", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "database").await?;
    trial.cluster.node("kill", &node).await?;
    Cluster::forget_state(&node)?;
    trial.last(Duration::from_secs(5)).await?;
    trial.cluster.node("revive", &node).await?;
    trial.finish(STAND_STILL).await
}

#[tokio::test]
async fn the_node_of_a_worker_falls_behind() -> anyhow::Result<()> {
    let mut trial = Trial::begin("database-desynchronised", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "database").await?;
    trial.cluster.execute(&node, "SET GLOBAL wsrep_desync = ON").await?;
    trial.last(Duration::from_secs(20)).await?;
    trial.cluster.execute(&node, "SET GLOBAL wsrep_desync = OFF").await?;
    trial.finish(STAND_STILL).await
}

#[tokio::test]
async fn the_node_of_a_worker_refuses_queries() -> anyhow::Result<()> {
    let mut trial = Trial::begin("database-rejects", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "database").await?;
    trial.cluster.execute(&node, "SET GLOBAL wsrep_reject_queries = ALL").await?;
    trial.last(Duration::from_secs(20)).await?;
    let other = trial.node_of(0, "database").await?;
    trial.cluster.execute(&node, "SET GLOBAL wsrep_reject_queries = NONE").await?;
    assert_ne!(node, other, "{}", trial.log(0)?);
    trial.finish(STAND_STILL).await
}

#[tokio::test]
async fn every_node_of_the_database_is_restarted() -> anyhow::Result<()> {
    let mut trial = Trial::begin("rolling-restart-of-the-database", URLS).await?;
    trial.reach_moment().await?;
    for node in ["galera1", "galera2", "galera3"] {
        trial.cluster.node("term", node).await?;
        trial.last(Duration::from_secs(3)).await?;
        trial.cluster.node("revive", node).await?;
    }
    trial.finish(STAND_STILL).await
}
