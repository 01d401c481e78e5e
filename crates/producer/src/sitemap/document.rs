//! One sitemap or index, read element by element.

use std::io;

use fetchline_queue::MAX_URL_BYTES;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use tokio::io::BufReader;

use super::short::{Short, TooLong};
use crate::source::Text;

/// The most elements inside of each other.
const DEEPEST: usize = 64;

/// What a location is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Page,
    Sitemap,
}

/// The text of a `loc`.
#[derive(Debug)]
pub(super) struct Location {
    /// The line that it begins in.
    pub(super) line: u64,
    /// `None` where it is longer than any URL.
    pub(super) text: Option<String>,
    pub(super) of: Kind,
}

/// Why a document is not read on.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It is wrong, and how.
    Wrong(String),
    /// What it comes from cannot be read.
    Unreadable(io::Error),
}

impl From<quick_xml::Error> for Unfinished {
    fn from(error: quick_xml::Error) -> Self {
        match error {
            quick_xml::Error::Io(error) if TooLong::is(&error) => Self::Wrong(error.to_string()),
            quick_xml::Error::Io(error) => Self::Unreadable(io::Error::new(error.kind(), error.to_string())),
            error => Self::Wrong(format!("no XML that can be read on: {error}")),
        }
    }
}

/// A document, read element by element.
pub(super) struct Document {
    reader: Reader<Short>,
    buffer: Vec<u8>,
    /// The line that the last element or text began in.
    pub(super) line: u64,
    root: Option<Kind>,
    /// How many elements are open,
    depth: usize,
    /// and how many of them, from the root on, are those that lead to a location.
    on_path: usize,
    /// Of the location that is open: its line, and its text so far.
    began: u64,
    text: String,
    too_long: bool,
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
    pub(super) fn new(text: BufReader<Text>) -> Self {
        let mut reader = Reader::from_reader(Short::new(text));
        reader.config_mut().expand_empty_elements = true;
        // Many write a URL's query as it is.
        reader.config_mut().allow_dangling_amp = true;
        Self {
            reader,
            buffer: Vec::new(),
            line: 1,
            root: None,
            depth: 0,
            on_path: 0,
            began: 1,
            text: String::new(),
            too_long: false,
        }
    }

    /// The next location; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Location>, Unfinished> {
        loop {
            self.buffer.clear();
            self.line = self.reader.get_mut().begin();
            let event = self.reader.read_event_into_async(&mut self.buffer).await;
            let step = step(event?);
            self.too_long |= self.reader.get_ref().is_cut();
            match step {
                Step::Open(name) => self.open(&name).map_err(Unfinished::Wrong)?,
                Step::Text(text) if self.is_in_location() => self.collect(&text),
                Step::Nothing | Step::Text(_) => {}
                Step::Close => {
                    if let Some(text) = self.close()
                        && let Some(of) = self.root
                    {
                        return Ok(Some(Location { line: self.began, text, of }));
                    }
                }
                Step::End if self.root.is_none() => {
                    return Err(Unfinished::Wrong("no sitemap: it is empty".to_owned()));
                }
                Step::End if self.depth > 0 => return Err(Unfinished::Wrong("the sitemap breaks off".to_owned())),
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
                    _ => return Err(format!("no sitemap: it is a <{name:.50}>, and no <urlset> or <sitemapindex>")),
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
            (self.began, self.too_long) = (self.line, false);
        }
        Ok(())
    }

    /// Adds to the text of a location. White space before it is no part of it, and does not count.
    fn collect(&mut self, text: &str) {
        let text = if self.text.is_empty() { text.trim_start() } else { text };
        // A part of what is too long may be a URL, and would be another one.
        self.too_long |= self.text.len() + text.trim_end().len() > MAX_URL_BYTES;
        if self.too_long {
            self.text.clear();
        } else {
            self.text.push_str(text);
        }
    }

    /// Closes an element; its text, where it is a location.
    fn close(&mut self) -> Option<Option<String>> {
        let location = self.is_in_location();
        self.on_path -= usize::from(self.on_path == self.depth && self.depth > 0);
        self.depth = self.depth.saturating_sub(1);
        location.then(|| (!self.too_long).then(|| self.text.trim().to_owned()))
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
