#![doc = include_str!("../README.md")]

mod error;
mod message;
mod host;
mod connection;
mod publish;
pub mod control;
pub mod dead;
pub mod schema;

pub use fetchline_nodes::Node;
pub use lapin;

pub use connection::{
    Broker, BrokerConfig, DEADLINE, Difference, Effect, Inspection, MissingPermission, QueueCounts,
    Role, Tier, Topology, Undeclared, open_channel, within,
};
pub use dead::DeadLetter;
pub use error::Error;
pub use host::check_name as check_host_name;
pub use message::{
    Address, AddressError, DeferCounts, DeferReason, Doubt, FetchRequest, Fingerprint, Key,
    ListLine, MAX_LIST_LINES, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, MAX_URL_BYTES, Message, NO_RUN,
    NotATask, PartId, PartReport, RESERVED_HEADERS, RawMessage, Task, UrlLines, begins_with_scheme,
    has_second_url, is_comment, is_invisible, is_name, is_padding, list_lines, may_continue_url,
    unwrapped,
};
pub use publish::{
    ConfirmChannel, Confirmed, ConnectionBlocked, Death, Draft, MAX_ROUND, Publisher, Round,
    Verdict, Wait, watch_blocked,
};
