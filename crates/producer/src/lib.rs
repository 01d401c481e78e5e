#![doc = include_str!("../README.md")]

mod rejection;
mod progress;
mod text;
mod source;
mod entry;
mod known_tasks;
mod classifier;
mod checkpoint;
mod publish;
mod config;
mod producer;
#[cfg(test)]
mod test_site;

pub use config::{Config, Error};
pub use entry::{Format, MAX_PRIORITY};
pub use producer::{Summary, produce};
pub use progress::{Event, Progress};
pub use rejection::Rejection;
pub use source::Source;
pub use text::{Encoding, UnknownEncoding};
