//! Sitemaps and indexes of sitemaps (<https://www.sitemaps.org/protocol.html>), and feeds, which
//! are sitemaps of another format.
//!
//! A task of its own reads them and passes entries on through a bounded channel. So `next` is
//! cancel-safe, and a sitemap of any size takes no more memory than a few entries.

mod shape;
mod tag;
mod last_modified;
mod reference;
mod location;
mod encoding;
mod document;
mod url_lines;
mod listing;
mod postponed;
mod reader;
mod crawl;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use tokio::io::BufReader;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::crawl::Crawl;
pub(crate) use self::postponed::{PendingSitemap, Postponed};
pub(crate) use self::reader::SitemapReader;
use super::Entry;
use crate::text::Text;

/// Entries that are read ahead.
const READ_AHEAD: usize = 256;

/// Reads the entries of a sitemap, and of the sitemaps that it names.
pub(crate) struct Sitemaps {
    entries: mpsc::Receiver<io::Result<Entry>>,
    notice: Arc<Mutex<Option<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl SitemapReader {
    /// Starts reading a source. `fetched_from` is the URL of the text; `None` if it is not fetched.
    pub(super) fn read(
        &self,
        source: String,
        text: BufReader<Text>,
        fetched_from: Option<Url>,
    ) -> Sitemaps {
        let (sender, entries) = mpsc::channel(READ_AHEAD);
        let notice = Arc::default();
        let crawl = Crawl::new(self.clone(), sender, Arc::clone(&notice));
        let task = tokio::spawn(async move {
            // It stops early only if nobody reads on, or after it has passed on a read error.
            _ = crawl.read_source(source.into(), text, fetched_from).await;
        });
        Sitemaps { entries, notice, _task: AbortOnDropHandle::new(task) }
    }

    /// Starts to read sitemaps that were postponed, for the last time.
    pub(super) fn read_postponed(&self, pending: Vec<PendingSitemap>) -> Sitemaps {
        let (sender, entries) = mpsc::channel(READ_AHEAD);
        let notice = Arc::default();
        let crawl = Crawl::new(self.clone(), sender, Arc::clone(&notice));
        let task = tokio::spawn(async move {
            _ = crawl.read_postponed(pending).await;
        });
        Sitemaps { entries, notice, _task: AbortOnDropHandle::new(task) }
    }
}

impl Sitemaps {
    /// What was recognised since the last call, for people.
    pub(super) fn take_notice(&self) -> Option<String> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The next entry; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        self.entries.recv().await.transpose()
    }
}

#[cfg(test)]
mod tests;
