//! Sitemaps and indexes of sitemaps (<https://www.sitemaps.org/protocol.html>).
//!
//! They are read by a task of its own, which hands entries over one by one: so reading on may be given up at any time and
//! taken up again, and a sitemap of any size costs no more memory than a few entries.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use fetchline_queue::{Address, MAX_URL_BYTES};
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use reqwest::Url;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::format::{Entry, What};
use crate::progress::Progress;
use crate::record;
use crate::remote::{NamedBy, Remote, same_host};
use crate::source::{Raw, Text};

/// Entries that are read in advance.
const AHEAD: usize = 256;
/// The most bytes of one tag, text or comment: what is longer is no sitemap.
const LONGEST: usize = 1024 * 1024;
/// The most elements inside of each other.
const DEEPEST: usize = 64;
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
        let walk = Walk { entries: sender, remote, progress, seen: HashSet::new(), waiting: VecDeque::new() };
        let reading = tokio::spawn(async move {
            // It ends early only where nobody reads on.
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

/// Nobody wants more entries.
struct Gone;

/// The way through a sitemap and those that it names.
struct Walk {
    entries: mpsc::Sender<io::Result<Entry>>,
    remote: Remote,
    progress: Arc<Progress>,
    seen: HashSet<String>,
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
                Ok((text, url)) => self.document(text, Some(name), Some(url), named.level).await?,
                Err(error) => {
                    let why = format!("the sitemap {name} cannot be read: {error}");
                    self.bad(named.by, named.line, Vec::new(), why).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads one document. What is wrong in it ends it, and nothing else.
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
                Ok(Some(Location { line, text, of: Kind::Page })) => {
                    let what = record::url(&text).map_or_else(What::Bad, What::Record);
                    self.entry(Entry { source: name.clone(), line, given: text.into_bytes(), what }).await?;
                }
                Ok(Some(Location { line, text, of: Kind::Sitemap })) => {
                    if let Err(why) = self.name(&text, name.clone(), line, fetched_from.as_ref(), level + 1) {
                        self.bad(name.clone(), line, text.into_bytes(), why).await?;
                    }
                }
                Err(why) => return self.bad(name, document.line, Vec::new(), why).await,
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
        if self.seen.len() >= MOST_SITEMAPS {
            return Err(format!("more than {MOST_SITEMAPS} sitemaps are not read"));
        }
        if self.seen.insert(address.as_str().to_owned()) {
            self.waiting.push_back(Named { address, by, line, level });
        }
        Ok(())
    }

    async fn bad(&self, source: Option<Arc<str>>, line: u64, given: Vec<u8>, why: String) -> Result<(), Gone> {
        self.entry(Entry { source, line, given, what: What::Bad(why) }).await
    }

    async fn entry(&self, entry: Entry) -> Result<(), Gone> {
        self.entries.send(Ok(entry)).await.map_err(|_| Gone)
    }
}

/// What a location is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Page,
    Sitemap,
}

/// The text of a `loc`.
#[derive(Debug)]
struct Location {
    line: u64,
    text: String,
    of: Kind,
}

/// A document, read element by element.
struct Document {
    reader: Reader<Short>,
    buffer: Vec<u8>,
    /// The line that was reached.
    line: u64,
    root: Option<Kind>,
    /// How many elements are open,
    depth: usize,
    /// and how many of them, from the root on, are those that lead to a location.
    on_path: usize,
    text: String,
}

/// What an event means.
enum Step {
    Nothing,
    Open(String),
    Close,
    Text(String),
    End,
}

impl Document {
    fn new(text: BufReader<Text>) -> Self {
        let mut reader = Reader::from_reader(Short { input: text, left: LONGEST });
        reader.config_mut().expand_empty_elements = true;
        // Many write a URL's query as it is.
        reader.config_mut().allow_dangling_amp = true;
        let buffer = Vec::new();
        Self { reader, buffer, line: 1, root: None, depth: 0, on_path: 0, text: String::new() }
    }

    /// The next location; `None` at the end. The error says what is wrong with the document.
    async fn next(&mut self) -> Result<Option<Location>, String> {
        loop {
            self.buffer.clear();
            self.reader.get_mut().left = LONGEST;
            let event = self.reader.read_event_into_async(&mut self.buffer).await;
            let step = step(event.map_err(|error| format!("no XML that can be read on: {error}"))?);
            let line = self.line;
            self.line += self.buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
            match step {
                Step::Nothing => {}
                Step::Open(name) => self.open(&name)?,
                // What is too long for a URL anyhow is not collected.
                Step::Text(text) if self.is_in_location() && self.text.len() <= MAX_URL_BYTES => {
                    self.text.push_str(&text);
                }
                Step::Text(_) => {}
                Step::Close => {
                    if let Some(text) = self.close()
                        && let Some(of) = self.root
                    {
                        return Ok(Some(Location { line, text: text.trim().to_owned(), of }));
                    }
                }
                Step::End if self.root.is_none() => return Err("no sitemap: it is empty".to_owned()),
                Step::End if self.depth > 0 => return Err("the sitemap breaks off".to_owned()),
                Step::End => return Ok(None),
            }
        }
    }

    fn open(&mut self, name: &str) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("no sitemap: more than {DEEPEST} elements are inside of each other"));
        }
        let leads_on = match (self.depth, self.root) {
            (1, _) => {
                self.root = Some(match name {
                    "urlset" => Kind::Page,
                    "sitemapindex" => Kind::Sitemap,
                    _ => return Err(format!("no sitemap: it is a <{name}>, and no <urlset> or <sitemapindex>")),
                });
                true
            }
            (2, Some(Kind::Page)) => name == "url",
            (2, Some(Kind::Sitemap)) => name == "sitemap",
            // Images and videos of a page have locations as well, deeper inside.
            (3, _) => name == "loc",
            _ => false,
        };
        if leads_on && self.on_path + 1 == self.depth {
            self.on_path = self.depth;
            self.text.clear();
        }
        Ok(())
    }

    /// Closes an element; its text, where it is a location.
    fn close(&mut self) -> Option<String> {
        let text = self.is_in_location().then(|| std::mem::take(&mut self.text));
        self.on_path -= usize::from(self.on_path == self.depth && self.depth > 0);
        self.depth = self.depth.saturating_sub(1);
        text
    }

    fn is_in_location(&self) -> bool {
        self.depth == 3 && self.on_path == 3
    }
}

fn step(event: Event<'_>) -> Step {
    match event {
        Event::Start(element) => Step::Open(element.local_name().into_inner().to_owned()),
        Event::End(_) => Step::Close,
        Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
        Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
        Event::GeneralRef(name) => Step::Text(resolved(&name)),
        Event::Eof => Step::End,
        _ => Step::Nothing,
    }
}

/// A character by its number or name. Another one is left as it is written: many forget to escape a query.
fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = reference.xml10_content();
    resolve_xml_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned)
}

/// Input that ends with an error where it is read for too long at once: the parser would collect it all.
struct Short {
    input: BufReader<Text>,
    /// Bytes that may still be read.
    left: usize,
}

impl AsyncRead for Short {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_read(context, buffer)
    }
}

impl AsyncBufRead for Short {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::other(format!("a tag or a text has more than {LONGEST} bytes"))));
        }
        Pin::new(&mut this.input).poll_fill_buf(context)
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        this.left = this.left.saturating_sub(bytes);
        Pin::new(&mut this.input).consume(bytes);
    }
}

#[cfg(test)]
mod tests;
