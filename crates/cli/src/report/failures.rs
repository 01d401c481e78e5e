//! The tables of failures.

use std::cmp::Reverse;

use fetchline_store::{FailedUrl, Report};

use super::numbers::{at_least, count};
use crate::table::or_dash;

const MAX_REASONS: usize = 15;
const MAX_URLS: usize = 200;

/// A row of the table of reasons.
pub(super) struct Reason<'a> {
    pub(super) count: String,
    pub(super) text: &'a str,
}

/// A row of the table of failed URLs.
pub(super) struct Failure<'a> {
    pub(super) url: &'a str,
    pub(super) outcome: &'a str,
    pub(super) status: String,
    pub(super) attempts: u32,
    pub(super) error: &'a str,
}

/// The reasons of failures, most frequent first.
pub(super) fn reasons(report: &Report) -> Vec<Reason<'_>> {
    let mut reasons: Vec<_> = report.reasons().collect();
    reasons.sort_by_key(|(text, reason)| (Reverse(reason.rows), *text));
    let row = |(text, reason): (_, &fetchline_store::Reason)| Reason {
        count: at_least(reason.rows, reason.max_missing),
        text,
    };
    reasons.into_iter().take(MAX_REASONS).map(row).collect()
}

/// The failed URLs, those of the most frequent outcome first. Each outcome has its share of the
/// rows, so that a frequent one does not hide the others.
pub(super) fn urls(report: &Report) -> Vec<Failure<'_>> {
    let mut by_outcome: Vec<(u64, Vec<&FailedUrl>)> = Vec::new();
    for (outcome, rows) in &report.outcomes {
        let failed: Vec<_> =
            report.failed_urls.iter().filter(|failed| failed.outcome == *outcome).collect();
        if !failed.is_empty() {
            by_outcome.push((*rows, failed));
        }
    }
    // Rare outcomes first: the rows that they do not use are left for the others.
    by_outcome.sort_by_key(|(rows, _)| *rows);
    let (mut rows_left, mut outcomes_left) = (MAX_URLS, by_outcome.len());
    for (_, failed) in &mut by_outcome {
        failed.truncate(rows_left / outcomes_left);
        rows_left -= failed.len();
        outcomes_left -= 1;
    }
    let failed = by_outcome.into_iter().rev().flat_map(|(_, failed)| failed);
    failed.map(Failure::new).collect()
}

/// Says how many URLs are not shown, and how to find them; empty if all are shown.
pub(super) fn note(report: &Report, shown: usize) -> String {
    match report.failed() - shown as u64 {
        0 => String::new(),
        more => format!(
            "And {} more: SELECT url, outcome, status, error FROM fetches \
             WHERE run = '…' AND part = '…' AND outcome NOT IN ('ok', 'unchanged')",
            count(more)
        ),
    }
}

impl<'a> Failure<'a> {
    fn new(failed: &'a FailedUrl) -> Self {
        Self {
            url: &failed.url,
            outcome: &failed.outcome,
            status: or_dash(failed.status),
            attempts: failed.attempts,
            error: failed.error.as_deref().unwrap_or_default(),
        }
    }
}
