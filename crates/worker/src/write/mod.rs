//! Results into the database: collected into batches, and committed.

mod batcher;
mod committer;

pub(crate) use batcher::{BatchLimits, run as collect};
pub(crate) use committer::{Commit, Commits};
