//! How the sitemaps of a part are read.

use std::sync::Arc;

use time::OffsetDateTime;

use super::postponed::Postponed;
use crate::progress::Progress;
use crate::source::Fetcher;

/// How the sitemaps of a part are read.
#[derive(Clone)]
pub(crate) struct SitemapReader {
    pub(crate) fetcher: Fetcher,
    /// Pages that have not changed since then are skipped.
    pub(crate) modified_since: Option<OffsetDateTime>,
    pub(crate) postponed: Postponed,
    pub(crate) progress: Arc<Progress>,
}

impl SitemapReader {
    /// Reads every page, for a new part.
    #[cfg(test)]
    pub(crate) fn new(fetcher: Fetcher, progress: Arc<Progress>) -> Self {
        Self { fetcher, modified_since: None, postponed: Postponed::default(), progress }
    }
}
