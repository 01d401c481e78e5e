//! What the end-to-end tests and the demo stand on: real services, real processes, and a sample shop.

pub mod binary;
pub mod process;
pub mod proxy;
pub mod services;
pub mod shop;
pub mod wait;
pub mod world;
