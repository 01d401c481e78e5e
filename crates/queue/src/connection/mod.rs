//! Connections to the broker, and the topology that they declare.

mod deadline;
mod channel;
mod tier;
mod topology;
mod inspection;
mod permissions;
mod frames;
mod socket;
mod transport;
mod broker;

pub use broker::{Broker, BrokerConfig, Role};
pub(crate) use channel::{open_channel, open_confirm_channel};
pub(crate) use deadline::within;
pub use inspection::Difference;
pub use permissions::MissingPermission;
pub use tier::Tier;
pub use topology::{QueueCounts, Topology};
