//! Deliveries: received, deduplicated, and quarantined if they may crash a worker.

mod balance;
mod config;
mod consumer;
mod dedup;
pub(crate) mod idle;
mod prefetch;
mod quarantine;
mod router;
mod subscription;

pub use config::Config;
pub(crate) use consumer::Consumer;
pub(crate) use dedup::Dedup;
pub(crate) use prefetch::Prefetch;
pub(crate) use quarantine::Quarantine;
pub(crate) use router::{Router, Routes};
