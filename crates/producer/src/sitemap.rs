//! Sitemaps and indexes of sitemaps (<https://www.sitemaps.org/protocol.html>).
//!
//! They are read by a task of its own, which hands entries over one by one: so reading on may be given up at any time and
//! taken up again, and a sitemap of any size costs no more memory than a few entries.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use fetchline_queue::{Address, MAX_URL_BYTES};
use reqwest::Url;
use tokio::io::BufReader;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::format::{Entry, What};
use crate::progress::Progress;
use crate::record;
use crate::remote::{NamedBy, Remote, same_host};
use crate::source::{Raw, Text};

use document::{Document, Kind, Location, Unfinished};

mod document;
mod short;

/// Entries that are read in advance.
const AHEAD: usize = 256;
/// The most sitemaps that are fetched, and how far an index may lie inside of an index.
const MOST_SITEMAPS: usize = 50_000;
const MOST_LEVELS: u32 = 3;

/// The entries of a sitemap, and of those that it names.
pub(crate) struct Sitemaps {
    entries: mpsc::Receiver<io::Result<Entry>>,
    _reading: AbortOnDropHandle<()>,
}

impl Sitemaps {
    /// Begins to read. `fetched_from` is where the text is from; `None` for a file.
    pub(crate) fn read(
        text: BufReader<Text>,
        fetched_from: Option<Url>,
        remote: Remote,
        progress: Arc<Progress>,
    ) -> Self {
        let (sender, entries) = mpsc::channel(AHEAD);
        let walk = Walk { entries: sender, remote, progress, seen: HashSet::new(), named: 0, waiting: VecDeque::new() };
        let reading = tokio::spawn(async move {
            // It ends early only where nobody reads on, or nothing can be read on.
            _ = walk.run(text, fetched_from).await;
        });
        Self { entries, _reading: AbortOnDropHandle::new(reading) }
    }

    /// The next entry; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Entry>> {
        self.entries.recv().await.transpose()
    }
}

/// A sitemap that an index names.
struct Named {
    address: Address,
    /// The index, its line, and how many indexes lead there.
    by: Option<Arc<str>>,
    line: u64,
    level: u32,
}

/// Nobody wants more entries, or there are none.
struct Gone;

/// The way through a sitemap and those that it names.
struct Walk {
    entries: mpsc::Sender<io::Result<Entry>>,
    remote: Remote,
    progress: Arc<Progress>,
    seen: HashSet<String>,
    /// How many were named so far.
    named: usize,
    waiting: VecDeque<Named>,
}

impl Walk {
    async fn run(mut self, text: BufReader<Text>, fetched_from: Option<Url>) -> Result<(), Gone> {
        self.seen.extend(fetched_from.as_ref().map(Url::to_string));
        self.document(text, None, fetched_from, 0).await?;
        while let Some(named) = self.waiting.pop_front() {
            let name: Arc<str> = named.address.masked().into();
            let text = match self.remote.get(&named.address, NamedBy::List).await {
                Ok((text, url)) => Raw::new(text, self.progress.clone()).text().await.map(|text| (text, url)),
                Err(error) => Err(error),
            };
            match text {
                // Redirects lead two names to one sitemap, also to one that was read before.
                Ok((_, url)) if url != *named.address.as_url() && !self.seen.insert(url.to_string()) => {}
                Ok((text, url)) => self.document(text, Some(name), Some(url), named.level).await?,
                Err(error) => {
                    let why = format!("the sitemap {name} cannot be read: {error}");
                    self.bad(named.by, named.line, Vec::new(), why).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads one document. What is wrong in it ends it, and nothing else. Where the source itself cannot be read on, that is
    /// an error, as for any list: it is not complete.
    async fn document(
        &mut self,
        text: BufReader<Text>,
        name: Option<Arc<str>>,
        fetched_from: Option<Url>,
        level: u32,
    ) -> Result<(), Gone> {
        let mut document = Document::new(text);
        loop {
            match document.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(Location { line, text: None, .. })) => {
                    let why = format!("no URL that can be fetched: it is longer than {MAX_URL_BYTES} bytes");
                    self.bad(name.clone(), line, Vec::new(), why).await?;
                }
                Ok(Some(Location { line, text: Some(text), of: Kind::Page })) => {
                    let what = record::url(&text).map_or_else(What::Bad, What::Record);
                    self.entry(Entry { source: name.clone(), line, given: text.into_bytes(), what }).await?;
                }
                Ok(Some(Location { line, text: Some(text), of: Kind::Sitemap })) => {
                    if let Err(why) = self.name(&text, name.clone(), line, fetched_from.as_ref(), level + 1) {
                        self.bad(name.clone(), line, text.into_bytes(), why).await?;
                    }
                }
                Err(Unfinished::Wrong(why)) => return self.bad(name, document.line, Vec::new(), why).await,
                Err(Unfinished::Unreadable(error)) if name.is_none() => {
                    _ = self.entries.send(Err(error)).await;
                    return Err(Gone);
                }
                Err(Unfinished::Unreadable(error)) => {
                    let why = format!("the sitemap cannot be read on: {error}");
                    return self.bad(name, document.line, Vec::new(), why).await;
                }
            }
        }
    }

    /// Notes a sitemap that is to be read. The error says why it is not.
    fn name(
        &mut self,
        text: &str,
        by: Option<Arc<str>>,
        line: u64,
        fetched_from: Option<&Url>,
        level: u32,
    ) -> Result<(), String> {
        let address = Address::parse(text).map_err(|error| format!("no sitemap that can be fetched: {error}"))?;
        // Whoever wrote the index is not the user: it may not send us elsewhere.
        if fetched_from.is_some_and(|index| !same_host(index, address.as_url())) {
            return Err(format!("the sitemap {address} is on another host than its index, and is not fetched"));
        }
        if level > MOST_LEVELS {
            return Err(format!("the sitemap {address} lies in more than {MOST_LEVELS} indexes of each other"));
        }
        if self.seen.contains(address.as_str()) {
            return Ok(());
        }
        if self.named >= MOST_SITEMAPS {
            return Err(format!("the sitemap {address} is one of more than {MOST_SITEMAPS}, and is not fetched"));
        }
        self.named += 1;
        self.seen.insert(address.as_str().to_owned());
        self.waiting.push_back(Named { address, by, line, level });
        Ok(())
    }

    async fn bad(&self, source: Option<Arc<str>>, line: u64, given: Vec<u8>, why: String) -> Result<(), Gone> {
        self.entry(Entry { source, line, given, what: What::Bad(why) }).await
    }

    async fn entry(&self, entry: Entry) -> Result<(), Gone> {
        self.entries.send(Ok(entry)).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests;
