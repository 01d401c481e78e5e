//! The settings of revalidation.

use crate::problem::Problems;

/// The settings of revalidation.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether pages are fetched only if they have changed, where a task does not say so.
    pub revalidate: bool,
    /// Every n-th fetch of a page that its site calls unchanged asks for the whole page.
    pub revalidate_full_every: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { revalidate: false, revalidate_full_every: 7 }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        problems.require(
            self.revalidate_full_every > 0,
            "revalidate_full_every",
            "is 0: with 1, every fetch asks for the whole page",
        );
    }
}
