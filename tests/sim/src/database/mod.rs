//! A database with the rules of MySQL that matter here, which speaks its protocol over streams in
//! memory: transactions, locks of rows, errors by their numbers. It knows the statements of
//! `crates/store` that a worker runs, and no others.

mod faults;
mod hosts;
mod packets;
mod runs;
mod server;
mod session;
mod small;
mod statement;
mod statements;
mod tables;
mod value;

pub use faults::Faults;
pub use server::{Database, serve};
