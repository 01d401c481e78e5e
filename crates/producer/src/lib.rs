//! From lists of URLs to tasks that the broker has confirmed.
//!
//! The modules stand in the order of the flow: lines are read from a source, are records in its format, are sifted into
//! tasks, and sent; `produce` joins them. Memory does not grow with the input, except by 16 bytes a URL to find doubles.

mod source;
mod remote;
mod lines;
mod format;
mod csv;
mod record;
mod sitemap;
mod sift;
mod checkpoint;
mod progress;
mod send;
mod produce;
#[cfg(test)]
mod site;

pub use format::Format;
pub use produce::{Config, Error, Produced, produce};
pub use progress::{Event, Progress};
pub use record::MAX_PRIORITY;
pub use sift::Rejection;
pub use source::Source;
