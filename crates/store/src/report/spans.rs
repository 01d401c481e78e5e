//! Rows by time, without knowing beforehand when the first one and the last one come.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

/// Spans at most; with more of them, each becomes twice as long. Where it did, there are at least half as many.
pub(super) const MOST: i64 = 120;

/// Rows in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Rows.
    pub rows: u64,
    /// Those that are not `ok`.
    pub failed: u64,
    /// How long it is. At both ends of a run a span counts as far as it belongs to the run.
    pub long: Duration,
}

/// Counts rows by spans.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    /// Seconds of one span.
    step: i64,
    /// Rows and failed ones, by the number of the span since 1970.
    counts: BTreeMap<i64, (u64, u64)>,
}

impl Spans {
    pub(super) fn new() -> Self {
        Self { step: 1, counts: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, at: OffsetDateTime, failed: bool) {
        let (rows, failures) = self.counts.entry(at.unix_timestamp().div_euclid(self.step)).or_default();
        *rows += 1;
        *failures += u64::from(failed);
        while let (Some((first, _)), Some((last, _))) = (self.counts.first_key_value(), self.counts.last_key_value())
            && last - first >= MOST
        {
            self.step *= 2;
            let mut longer: BTreeMap<_, (u64, u64)> = BTreeMap::new();
            for (span, (rows, failures)) in std::mem::take(&mut self.counts) {
                let both = longer.entry(span.div_euclid(2)).or_default();
                *both = (both.0 + rows, both.1 + failures);
            }
            self.counts = longer;
        }
    }

    /// All spans from the first to the last, also those without rows.
    pub(super) fn between(&self, begin: OffsetDateTime, end: OffsetDateTime) -> Vec<Span> {
        let (Some((first, _)), Some((last, _))) = (self.counts.first_key_value(), self.counts.last_key_value()) else {
            return Vec::new();
        };
        let span = |number: i64| {
            let from = (number * self.step).max(begin.unix_timestamp());
            let until = ((number + 1) * self.step).min(end.unix_timestamp() + 1);
            let (rows, failed) = self.counts.get(&number).copied().unwrap_or_default();
            Span { rows, failed, long: Duration::from_secs((until - from).unsigned_abs()) }
        };
        (*first..=*last).map(span).collect()
    }
}
