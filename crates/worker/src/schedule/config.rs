//! The settings of scheduling.

use crate::problem::Problems;

/// The settings of scheduling.
#[derive(Clone, Debug)]
pub struct Config {
    /// Fetches at once.
    pub concurrency: usize,
    /// Fetches at once at one host.
    pub per_host: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { concurrency: 100, per_host: 30 }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        let text = "is 0: nothing would ever be fetched";
        problems.require(self.concurrency > 0, "concurrency", text);
        problems.require(self.per_host > 0, "per_host", text);
    }
}
