//! What a caller can observe while a part is published.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fetchline_queue::ConnectionBlocked;

use crate::rejection::Rejection;

/// Something that happens while a part is published.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is recognised how a source is written.
    Recognised {
        /// The source; credentials are masked.
        source: &'a str,
        /// The format, the encoding, and where the URLs are.
        description: &'a str,
    },
    /// One of the first tasks of a source, in a dry run.
    Example {
        /// The source; credentials are masked.
        source: &'a str,
        /// The number of the line that holds the task.
        line: u64,
        /// The task's URL; credentials are masked.
        url: String,
        /// The task's category.
        category: Option<&'a str>,
        /// What else the task asks for, for people; empty for a GET request.
        options: String,
    },
    /// It is known which pages were fetched lately.
    Fetched {
        /// Their number.
        pages: u64,
    },
    /// An entry is rejected.
    Rejected {
        /// The entry and the reason.
        rejection: &'a Rejection,
        /// The row of headings above it, as it was given; `None` if there is none.
        headings: Option<&'a str>,
    },
    /// The broker did not take a task.
    NotSent {
        /// The task's URL; credentials are masked.
        url: String,
        /// Why the broker did not take it.
        reason: &'a str,
    },
    /// Publishing waits for the broker.
    Waiting {
        /// What went wrong.
        reason: &'a str,
    },
    /// The broker blocks the connection, since it is low on memory or disk. Repeated every ten
    /// seconds.
    Blocked {
        /// The broker's own words.
        reason: &'a str,
        /// How long the broker has blocked the connection.
        duration: Duration,
    },
    /// Publishing continues after `Waiting` or `Blocked`.
    Resumed,
}

/// Receives events. It is called between two messages, so it must not block.
pub(crate) type Observer = dyn Fn(Event<'_>) + Send + Sync;

/// Counts that can be read while a part is published.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read from the sources, before decompression.
    pub read: AtomicU64,
    /// Tasks that the broker has confirmed.
    pub published: AtomicU64,
    /// Messages that are sent and not confirmed yet.
    pub unconfirmed: AtomicU64,
    /// Tasks that the broker did not take.
    pub not_sent: AtomicU64,
    /// Duplicate URLs, which are dropped.
    pub duplicates: AtomicU64,
    /// Rejected entries.
    pub rejected: AtomicU64,
    /// Pages of sitemaps that have not changed since the time that was asked for, and pages that
    /// were fetched lately.
    pub skipped: AtomicU64,
    /// Those of them that were fetched lately.
    pub fetched: AtomicU64,
    /// Lines that were read; for a sitemap, its URLs.
    pub lines: AtomicU64,
    /// Blank lines.
    pub blank: AtomicU64,
    /// Lines that are comments.
    pub comments: AtomicU64,
    /// Rows of headings, and lines that declare a delimiter.
    pub headings: AtomicU64,
    /// Lines that continue a row of a table.
    pub continued: AtomicU64,
    /// Tasks that an earlier `produce` of the same part has published.
    pub resumed: AtomicU64,
    blocked: Mutex<Option<ConnectionBlocked>>,
}

impl Progress {
    /// Whether the broker blocks the connection now, why, and since when.
    pub fn blocked(&self) -> Option<ConnectionBlocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the lines of an entry.
    pub(crate) fn count_lines(&self, lines: u64) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
        self.continued.fetch_add(lines - 1, Ordering::Relaxed);
    }

    pub(crate) fn set_blocked(&self, blocked: Option<ConnectionBlocked>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = blocked;
    }
}
