//! Entries that cannot be published.

use std::fmt;

/// An entry that cannot be published, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The source, or the sitemap that an index names; credentials are masked.
    pub source: String,
    /// The number of the entry's first line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
    /// The entry as it was given, without its line end; empty if it was too long to be held.
    pub raw: Vec<u8>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source, self.line, self.reason)
    }
}
