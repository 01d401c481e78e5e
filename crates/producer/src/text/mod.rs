//! Byte streams: counted, decompressed, split into lines, and bounded.

mod bounded;
mod input;
mod lines;

use tokio::io::AsyncRead;

#[cfg(test)]
pub(crate) use bounded::MAX_TAG_BYTES;
pub(crate) use bounded::{BoundedText, TooLong};
pub(crate) use input::Input;
pub(crate) use lines::{Line, Lines};

/// Bytes of a read buffer.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// The decompressed bytes of a source.
pub(crate) type Text = Box<dyn AsyncRead + Send + Unpin>;
