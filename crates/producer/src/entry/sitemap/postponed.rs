//! Sitemaps that could not be read for a transient reason. They are tried again after everything
//! else, when the server has had time to recover.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fetchline_queue::Address;

/// A sitemap that an index names and that is not read yet.
#[derive(Clone, Debug)]
pub(crate) struct PendingSitemap {
    pub(super) address: Address,
    /// How many indexes lead to it.
    pub(super) level: u32,
    /// The masked URL of the index; `None` for the source itself.
    pub(super) index: Option<Arc<str>>,
    /// The line of the index that names the sitemap.
    pub(super) line: u64,
}

/// The postponed sitemaps of a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postponed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// URLs of all sitemaps that were postponed, also by an earlier `produce` of the part. A part
    /// that is resumed has to read its sitemaps in the same order.
    known: HashSet<String>,
    /// Those that are still to be read.
    pending: Vec<PendingSitemap>,
}

impl Postponed {
    /// The postponed sitemaps of a part that is resumed.
    pub(crate) fn resumed(urls: impl IntoIterator<Item = String>) -> Self {
        let state = State { known: urls.into_iter().collect(), pending: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The URLs of all sitemaps that were postponed, in a fixed order.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut urls: Vec<String> = self.lock().known.iter().cloned().collect();
        urls.sort_unstable();
        urls
    }

    /// Takes the sitemaps that are still to be read.
    pub(crate) fn take(&self) -> Vec<PendingSitemap> {
        std::mem::take(&mut self.lock().pending)
    }

    /// Whether a sitemap was postponed.
    pub(super) fn contains(&self, address: &Address) -> bool {
        self.lock().known.contains(address.as_str())
    }

    pub(super) fn push(&self, sitemap: PendingSitemap) {
        let mut state = self.lock();
        state.known.insert(sitemap.address.as_str().to_owned());
        state.pending.push(sitemap);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
