//! Tests of the store on a real server, MariaDB or MySQL.

mod database;
mod migrate;
mod pages;
mod poll;
mod prune;
mod queries;
mod runs;
mod session;
mod write;
