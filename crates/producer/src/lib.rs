#![doc = include_str!("../README.md")]

mod rejection;
mod progress;
mod text;
mod source;
mod entry;
mod known_tasks;
mod fetched_pages;
mod classifier;
mod opened;
mod checkpoint;
mod publish;
mod config;
mod summary;
mod producer;
#[cfg(test)]
mod test_site;

pub use config::{Config, Error};
pub use entry::{Format, MAX_PRIORITY};
pub use fetched_pages::{FetchedError, SkipFetched};
pub use producer::produce;
pub use progress::{Event, Progress};
pub use rejection::Rejection;
pub use source::Source;
pub use summary::Summary;
pub use text::{Encoding, UnknownEncoding};
