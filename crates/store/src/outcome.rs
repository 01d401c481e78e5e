//! The outcomes of a task.

use std::fmt;

/// How a task ended. The word for it is stored in the column `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A 2xx response, an empty one included.
    Ok,
    /// The page is the same as in its last full response, whose row has the body.
    Unchanged,
    /// A response with any other status.
    HttpError,
    /// No complete response within the timeout.
    Timeout,
    /// The host's name has no address.
    Dns,
    /// No connection.
    Connect,
    /// No TLS session.
    Tls,
    /// The response broke the rules of HTTP, or broke off.
    Protocol,
    /// Too many redirects, or one that cannot be followed.
    Redirect,
    /// The host has only addresses in blocked networks.
    Blocked,
    /// A body above `--max-body`, or oversized response headers.
    TooLarge,
    /// A body that cannot be decompressed.
    Decode,
    /// The site's robots.txt forbids the URL.
    Robots,
    /// The database rejected the row; this bare row replaces it.
    Refused,
    /// Redelivered and begun many times without an end: the task may crash its worker.
    Poison,
    /// Not fetched, because the run was cancelled.
    Cancelled,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 16] = [
        Self::Ok,
        Self::Unchanged,
        Self::HttpError,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Protocol,
        Self::Redirect,
        Self::Blocked,
        Self::TooLarge,
        Self::Decode,
        Self::Robots,
        Self::Refused,
        Self::Poison,
        Self::Cancelled,
    ];

    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchanged => "unchanged",
            Self::HttpError => "http_error",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Blocked => "blocked",
            Self::TooLarge => "too_large",
            Self::Decode => "decode",
            Self::Robots => "robots",
            Self::Refused => "refused",
            Self::Poison => "poison",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome for a word in the database; `None` for an outcome of a newer release.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// Whether the task has what it asked for.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::Unchanged)
    }

    /// Whether a word in the database is that of a success.
    pub fn is_success_word(word: &str) -> bool {
        Self::of(word).is_some_and(Self::is_success)
    }

    /// Whether the row's duration is that of a fetch. Tasks with the other outcomes were not
    /// fetched, or their fetch never ended.
    pub(crate) fn has_fetch_time(self) -> bool {
        match self {
            Self::Cancelled | Self::Poison => false,
            Self::Ok
            | Self::Unchanged
            | Self::HttpError
            | Self::Timeout
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Protocol
            | Self::Redirect
            | Self::Blocked
            | Self::TooLarge
            | Self::Decode
            | Self::Robots
            | Self::Refused => true,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
