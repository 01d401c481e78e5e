//! What came of the rows of one host.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::Reported;
use super::largest::Count;
use crate::Outcome;

/// The longest fetch that is told apart, in milliseconds.
const LONGEST_MS: u64 = 3_600_000;

/// What came of the rows of one host.
#[derive(Clone, Debug)]
pub struct HostReport {
    /// Rows.
    pub rows: u64,
    /// Those that are not `ok`.
    pub failed: u64,
    /// How many more there may be, which are counted among the other hosts; 0 unless there are thousands of hosts.
    pub lacks: u64,
    /// Rows by outcome.
    pub outcomes: BTreeMap<String, u64>,
    times: Histogram<u64>,
}

impl Count for HostReport {
    fn begin(lacks: u64) -> Self {
        // One digit: there are many hosts.
        Self { rows: 0, failed: 0, lacks, outcomes: BTreeMap::new(), times: times(1) }
    }

    fn rows(&self) -> u64 {
        self.rows
    }
}

impl HostReport {
    pub(super) fn take(&mut self, row: &Reported<'_>) {
        self.rows += 1;
        self.failed += u64::from(row.outcome != Outcome::Ok.as_str());
        *self.outcomes.entry(row.outcome.to_owned()).or_default() += 1;
        if was_tried(row) {
            self.times.saturating_record(row.elapsed_ms.into());
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.failed += other.failed;
        for (outcome, rows) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += rows;
        }
        // Of the same bounds, which is all that it asks for.
        _ = self.times.add(other.times);
    }

    /// How many of its rows tell of a fetch, and so have a time.
    pub fn fetches(&self) -> u64 {
        self.times.len()
    }

    /// So much of 100 fetches took no longer, in milliseconds and to about a tenth; `None` where nothing was fetched.
    pub fn fetch_ms(&self, percent: f64) -> Option<u64> {
        (!self.times.is_empty()).then(|| self.times.value_at_quantile(percent / 100.0))
    }
}

/// Counts fetches by their time, exact to so many digits.
pub(super) fn times(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_MS, digits).unwrap_or_else(|_| unreachable!("fixed bounds"))
}

/// Whether the time tells of a fetch.
pub(super) fn was_tried(row: &Reported<'_>) -> bool {
    ![Outcome::Cancelled, Outcome::Poison].map(Outcome::as_str).contains(&row.outcome)
}

/// The host of a URL as it is stored: normalised, credentials struck out.
pub(super) fn host(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_the_url_that_is_stored() {
        for (url, expected) in [
            ("https://shop.example/p/1?x=//y", "shop.example"),
            ("http://***@shop.example:8080/", "shop.example:8080"),
            ("http://[::1]:80/x", "[::1]:80"),
            ("http://shop.example?q=a@b", "shop.example"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
