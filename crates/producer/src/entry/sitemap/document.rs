//! One sitemap, index or feed, read element by element.

use std::collections::VecDeque;
use std::io;

use encoding_rs::Encoding;
use quick_xml::NsReader;
use quick_xml::errors::SyntaxError;
use reqwest::Url;
use tokio::io::BufReader;

use super::location::{Field, Location, OpenEntry};
use super::reference::Base;
use super::shape::Shape;
use super::tag::{Step, Tag, interpret};
use crate::source::TooLarge;
use crate::text::{BoundedText, Text, TooLong};

/// Elements that are nested in each other, at most.
const MAX_DEPTH: usize = 64;

/// Why a document is not read further.
#[derive(Debug)]
pub(super) enum DocumentError {
    /// The document is not a sitemap, or not well-formed.
    Invalid(String),
    /// The document ends before its root element does.
    Truncated,
    /// The underlying stream failed.
    Read(io::Error),
}

impl From<io::Error> for DocumentError {
    fn from(error: io::Error) -> Self {
        if TooLong::is_cause_of(&error) || TooLarge::is_cause_of(&error) {
            return Self::Invalid(error.to_string());
        }
        Self::Read(error)
    }
}

impl From<quick_xml::Error> for DocumentError {
    fn from(error: quick_xml::Error) -> Self {
        match error {
            // The error is shared, so what it was is kept in its text.
            quick_xml::Error::Io(error)
                if TooLong::is_cause_of(&error) || TooLarge::is_cause_of(&error) =>
            {
                Self::Invalid(error.to_string())
            }
            quick_xml::Error::Io(error) => {
                Self::Read(io::Error::new(error.kind(), error.to_string()))
            }
            quick_xml::Error::Syntax(error) if error != SyntaxError::InvalidBangMarkup => {
                // Something is opened and never closed.
                Self::Truncated
            }
            error => Self::Invalid(format!("the XML is not well-formed: {error}")),
        }
    }
}

/// Reads the locations of one document.
pub(super) struct Document {
    reader: NsReader<BoundedText>,
    buffer: Vec<u8>,
    encoding: &'static Encoding,
    /// The line in which the last element or text begins.
    line: u64,
    shape: Option<Shape>,
    /// The namespace of the root element.
    namespace: String,
    /// How many elements are open.
    depth: usize,
    /// What relative URLs refer to, by the depth of the element that says so.
    bases: Vec<(usize, Base)>,
    entry: Option<OpenEntry>,
    /// The depth of the last entry.
    entry_depth: usize,
    /// The direct child of the entry that is open and means something.
    field: Option<Field>,
    found: VecDeque<Location>,
    /// What ends the document once everything that was found is returned.
    failure: Option<DocumentError>,
}

impl Document {
    /// `fetched_from` is the URL of the document, to which relative URLs of a feed refer.
    pub(super) fn new(
        text: BufReader<Text>,
        encoding: &'static Encoding,
        fetched_from: Option<&Url>,
    ) -> Self {
        let mut reader = NsReader::from_reader(BoundedText::new(text));
        reader.config_mut().expand_empty_elements = true;
        // Many sites do not escape the query of a URL.
        reader.config_mut().allow_dangling_amp = true;
        let base = fetched_from.map_or(Base::Unknown, |url| Base::Feed(url.clone()));
        Self {
            reader,
            buffer: Vec::new(),
            encoding,
            line: 1,
            shape: None,
            namespace: String::new(),
            depth: 0,
            bases: vec![(0, base)],
            entry: None,
            entry_depth: 0,
            field: None,
            found: VecDeque::new(),
            failure: None,
        }
    }

    /// The line in which the last element or text begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// What the document is; `None` before its root element is read.
    pub(super) fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// The next location; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Location>, DocumentError> {
        loop {
            if let Some(location) = self.found.pop_front() {
                return Ok(Some(location));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            match self.step().await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.found.extend(
                        self.entry.take().map(OpenEntry::close_early).into_iter().flatten(),
                    );
                    self.failure = Some(error);
                }
            }
        }
    }

    /// Reads one event; `false` at the end.
    async fn step(&mut self) -> Result<bool, DocumentError> {
        self.buffer.clear();
        self.line = self.reader.get_mut().start_event();
        let event = self.reader.read_event_into_async(&mut self.buffer).await?;
        let step = interpret(event, self.reader.resolver());
        if let Some(field) = &mut self.field {
            field.is_too_long |= self.reader.get_ref().is_cut();
        }
        match step {
            Step::Open(tag) => self.open(&tag).map_err(DocumentError::Invalid)?,
            Step::Text(text) => self.push(&text),
            Step::Unresolved(reference) => {
                self.push(&reference);
                if let Some(field) = &mut self.field {
                    field.note_unresolved(&reference);
                }
            }
            Step::Ignored => {}
            Step::Close => self.close(),
            Step::End if self.shape.is_none() => {
                return Err(DocumentError::Invalid("not a sitemap: it is empty".to_owned()));
            }
            Step::End if self.depth > 0 => return Err(DocumentError::Truncated),
            Step::End if self.is_other_feed() => {
                let reason = "not a sitemap: the <feed> has no <entry>, so it is not an Atom feed; \
                              convert it to CSV or to text";
                return Err(DocumentError::Invalid(reason.to_owned()));
            }
            Step::End => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the document is one of the many others with this root element.
    fn is_other_feed(&self) -> bool {
        let is_atom = || self.namespace.to_ascii_lowercase().contains("atom");
        self.shape == Some(Shape::Atom) && self.entry_depth == 0 && !is_atom()
    }

    fn open(&mut self, tag: &Tag) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("not a sitemap: elements are nested more than {MAX_DEPTH} deep"));
        }
        let shape = match self.shape {
            Some(shape) => shape,
            None => {
                self.namespace.clone_from(&tag.namespace);
                *self.shape.insert(shape_of(&tag.name)?)
            }
        };
        if let Some(declared) = tag.attribute("xml:base") {
            let base = self.base().within(declared);
            self.bases.push((self.depth, base));
        }
        let line = self.line;
        if let Some(field) = &mut self.field {
            field.note_element(&tag.name);
        } else if self.entry.is_some() && self.depth == self.entry_depth + 1 {
            let base = self.base().clone();
            self.field = self.entry.as_mut().and_then(|entry| entry.open_field(tag, line, &base));
        } else if self.entry.is_some() {
            // The elements of an image or a video.
        } else if self.depth > 1 && tag.name == shape.entry() {
            self.entry = Some(OpenEntry::new(shape, line, tag, self.encoding));
            self.entry_depth = self.depth;
        } else if !shape.is_feed() && tag.name == "loc" && tag.namespace == self.namespace {
            self.found.push_back(Location::outside(shape, line));
        }
        Ok(())
    }

    fn push(&mut self, text: &str) {
        // The text of nested elements is not that of the field.
        if let Some(field) = &mut self.field
            && self.depth == self.entry_depth + 1
        {
            field.push(text);
        }
    }

    fn close(&mut self) {
        if self.depth == self.entry_depth + 1 {
            let base = self.base().clone();
            if let (Some(entry), Some(field)) = (&mut self.entry, self.field.take()) {
                entry.close_field(field, &base);
            }
        } else if self.depth == self.entry_depth {
            self.found.extend(self.entry.take().map(OpenEntry::close).into_iter().flatten());
        }
        self.bases.pop_if(|(depth, _)| *depth == self.depth && *depth > 0);
        self.depth = self.depth.saturating_sub(1);
    }

    fn base(&self) -> &Base {
        self.bases.last().map_or(&Base::Unknown, |(_, base)| base)
    }
}

fn shape_of(name: &str) -> Result<Shape, String> {
    Shape::of_root(name).ok_or_else(|| match name.to_ascii_lowercase().as_str() {
        "html" => "not a sitemap: the root element is <html>; it is a web page, perhaps one to \
                   sign in"
            .to_owned(),
        "meta" | "dl" => "not a sitemap: it is HTML, such as exported bookmarks; export or save \
                          them as CSV"
            .to_owned(),
        "workbook" => "not a sitemap: it is a workbook in XML; save it as .xlsx or CSV".to_owned(),
        _ => format!(
            "not a sitemap: the root element is <{name:.50}>, not <urlset>, <sitemapindex> or \
             that of an RSS or Atom feed; convert it to CSV or to text"
        ),
    })
}
