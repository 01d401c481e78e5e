//! The fault suite: real workers on a broker and a database of their own, which are killed, stopped and cut off. Each test
//! counts at the end: nothing lost, nothing twice, nothing left. Random moments come from `FAULT_SEED`.
//!
//! All tests share the two services, so they run one after the other: `make test-faults`.

mod broker;
mod database;
mod network;
mod rows;
mod tls;
mod workers;
