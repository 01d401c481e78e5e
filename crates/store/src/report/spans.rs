//! Rows by time, without knowing the first and the last time in advance.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

/// The maximum number of spans. With more, the spans become twice as long; at least half as many
/// remain.
pub(super) const MAX_SPANS: i64 = 120;

/// The rows of a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The number of rows.
    pub rows: u64,
    /// The number of rows that are not `ok`.
    pub failed: u64,
    /// The length of the span. The first and the last span are cut to the run.
    pub duration: Duration,
}

/// Counts rows by span.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    /// The length of a span in seconds.
    step: i64,
    /// Rows and failed rows, by the number of the span since 1970.
    counts: BTreeMap<i64, (u64, u64)>,
}

impl Spans {
    pub(super) fn new() -> Self {
        Self { step: 1, counts: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, at: OffsetDateTime, is_failed: bool) {
        let span = at.unix_timestamp().div_euclid(self.step);
        let (rows, failed) = self.counts.entry(span).or_default();
        *rows += 1;
        *failed += u64::from(is_failed);
        while self.first_and_last().is_some_and(|(first, last)| last - first >= MAX_SPANS) {
            self.step *= 2;
            let mut longer: BTreeMap<_, (u64, u64)> = BTreeMap::new();
            for (span, (rows, failed)) in std::mem::take(&mut self.counts) {
                let sum = longer.entry(span.div_euclid(2)).or_default();
                *sum = (sum.0 + rows, sum.1 + failed);
            }
            self.counts = longer;
        }
    }

    fn first_and_last(&self) -> Option<(i64, i64)> {
        Some((*self.counts.first_key_value()?.0, *self.counts.last_key_value()?.0))
    }

    /// All spans from the first to the last, including those without rows.
    pub(super) fn between(&self, begin: OffsetDateTime, end: OffsetDateTime) -> Vec<Span> {
        let Some((first, last)) = self.first_and_last() else { return Vec::new() };
        let span = |number: i64| {
            let from = (number * self.step).max(begin.unix_timestamp());
            let until = ((number + 1) * self.step).min(end.unix_timestamp() + 1);
            let (rows, failed) = self.counts.get(&number).copied().unwrap_or_default();
            Span { rows, failed, duration: Duration::from_secs((until - from).unsigned_abs()) }
        };
        (first..=last).map(span).collect()
    }
}
