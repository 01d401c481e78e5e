//! Byte streams: counted, decompressed, decoded, split into lines, and bounded.

mod bounded;
mod charset;
mod binary;
mod elements;
mod input;
mod lines;
mod prefix;

use tokio::io::AsyncRead;

pub(crate) use binary::{ZIP_MAGIC, why_not_a_list};
#[cfg(test)]
pub(crate) use bounded::MAX_TAG_BYTES;
pub(crate) use bounded::{BoundedText, TooLong};
pub(crate) use charset::{Charset, decode, display_name, may_be_utf_8};
pub use charset::{Encoding, UnknownEncoding};
pub(crate) use elements::{ArrayElements, begins_array};
pub(crate) use input::Input;
pub(crate) use lines::{Line, LineEnd, Lines};
pub(crate) use prefix::peek;

/// Bytes of a read buffer.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// The decompressed bytes of a source.
pub(crate) type Text = Box<dyn AsyncRead + Send + Unpin>;
