//! Messages from the broker: delivered, deduplicated, and those that may crash a worker set apart.

mod consumer;
mod dedup;
mod prefetch;
mod quarantine;

pub(crate) use consumer::{Consumer, Outlets};
pub(crate) use dedup::Dedup;
pub(crate) use prefetch::Prefetch;
pub(crate) use quarantine::Quarantine;
