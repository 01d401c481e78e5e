//! Tests of the store on a real server, MariaDB or MySQL.

mod database;
mod pages;
mod poll;
mod session;
mod write;
