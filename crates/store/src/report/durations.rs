//! Fetches by their duration.

use hdrhistogram::Histogram;

/// The longest duration, in milliseconds. A longer one counts as this one.
const MAX_MS: u64 = 3_600_000;

/// Counts fetches by their duration in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Durations(Histogram<u64>);

impl Durations {
    /// Exact to this number of decimal digits.
    pub(super) fn new(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_MS, digits);
        Self(histogram.unwrap_or_else(|_| unreachable!("the bounds are valid constants")))
    }

    pub(super) fn add(&mut self, ms: u64) {
        self.0.saturating_record(ms);
    }

    /// Adds durations with the same number of digits.
    pub(super) fn merge(&mut self, other: &Self) {
        // Fails only if the bounds differ.
        _ = self.0.add(&other.0);
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// A percentile in milliseconds; `None` without a fetch.
    pub(super) fn percentile(&self, percent: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(percent / 100.0))
    }

    /// The number of fetches that took at least `from` and less than `below` milliseconds.
    pub(super) fn count_within(&self, from: u64, below: u64) -> u64 {
        self.0
            .iter_recorded()
            .filter(|step| (from..below).contains(&step.value_iterated_to()))
            .map(|step| step.count_since_last_iteration())
            .sum()
    }
}
