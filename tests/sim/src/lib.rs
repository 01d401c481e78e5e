//! A deterministic simulation of the workers of fetchline.
//!
//! A world has one thread, one seed, a clock that jumps to the next event, and real workers. Their
//! libraries for AMQP, MySQL and HTTP talk to a broker, a database and sites in memory. The same
//! seed always gives the same world. docs/testing.md describes it.

mod broker;
mod chance;
mod database;
mod fleet;
mod message;
mod plan;
mod shape;
mod trace;
mod trouble;
mod web;
mod witness;
mod wiring;
mod world;

pub use fetchline_store::planted::Fault;
pub use world::{Report, Settings, on_simulated_broker, run};
