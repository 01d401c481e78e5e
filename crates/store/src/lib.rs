//! Everything in SQL: the schema, the batch write, and what is asked about runs.
//!
//! Works on MySQL 8 and MariaDB 10.11 and later. This crate knows neither RabbitMQ nor HTTP. What it promises: a
//! [`Committed`] exists only after the transaction that holds its rows has been committed, every call has a deadline,
//! and no code path holds one connection and asks for another.

mod batch;
mod clock;
mod error;
mod fetch;
mod hosts;
mod known;
mod migrate;
mod pool;
mod robots;
mod runs;

pub use batch::{Batch, Committed, MAX_BATCH_ROWS, Refusal, Unwritten, Written};
pub use error::Error;
pub use fetch::{Body, Fetch, Outcome};
pub use hosts::{HostLimit, KnownHosts, Reserved};
pub use known::{Known, LookedUp, NotLookedUp};
pub use pool::{Store, StoreConfig};
pub use robots::RobotsFile;
pub use runs::FetchTimes;
