//! The rows of one host.

use std::collections::BTreeMap;

use super::durations::Durations;
use super::products::ProductCounts;
use super::row::ReportRow;
use super::top::Count;

/// The rows of one host.
#[derive(Clone, Debug)]
pub struct HostReport {
    /// The number of rows.
    pub rows: u64,
    /// The number of rows that are neither `ok` nor `unchanged`.
    pub failed: u64,
    /// The maximum number of further rows of this host, which are counted among the other hosts; 0
    /// unless there are thousands of hosts.
    pub max_missing: u64,
    /// The number of rows by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// What its pages contain.
    pub products: ProductCounts,
    durations: Durations,
}

impl Count for HostReport {
    fn new(max_missing: u64) -> Self {
        // One digit, because there are many hosts.
        let (outcomes, durations) = (BTreeMap::new(), Durations::new(1));
        let products = ProductCounts::default();
        Self { rows: 0, failed: 0, max_missing, outcomes, products, durations }
    }

    fn rows(&self) -> u64 {
        self.rows
    }
}

impl HostReport {
    pub(super) fn add(&mut self, row: &ReportRow<'_>) {
        self.rows += 1;
        self.failed += u64::from(!row.is_ok());
        *self.outcomes.entry(row.outcome.to_owned()).or_default() += 1;
        row.product.into_iter().for_each(|word| self.products.add(word));
        row.fetch_ms().into_iter().for_each(|ms| self.durations.add(ms));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.failed += other.failed;
        for (outcome, rows) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += rows;
        }
        self.products.merge(other.products);
        self.durations.merge(&other.durations);
    }

    /// The number of rows whose task was fetched.
    pub fn fetches(&self) -> u64 {
        self.durations.len()
    }

    /// A percentile of the fetch times in milliseconds, to about a tenth; `None` without a fetch.
    pub fn fetch_ms(&self, percent: f64) -> Option<u64> {
        self.durations.percentile(percent)
    }
}
