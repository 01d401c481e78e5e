//! The contract on RabbitMQ: what a message says, which queues there are, and how to talk to the broker.
//!
//! The modules stand in the order in which a URL meets them. This crate knows neither MySQL nor HTTP.

mod address;
mod task;
mod part;
mod header;
mod topology;
mod frames;
mod transport;
mod broker;
pub mod control;
mod publish;
mod letter;
pub mod dead;
mod error;

pub use address::{Address, AddressError, MAX_URL_BYTES};
pub use broker::{Broker, BrokerConfig, Role};
pub use error::Error;
pub use letter::{Filter, Letter};
pub use part::{Message, Part};
pub use publish::{Blocked, Confirmed, Death, Draft, Lane, Original, Round, Verdict, watch_blocked};
pub use task::{DeferReason, Key, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, NO_RUN, NotATask, Order, Task, is_name};
pub use topology::{Depth, Tier, Topology};
