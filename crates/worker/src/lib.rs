//! The way of a URL, from its delivery to its ack.
//!
//! A message is consumed, deduplicated, scheduled, executed (fetched, decided on, extracted), written, and settled: each a
//! folder or a file. [`pipeline`] joins them. Each hands on what it is done with, and ends when the one before it has
//! ended, so that a drain is nothing but the first one stopping.

mod config;
pub mod pipeline;

// The way.
mod consume;
mod schedule;
mod execute;
mod fetch;
mod extract;
mod write;
mod settle;

// What all act on.
mod snapshot;
mod dependencies;
mod control;
mod poll;

// What they lean on.
mod backoff;
mod body;
mod budget;
mod deadline;
mod decode;
mod failure;
mod flow;
mod guard;
mod head;
mod health;
mod hop;
mod idle;
mod job;
mod meters;
mod proxy;
mod resolver;
mod robots;
mod summary;
mod trace;

#[cfg(feature = "bench")]
pub mod bench;

pub use config::{MAX_PREFETCH, RobotsPolicy, StoreBody, WorkConfig};
pub use pipeline::{Deps, Stop, run};
pub use proxy::{Proxy, ProxyError};
pub use schedule::delay_tiers;
pub use summary::Summary;
