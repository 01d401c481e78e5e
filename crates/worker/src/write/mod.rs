//! Writes results to the database: collects them into batches and commits these.

mod batcher;
mod committer;
mod config;

pub(crate) use batcher::run;
pub(crate) use committer::{Committer, Committers};
pub use config::Config;
