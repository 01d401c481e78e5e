//! The counts of a part.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::progress::Progress;
use crate::publish::PublishError;

/// What became of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The run.
    pub run: String,
    /// The part of the run that was published.
    pub part: String,
    /// Tasks that the broker has confirmed; in a dry run, tasks that would be published.
    pub published: u64,
    /// Tasks that an earlier `produce` of the part has published. They are not sent again.
    pub resumed: u64,
    /// Tasks that the broker did not take, or that waited when it was stopped.
    pub not_sent: u64,
    /// Duplicate URLs, which are dropped.
    pub duplicates: u64,
    /// Rejected entries.
    pub rejected: u64,
    /// Pages of sitemaps that have not changed since the time that was asked for, and pages that
    /// were fetched lately.
    pub skipped: u64,
    /// Those of them that were fetched lately.
    pub skipped_fetched: u64,
    /// Lines that were read; for a sitemap, its URLs. Each one is counted once more: as one of the
    /// above, or as one of the following four.
    pub lines: u64,
    /// Blank lines.
    pub blank: u64,
    /// Lines of text lists that are comments.
    pub comments: u64,
    /// Rows of headings, and lines that declare a delimiter.
    pub headings: u64,
    /// Lines that continue a row of a table.
    pub continued: u64,
    /// Whether the input was read to its end.
    pub complete: bool,
    /// Why it was not, unless it was stopped; or why its end could not be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Summary {
    pub(crate) fn new(
        run: String,
        part: String,
        progress: &Progress,
        result: Result<(), PublishError>,
        is_stopped: bool,
    ) -> Self {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            run,
            part,
            published: count(&progress.published),
            resumed: count(&progress.resumed),
            not_sent: count(&progress.not_sent),
            duplicates: count(&progress.duplicates),
            rejected: count(&progress.rejected),
            skipped: count(&progress.skipped),
            skipped_fetched: count(&progress.fetched),
            lines: count(&progress.lines),
            blank: count(&progress.blank),
            comments: count(&progress.comments),
            headings: count(&progress.headings),
            continued: count(&progress.continued),
            complete: result.is_ok() && !is_stopped,
            problem: result.err().map(|error| error.to_string()),
        }
    }
}
