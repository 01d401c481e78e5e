//! Nodes of the broker are killed, frozen, cut off, and restarted one after the other.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::trial::{STAND_STILL, Trial};

const URLS: u64 = 6_000;

#[tokio::test]
async fn the_leader_of_the_queue_is_killed() -> anyhow::Result<()> {
    let mut trial = Trial::begin("leader-killed", URLS).await?;
    let leader = trial.cluster.leader(&trial.queue()).await?;
    trial.reach_moment().await?;
    trial.cluster.node("kill", &leader).await?;
    trial.last(Duration::from_secs(20)).await?;
    trial.cluster.node("revive", &leader).await?;
    trial.finish(STAND_STILL).await
}

#[tokio::test]
async fn the_leader_of_the_queue_is_frozen() -> anyhow::Result<()> {
    let mut trial = Trial::begin("leader-frozen", URLS).await?;
    let leader = trial.cluster.leader(&trial.queue()).await?;
    trial.reach_moment().await?;
    trial.cluster.node("freeze", &leader).await?;
    trial.last(Duration::from_secs(40)).await?;
    trial.cluster.thaw_broker(&leader).await?;
    // The broker elects another leader once its distribution has given the frozen node up.
    trial.finish(STAND_STILL * 3).await
}

#[tokio::test]
async fn the_node_of_a_worker_is_frozen() -> anyhow::Result<()> {
    let mut trial = Trial::begin("node-frozen", URLS).await?;
    trial.reach_moment().await?;
    let node = trial.node_of(0, "broker").await?;
    trial.cluster.node("freeze", &node).await?;
    trial.last(Duration::from_secs(40)).await?;
    trial.cluster.thaw_broker(&node).await?;
    trial.finish(STAND_STILL * 3).await
}

#[tokio::test]
async fn the_leader_of_the_queue_is_cut_off() -> anyhow::Result<()> {
    if !Cluster::can_cut().await {
        return Ok(());
    }
    let mut trial = Trial::begin("leader-cut-off", URLS).await?;
    let leader = trial.cluster.leader(&trial.queue()).await?;
    trial.reach_moment().await?;
    trial.cluster.node("cut", &leader).await?;
    trial.last(Duration::from_secs(40)).await?;
    trial.cluster.heal().await?;
    // The nodes notice the partition after their `net_ticktime` of 20 s.
    trial.finish(STAND_STILL * 3).await
}

#[tokio::test]
async fn two_of_three_nodes_are_killed() -> anyhow::Result<()> {
    let mut trial = Trial::begin("majority-killed", URLS).await?;
    trial.reach_moment().await?;
    for node in ["rabbit1", "rabbit2"] {
        trial.cluster.node("kill", node).await?;
    }
    trial.last(Duration::from_secs(20)).await?;
    trial.nobody_has_ended()?;
    for node in ["rabbit1", "rabbit2"] {
        trial.cluster.node("revive", node).await?;
    }
    trial.finish(Duration::MAX).await
}

#[tokio::test]
async fn without_a_majority_nobody_takes_the_queue_for_empty() -> anyhow::Result<()> {
    let mut trial = Trial::begin("majority-frozen", URLS).await?;
    trial.reach_moment().await?;
    for node in ["rabbit1", "rabbit2"] {
        trial.cluster.node("freeze", node).await?;
    }
    trial.last(Duration::from_secs(40)).await?;
    trial.nobody_has_ended()?;
    let status = trial.world.run(&["status", "--json"], "").await?;
    assert_eq!(status.code, Some(1), "{status:?}");
    for node in ["rabbit1", "rabbit2"] {
        trial.cluster.thaw_broker(node).await?;
    }
    trial.finish(Duration::MAX).await
}

#[tokio::test]
async fn every_node_of_the_broker_is_restarted() -> anyhow::Result<()> {
    let mut trial = Trial::begin("rolling-restart-of-the-broker", URLS).await?;
    trial.reach_moment().await?;
    for node in ["rabbit1", "rabbit2", "rabbit3"] {
        trial.cluster.node("term", node).await?;
        trial.last(Duration::from_secs(3)).await?;
        trial.cluster.node("revive", node).await?;
    }
    trial.finish(STAND_STILL).await
}
