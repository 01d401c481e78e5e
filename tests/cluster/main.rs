//! Trials on a cluster of three RabbitMQ nodes and one of three MariaDB Galera nodes, any of which
//! may die. Each counts at the end: nothing is lost or duplicated, no worker ends too early, and
//! all nodes hold the same. Random moments come from `FAULT_SEED`.
//!
//! All trials share the clusters, so they run one after the other: `make test-cluster`.

mod broker;
mod cluster;
mod database;
mod trial;
