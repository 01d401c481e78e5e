//! Connections to the broker, and the topology that they declare.

mod deadline;
mod channel;
mod tier;
mod topology;
mod inspection;
mod frames;
mod transport;
mod broker;

pub use broker::{Broker, BrokerConfig, Role};
pub(crate) use channel::{open_channel, open_confirm_channel};
pub(crate) use deadline::within;
pub use inspection::Difference;
pub use tier::Tier;
pub use topology::{QueueCounts, Topology};
