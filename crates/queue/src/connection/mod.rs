//! Connections to the broker, and the topology that they declare.

mod deadline;
mod channel;
mod tier;
mod arguments;
mod counts;
mod topology;
mod inspection;
mod permissions;
mod permitted;
mod frames;
mod socket;
mod transport;
mod uri;
mod broker;
mod leader;

pub use broker::{Broker, BrokerConfig, Role};
pub use channel::open_channel;
pub(crate) use channel::open_confirm_channel;
pub use counts::QueueCounts;
pub use deadline::{DEADLINE, within};
pub use inspection::{Difference, Effect, Inspection};
pub use permissions::MissingPermission;
pub use permitted::Undeclared;
pub use tier::Tier;
pub use topology::Topology;
