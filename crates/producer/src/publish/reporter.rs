//! Reports to the caller why publishing waits.

use std::sync::atomic::Ordering;

use crate::progress::{Event, Observer, Progress};

/// Counts messages, and reports each problem once until another one replaces it.
pub(super) struct Reporter<'a> {
    pub(super) progress: &'a Progress,
    pub(super) observer: &'a Observer,
    problem: Option<String>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(progress: &'a Progress, observer: &'a Observer) -> Self {
        Self { progress, observer, problem: None }
    }

    /// Reports that publishing waits because of this problem.
    pub(super) fn waiting(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            (self.observer)(Event::Waiting { reason: &problem });
            self.problem = Some(problem);
        }
    }

    /// Reports that publishing continues, if a problem was reported before.
    pub(super) fn resumed(&mut self) {
        if self.problem.take().is_some() {
            (self.observer)(Event::Resumed);
        }
    }

    /// Counts and reports a task that the broker did not take.
    pub(super) fn not_sent(&self, url: String, reason: &str) {
        self.progress.not_sent.fetch_add(1, Ordering::Relaxed);
        (self.observer)(Event::NotSent { url, reason });
    }
}
