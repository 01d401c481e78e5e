//! A broker with RabbitMQ's rules, which speaks AMQP 0-9-1 over streams in memory.
//!
//! `state` is the broker as data, `dispatch` what moves in it, `methods` and `consuming` what a
//! client can ask of it, `connection` the frames of a connection. `tests/fidelity.rs` compares it
//! with a real broker.

mod connection;
mod consuming;
mod dispatch;
mod frames;
mod methods;
mod queue;
mod state;

pub use connection::serve;
pub use queue::Version;
pub use state::{Broker, Delays};
