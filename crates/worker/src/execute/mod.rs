//! Runs one task: fetches, decides with the retry policy, extracts, and hands the result on.

mod config;
mod executor;
pub(crate) mod extraction;
mod name_server_outages;
mod retry_policy;

pub use config::{CompressBodies, Config, StoreBody};
pub(crate) use executor::{Executor, Outputs};
pub(crate) use name_server_outages::NameServerOutages;
pub(crate) use retry_policy::{RetryPolicy, RowState, row_state};
