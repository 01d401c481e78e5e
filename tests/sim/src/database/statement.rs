//! A statement and the values that it binds.

use super::value::Value;

/// A statement.
pub(super) struct Statement<'a> {
    pub(super) text: &'a str,
    pub(super) values: &'a [Value],
    /// The server's time in microseconds.
    pub(super) now: i64,
    pub(super) is_read_only: bool,
}

impl Statement<'_> {
    pub(super) fn begins(&self, text: &str) -> bool {
        self.text.starts_with(text)
    }

    pub(super) fn is_write(&self) -> bool {
        ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| self.begins(verb))
    }
}
