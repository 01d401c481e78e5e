//! The fault suite: real workers on a private broker and database, which are killed, stopped and
//! cut off. Each test counts at the end: nothing is lost, duplicated or left behind. Random moments
//! come from `FAULT_SEED`.
//!
//! All tests share the two services, so they run one after the other: `make test-faults`.

mod broker;
mod database;
mod network;
mod rows;
mod tls;
mod workers;
