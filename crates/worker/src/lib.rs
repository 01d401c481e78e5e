//! The road of a URL, from its delivery to its ack.
//!
//! A stage is a file, and the files are declared in the order in which a URL passes them; [`pipeline`] alone joins them.
//! A stage hands on what it is done with and ends when the stage before it has ended, so that a drain is nothing but
//! the first stage stopping.

mod config;
pub mod pipeline;

// The road.
mod consume;
mod recognise;
mod isolate;
mod admit;
mod turn;
mod fetch;
mod judge;
mod extract;
mod batch;
mod commit;
mod hand_over;
mod settle;

// What the stages lean on.
mod alarm;
mod answer;
mod backoff;
mod body;
mod budget;
mod cancelled;
mod claim;
mod control;
mod deadline;
mod decode;
mod failure;
mod flow;
mod guard;
mod head;
mod health;
mod hop;
mod host;
mod idle;
mod job;
mod ledger;
mod limits;
mod meters;
mod pace;
mod permits;
mod proxy;
mod refusals;
mod resolver;
mod robots;
mod services;
mod summary;
mod trace;
mod waits;

#[cfg(feature = "bench")]
pub mod bench;

pub use config::{MAX_PREFETCH, RobotsPolicy, StoreBody, WorkConfig};
pub use pipeline::{Deps, Stop, run};
pub use proxy::{Proxy, ProxyError};
pub use summary::Summary;
