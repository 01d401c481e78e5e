//! The nodes of a cluster of brokers or databases: how a URL names them, and the order in which a
//! process tries them.

mod list;
mod node;
mod nodes;
mod verdicts;

pub use list::{ListError, urls};
pub use node::{Endpoint, Node};
pub use nodes::Nodes;
