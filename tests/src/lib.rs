//! The test harness of the end-to-end tests, the fault suite and the demo: real services, real
//! processes and a sample shop.

#[cfg(feature = "harness")]
pub mod arena;
#[cfg(feature = "harness")]
pub mod authority;
pub mod binary;
pub mod clock;
#[cfg(feature = "harness")]
pub mod collector;
pub mod console;
#[cfg(feature = "harness")]
pub mod count;
pub mod dead_letters;
pub mod fleet;
pub mod former_schema;
pub mod items;
pub mod name_server;
pub mod odd_site;
pub mod origin;
pub mod process;
pub mod proxy;
pub mod raw_amqp;
pub mod readiness;
pub mod recorder;
pub mod rows;
#[cfg(feature = "harness")]
pub mod schemas;
pub mod services;
pub mod shop;
pub mod tls_site;
#[cfg(feature = "harness")]
pub mod trial;
pub mod wait;
pub mod world;
