//! Tests of the store on a real server, MariaDB or MySQL.

mod database;
mod poll;
mod runs;
mod session;
mod write;
