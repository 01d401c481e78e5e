//! Sitemaps and indexes of sitemaps (<https://www.sitemaps.org/protocol.html>).
//!
//! A task of its own reads them and passes entries on through a bounded channel. So `next` is
//! cancel-safe, and a sitemap of any size takes no more memory than a few entries.

mod document;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use fetchline_queue::{Address, MAX_URL_BYTES};
use reqwest::Url;
use tokio::io::BufReader;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::document::{Document, DocumentError, Kind, Location};
use super::record;
use super::{Content, Entry};
use crate::progress::Progress;
use crate::source::{Fetcher, NamedBy, is_same_host};
use crate::text::{Input, Text};

/// Entries that are read ahead.
const READ_AHEAD: usize = 256;
/// Sitemaps that are fetched for one source, at most.
const MAX_SITEMAPS: usize = 50_000;
/// Indexes that lead to a sitemap, at most.
const MAX_LEVELS: u32 = 3;

/// Reads the entries of a sitemap, and of the sitemaps that it names.
pub(crate) struct Sitemaps {
    entries: mpsc::Receiver<io::Result<Entry>>,
    _task: AbortOnDropHandle<()>,
}

impl Sitemaps {
    /// Starts reading. `fetched_from` is the URL of the text; `None` if it is not fetched.
    pub(super) fn read(
        text: BufReader<Text>,
        fetched_from: Option<Url>,
        fetcher: Fetcher,
        progress: Arc<Progress>,
    ) -> Self {
        let (sender, entries) = mpsc::channel(READ_AHEAD);
        let crawl = Crawl {
            entries: sender,
            fetcher,
            progress,
            known: HashSet::new(),
            named: 0,
            pending: VecDeque::new(),
        };
        let task = tokio::spawn(async move {
            // It stops early only if nobody reads on, or after it has passed on a read error.
            _ = crawl.run(text, fetched_from).await;
        });
        Self { entries, _task: AbortOnDropHandle::new(task) }
    }

    /// The next entry; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        self.entries.recv().await.transpose()
    }
}

/// A document that is being read.
struct Sitemap {
    /// The masked URL; `None` for the source itself.
    name: Option<Arc<str>>,
    /// The URL after redirects; `None` for a file.
    fetched_from: Option<Url>,
    /// How many indexes lead to it.
    level: u32,
}

/// A sitemap that an index names and that is not read yet.
struct PendingSitemap {
    address: Address,
    level: u32,
    /// The masked URL of the index; `None` for the source itself.
    index: Option<Arc<str>>,
    /// The line of the index that names the sitemap.
    line: u64,
}

/// No more entries are wanted, or a read error ends them.
struct Stopped;

/// Walks through a sitemap and those that it names, breadth first.
struct Crawl {
    entries: mpsc::Sender<io::Result<Entry>>,
    fetcher: Fetcher,
    progress: Arc<Progress>,
    /// The URLs of sitemaps that were named or read.
    known: HashSet<String>,
    /// How many sitemaps were added to `pending` in all.
    named: usize,
    pending: VecDeque<PendingSitemap>,
}

impl Crawl {
    async fn run(
        mut self,
        text: BufReader<Text>,
        fetched_from: Option<Url>,
    ) -> Result<(), Stopped> {
        self.known.extend(fetched_from.as_ref().map(Url::to_string));
        self.read(text, Sitemap { name: None, fetched_from, level: 0 }).await?;
        while let Some(pending) = self.pending.pop_front() {
            let PendingSitemap { address, level, index, line } = pending;
            let name: Arc<str> = address.masked().into();
            match self.fetch(&address).await {
                // Two names may redirect to one sitemap, or to one that was read before.
                Ok((_, url)) if url != *address.as_url() && !self.known.insert(url.to_string()) => {
                }
                Ok((text, url)) => {
                    let fetched_from = Some(url);
                    self.read(text, Sitemap { name: Some(name), fetched_from, level }).await?;
                }
                Err(error) => {
                    let reason = format!("the sitemap {name} cannot be read: {error}");
                    self.reject(index, line, Vec::new(), reason).await?;
                }
            }
        }
        Ok(())
    }

    async fn fetch(&self, address: &Address) -> io::Result<(BufReader<Text>, Url)> {
        let (text, url) = self.fetcher.get(address, NamedBy::List).await?;
        Ok((Input::new(text, self.progress.clone()).into_text().await?, url))
    }

    /// Reads one document. An invalid document ends here and affects no other one. A read error of
    /// the source itself is passed on as an error, as for any list: the list is not complete.
    async fn read(&mut self, text: BufReader<Text>, sitemap: Sitemap) -> Result<(), Stopped> {
        let name = &sitemap.name;
        let mut document = Document::new(text);
        loop {
            match document.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(location)) => self.follow(location, &sitemap).await?,
                Err(DocumentError::Invalid(reason)) => {
                    return self.reject(name.clone(), document.line(), Vec::new(), reason).await;
                }
                Err(DocumentError::Read(error)) if name.is_none() => {
                    _ = self.entries.send(Err(error)).await;
                    return Err(Stopped);
                }
                Err(DocumentError::Read(error)) => {
                    let reason = format!("the sitemap cannot be read further: {error}");
                    return self.reject(name.clone(), document.line(), Vec::new(), reason).await;
                }
            }
        }
    }

    /// Passes on the URL of a page, or remembers a sitemap.
    async fn follow(&mut self, location: Location, sitemap: &Sitemap) -> Result<(), Stopped> {
        let Location { line, text, kind } = location;
        let name = sitemap.name.clone();
        let Some(text) = text else {
            let reason = format!("the URL is not usable: it has more than {MAX_URL_BYTES} bytes");
            return self.reject(name, line, Vec::new(), reason).await;
        };
        match kind {
            Kind::Page => {
                let content = record::parse_url(&text).into();
                self.send(Entry { sitemap: name, line, raw: text.into_bytes(), content }).await
            }
            Kind::Sitemap => match self.remember(&text, line, sitemap) {
                Ok(()) => Ok(()),
                Err(reason) => self.reject(name, line, text.into_bytes(), reason).await,
            },
        }
    }

    /// Adds a sitemap that `index` names to the pending ones. The error says why it is not read.
    fn remember(&mut self, text: &str, line: u64, index: &Sitemap) -> Result<(), String> {
        let address = Address::parse(text)
            .map_err(|error| format!("the URL of the sitemap is not usable: {error}"))?;
        // The author of a fetched index is not the user, so the index must not lead elsewhere.
        if index.fetched_from.as_ref().is_some_and(|url| !is_same_host(url, address.as_url())) {
            return Err(format!(
                "the sitemap {address} is on another host than its index and is not fetched"
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

#[cfg(test)]
mod tests;
