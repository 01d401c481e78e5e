//! One sitemap or index, read element by element.

use std::io;

use fetchline_queue::MAX_URL_BYTES;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use tokio::io::BufReader;

use crate::text::{BoundedText, Text, TooLong};

/// Elements that are nested in each other, at most.
const MAX_DEPTH: usize = 64;

/// What a location points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Page,
    Sitemap,
}

/// The content of a `loc` element.
#[derive(Debug)]
pub(super) struct Location {
    /// The line in which the element begins.
    pub(super) line: u64,
    /// `None` if it is longer than any URL.
    pub(super) text: Option<String>,
    pub(super) kind: Kind,
}

/// Why a document is not read further.
#[derive(Debug)]
pub(super) enum DocumentError {
    /// The document is not a sitemap, or not well-formed.
    Invalid(String),
    /// The underlying stream failed.
    Read(io::Error),
}

impl From<quick_xml::Error> for DocumentError {
    fn from(error: quick_xml::Error) -> Self {
        match error {
            quick_xml::Error::Io(error) if TooLong::is_cause_of(&error) => {
                Self::Invalid(error.to_string())
            }
            quick_xml::Error::Io(error) => {
                Self::Read(io::Error::new(error.kind(), error.to_string()))
            }
            error => Self::Invalid(format!("the XML is not well-formed: {error}")),
        }
    }
}

/// Reads the locations of one sitemap or index.
pub(super) struct Document {
    reader: Reader<BoundedText>,
    buffer: Vec<u8>,
    /// The line in which the last element or text begins.
    line: u64,
    root: Option<Kind>,
    /// How many elements are open.
    depth: usize,
    /// How many of them, counted from the root, lead to a location.
    path_depth: usize,
    open: OpenLocation,
}

/// The location whose element is open.
#[derive(Default)]
struct OpenLocation {
    line: u64,
    text: String,
    is_too_long: bool,
}

/// What an XML event means here.
enum Step {
    Ignored,
    Open(String),
    Close,
    Text(String),
    End,
}

impl Document {
    pub(super) fn new(text: BufReader<Text>) -> Self {
        let mut reader = Reader::from_reader(BoundedText::new(text));
        reader.config_mut().expand_empty_elements = true;
        // Many sites do not escape the query of a URL.
        reader.config_mut().allow_dangling_amp = true;
        Self {
            reader,
            buffer: Vec::new(),
            line: 1,
            root: None,
            depth: 0,
            path_depth: 0,
            open: OpenLocation::default(),
        }
    }

    /// The line in which the last element or text begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The next location; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Location>, DocumentError> {
        loop {
            self.buffer.clear();
            self.line = self.reader.get_mut().start_event();
            let event = self.reader.read_event_into_async(&mut self.buffer).await;
            let step = interpret(event?);
            self.open.is_too_long |= self.reader.get_ref().is_cut();
            match step {
                Step::Open(name) => self.open(&name).map_err(DocumentError::Invalid)?,
                Step::Text(text) if self.is_in_location() => self.open.push(&text),
                Step::Ignored | Step::Text(_) => {}
                Step::Close => {
                    if let Some(location) = self.close() {
                        return Ok(Some(location));
                    }
                }
                Step::End if self.root.is_none() => {
                    return Err(DocumentError::Invalid("not a sitemap: it is empty".to_owned()));
                }
                Step::End if self.depth > 0 => {
                    return Err(DocumentError::Invalid("the sitemap is truncated".to_owned()));
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn open(&mut self, name: &str) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("not a sitemap: elements are nested more than {MAX_DEPTH} deep"));
        }
        let leads_to_location = match (self.depth, self.root) {
            (1, _) => {
                self.root = Some(match name {
                    "urlset" => Kind::Page,
                    "sitemapindex" => Kind::Sitemap,
                    _ => {
                        return Err(format!(
                            "not a sitemap: the root element is <{name:.50}>, \
                             not <urlset> or <sitemapindex>"
                        ));
                    }
                });
                true
            }
            (2, Some(Kind::Page)) => name == "url",
            (2, Some(Kind::Sitemap)) => name == "sitemap",
            // Images and videos of a page have locations too, nested deeper.
            (3, _) => name == "loc",
            _ => false,
        };
        if leads_to_location && self.path_depth + 1 == self.depth {
            self.path_depth = self.depth;
            self.open = OpenLocation { line: self.line, ..OpenLocation::default() };
        }
        Ok(())
    }

    /// Closes an element, and returns the location if it is one.
    fn close(&mut self) -> Option<Location> {
        let is_location = self.is_in_location();
        self.path_depth -= usize::from(self.path_depth == self.depth && self.depth > 0);
        self.depth = self.depth.saturating_sub(1);
        let kind = self.root.filter(|_| is_location)?;
        let OpenLocation { line, text, is_too_long } = &self.open;
        let text = (!is_too_long).then(|| text.trim().to_owned());
        Some(Location { line: *line, text, kind })
    }

    fn is_in_location(&self) -> bool {
        self.depth == 3 && self.path_depth == 3
    }
}

impl OpenLocation {
    /// Adds text. White space before the URL is dropped, so that it does not count.
    fn push(&mut self, text: &str) {
        let text = if self.text.is_empty() { text.trim_start() } else { text };
        // The beginning of an overlong URL may be a valid URL, but it is another one.
        self.is_too_long |= self.text.len() + text.trim_end().len() > MAX_URL_BYTES;
        if self.is_too_long {
            self.text.clear();
        } else {
            self.text.push_str(text);
        }
    }
}

fn interpret(event: Event<'_>) -> Step {
    match event {
        Event::Start(element) => Step::Open(element.local_name().into_inner().to_owned()),
        Event::End(_) => Step::Close,
        Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
        Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
        Event::GeneralRef(reference) => Step::Text(resolve(&reference)),
        Event::Eof => Step::End,
        _ => Step::Ignored,
    }
}

/// Resolves a character reference or a predefined entity. Any other reference stays as it is, since
/// many sites do not escape the query of a URL.
fn resolve(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = reference.xml10_content();
    resolve_xml_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned)
}
