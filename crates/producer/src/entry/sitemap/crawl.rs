//! The walk through a sitemap and those that it names.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use fetchline_queue::Address;
use reqwest::Url;
use tokio::io::BufReader;
use tokio::sync::mpsc;

use super::document::DocumentError;
use super::listing::Listing;
use super::location::Location;
use super::postponed::PendingSitemap;
use super::reader::SitemapReader;
use crate::entry::{Content, Entry, record};
use crate::progress::Progress;
use crate::source::{FetchError, Fetched, Limited, MAX_SITEMAP_BYTES, NamedBy, is_same_site};
use crate::text::{BUFFER_BYTES, Input, Text};

/// Sitemaps that are fetched for one source, at most.
pub(super) const MAX_SITEMAPS: usize = 50_000;
/// Indexes that lead to a sitemap, at most.
pub(super) const MAX_LEVELS: u32 = 3;

/// A document that is being read.
pub(super) struct Sitemap {
    /// The masked URL; `None` for the source itself.
    pub(super) name: Option<Arc<str>>,
    /// The URL after redirects; `None` for a file.
    pub(super) fetched_from: Option<Url>,
    /// How many indexes lead to it.
    pub(super) level: u32,
}

/// No more entries are wanted, or a read error ends them.
pub(super) struct Stopped;

/// Walks through a sitemap and those that it names, breadth first.
pub(super) struct Crawl {
    reader: SitemapReader,
    entries: mpsc::Sender<io::Result<Entry>>,
    /// What the source was recognised as.
    notice: Arc<Mutex<Option<String>>>,
    /// The source, for sitemaps that are postponed.
    source: Option<Arc<str>>,
    /// Whether what fails now has failed.
    is_last_round: bool,
    /// Why a sitemap could not be read in the last round, and how many were not read with it.
    failure: Option<(String, usize)>,
    /// The URLs of sitemaps that were named or read.
    known: HashSet<String>,
    /// How many sitemaps were added to `pending` in all.
    named: usize,
    pending: VecDeque<PendingSitemap>,
}

impl Crawl {
    pub(super) fn new(
        reader: SitemapReader,
        entries: mpsc::Sender<io::Result<Entry>>,
        notice: Arc<Mutex<Option<String>>>,
    ) -> Self {
        Self {
            reader,
            entries,
            notice,
            source: None,
            is_last_round: false,
            failure: None,
            known: HashSet::new(),
            named: 0,
            pending: VecDeque::new(),
        }
    }

    /// Reads a source and the sitemaps that it names. Those that cannot be read now are postponed.
    pub(super) async fn read_source(
        mut self,
        source: Arc<str>,
        text: BufReader<Text>,
        fetched_from: Option<Url>,
    ) -> Result<(), Stopped> {
        self.source = Some(source);
        self.known.extend(fetched_from.as_ref().map(Url::to_string));
        self.read(text, Sitemap { name: None, fetched_from, level: 0 }).await?;
        self.read_pending().await
    }

    /// Reads sitemaps that were postponed. It is an error if one cannot be read now, either, and
    /// those behind it are not read.
    pub(super) async fn read_postponed(
        mut self,
        pending: Vec<PendingSitemap>,
    ) -> Result<(), Stopped> {
        self.is_last_round = true;
        self.pending = pending.into();
        self.read_pending().await?;
        if let Some((reason, sitemaps)) = self.failure.take() {
            let others = match sitemaps {
                1 => String::new(),
                sitemaps => format!("; sitemaps that wait for it: {}", sitemaps - 1),
            };
            _ = self.entries.send(Err(io::Error::other(format!("{reason}{others}")))).await;
        }
        Ok(())
    }

    async fn read_pending(&mut self) -> Result<(), Stopped> {
        while let Some(pending) = self.pending.pop_front() {
            if !self.is_last_round && self.reader.postponed.contains(&pending.address) {
                self.postpone(pending);
                continue;
            }
            // A resumed run may read the one that failed. Its tasks come first, and those that
            // an earlier `produce` published must be where they were.
            if self.failure.is_some() {
                self.note_failure(format!("the sitemap {} was not read", pending.address.masked()));
                continue;
            }
            match self.fetch(&pending).await {
                Ok(fetched) => self.read_fetched(pending, fetched).await?,
                Err(FetchError { cause, is_transient: true }) => self.failed(pending, &cause),
                Err(FetchError { cause, .. }) => {
                    let name = pending.address.masked();
                    let reason = format!("the sitemap {name} cannot be read: {cause}");
                    self.reject(pending.index, pending.line, Vec::new(), reason).await?;
                }
            }
        }
        Ok(())
    }

    async fn fetch(&self, pending: &PendingSitemap) -> Result<Fetched, FetchError> {
        let fetched = self.reader.fetcher.get(&pending.address, NamedBy::List).await?;
        // A server that fails while it writes may end its answer normally. What was read
        // before could not be taken back.
        let is_cut_off = Listing::is_cut_off(open(&fetched, Arc::default()).await?).await;
        if is_cut_off && !self.is_last_round {
            let cause = io::Error::new(io::ErrorKind::UnexpectedEof, "it is truncated");
            return Err(FetchError { cause, is_transient: true });
        }
        Ok(fetched)
    }

    async fn read_fetched(
        &mut self,
        pending: PendingSitemap,
        fetched: Fetched,
    ) -> Result<(), Stopped> {
        let PendingSitemap { address, level, index, line } = pending;
        // Two names may redirect to one sitemap, or to one that was read before.
        let url = fetched.url.clone();
        if url != *address.as_url() && !self.known.insert(url.to_string()) {
            return Ok(());
        }
        let name: Arc<str> = address.masked().into();
        match open(&fetched, self.reader.progress.clone()).await {
            Ok(text) => {
                let fetched_from = Some(url);
                self.read(text, Sitemap { name: Some(name), fetched_from, level }).await
            }
            Err(error) => {
                let reason = format!("the sitemap {name} cannot be read: {error}");
                self.reject(index, line, Vec::new(), reason).await
            }
        }
    }

    /// Postpones a sitemap that could not be read, or notes that it could not in the end.
    fn failed(&mut self, pending: PendingSitemap, cause: &io::Error) {
        let name = pending.address.masked();
        if self.is_last_round {
            self.note_failure(format!("the sitemap {name} cannot be read: {cause}"));
        } else {
            tracing::warn!(
                sitemap = %name,
                error = %cause,
                "a sitemap cannot be read; it is tried again after all others"
            );
            self.postpone(pending);
        }
    }

    fn note_failure(&mut self, reason: String) {
        let (_, sitemaps) = self.failure.get_or_insert((reason, 0));
        *sitemaps += 1;
    }

    fn postpone(&self, pending: PendingSitemap) {
        let index = pending.index.or_else(|| self.source.clone());
        self.reader.postponed.push(PendingSitemap { index, ..pending });
    }

    /// Reads one document. An invalid document ends here and affects no other one. A read error of
    /// the source itself is passed on as an error, as for any list: the list is not complete.
    async fn read(&mut self, text: BufReader<Text>, sitemap: Sitemap) -> Result<(), Stopped> {
        let mut listing = match Listing::open(text, sitemap.fetched_from.as_ref()).await {
            Ok(listing) => listing,
            Err(error) => return self.end(error, 1, &sitemap).await,
        };
        loop {
            let next = listing.next().await;
            if let Some(notice) = listing.take_notice().filter(|_| sitemap.name.is_none()) {
                *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice);
            }
            match next {
                Ok(None) => return Ok(()),
                Ok(Some(location)) if listing.is_index() => self.follow(location, &sitemap).await?,
                Ok(Some(location)) => self.pass_on(location, &sitemap).await?,
                Err(error) => return self.end(error, listing.line(), &sitemap).await,
            }
        }
    }

    async fn end(
        &mut self,
        error: DocumentError,
        line: u64,
        sitemap: &Sitemap,
    ) -> Result<(), Stopped> {
        let (reason, is_cut_off) = match error {
            DocumentError::Invalid(reason) => {
                return self.reject(sitemap.name.clone(), line, Vec::new(), reason).await;
            }
            DocumentError::Truncated => ("the sitemap is truncated".to_owned(), true),
            DocumentError::Read(error) => {
                let is_cut_off = error.kind() == io::ErrorKind::UnexpectedEof;
                (format!("the sitemap cannot be read further: {error}"), is_cut_off)
            }
        };
        match &sitemap.name {
            None => {
                _ = self.entries.send(Err(io::Error::other(reason))).await;
                Err(Stopped)
            }
            Some(name) if is_cut_off && self.is_last_round => {
                self.note_failure(format!("{name}: {reason}"));
                Ok(())
            }
            name => self.reject(name.clone(), line, Vec::new(), reason).await,
        }
    }

    /// Passes on the URL of a page, unless the page has not changed.
    async fn pass_on(&self, location: Location, sitemap: &Sitemap) -> Result<(), Stopped> {
        let Location { line, given, url, modified } = location;
        let content = url.and_then(|url| record::parse_url(&url)).into();
        if let (Some(modified), Some(since)) = (modified, self.reader.modified_since)
            && modified < since
            && matches!(content, Content::Record(_))
        {
            self.reader.progress.count_lines(1);
            self.reader.progress.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.send(Entry { sitemap: sitemap.name.clone(), line, raw: given.into_bytes(), content })
            .await
    }

    /// Remembers a sitemap.
    async fn follow(&mut self, location: Location, index: &Sitemap) -> Result<(), Stopped> {
        let Location { line, given, url, .. } = location;
        match url.and_then(|url| self.remember(&url, line, index)) {
            Ok(()) => Ok(()),
            Err(reason) => self.reject(index.name.clone(), line, given.into_bytes(), reason).await,
        }
    }

    /// Adds a sitemap that `index` names to the pending ones. The error says why it is not read.
    pub(super) fn remember(
        &mut self,
        text: &str,
        line: u64,
        index: &Sitemap,
    ) -> Result<(), String> {
        let address = Address::parse(text)
            .map_err(|error| format!("the URL of the sitemap is not usable: {error}"))?;
        // The author of a fetched index is not the user, so the index must not lead elsewhere.
        let url = address.as_url();
        if let Some(index_url) = &index.fetched_from
            && !is_same_site(index_url, url)
            && !self.reader.fetcher.trusts(url)
        {
            return Err(format!(
                "the sitemap {address} is on another host than its index and is not fetched; give \
                 its URL as a source as well, or save the index and give the file"
            ));
        }
        let level = index.level + 1;
        if level > MAX_LEVELS {
            return Err(format!(
                "the sitemap {address} is nested in more than {MAX_LEVELS} indexes"
            ));
        }
        if self.known.contains(address.as_str()) {
            return Ok(());
        }
        if self.named >= MAX_SITEMAPS {
            return Err(format!(
                "the sitemap {address} is one of more than {MAX_SITEMAPS} and is not fetched"
            ));
        }
        self.named += 1;
        self.known.insert(address.as_str().to_owned());
        self.pending.push_back(PendingSitemap { address, level, index: index.name.clone(), line });
        Ok(())
    }

    async fn reject(
        &self,
        sitemap: Option<Arc<str>>,
        line: u64,
        raw: Vec<u8>,
        reason: String,
    ) -> Result<(), Stopped> {
        self.send(Entry { sitemap, line, raw, content: Content::Invalid(reason) }).await
    }

    async fn send(&self, entry: Entry) -> Result<(), Stopped> {
        self.entries.send(Ok(entry)).await.map_err(|_| Stopped)
    }
}

/// The text of a sitemap that a stranger wrote, from its beginning.
async fn open(fetched: &Fetched, progress: Arc<Progress>) -> io::Result<BufReader<Text>> {
    let text = Input::new(fetched.text().await?, progress).into_text().await?;
    let text: Text = Box::new(Limited::new(Box::new(text), MAX_SITEMAP_BYTES));
    Ok(BufReader::with_capacity(BUFFER_BYTES, text))
}
