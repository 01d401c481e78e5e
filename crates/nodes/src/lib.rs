#![doc = include_str!("../README.md")]

mod backoff;
pub mod error_chain;
mod list;
mod node;
mod nodes;
mod options;
mod protocol;
mod race;
mod verdicts;

pub use backoff::Backoff;
pub use list::{ListError, urls};
pub use node::{Endpoint, Node};
pub use nodes::Nodes;
pub use options::check_url;
pub use protocol::Protocol;
pub use race::Answer;
