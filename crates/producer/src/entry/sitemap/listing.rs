//! The locations of one sitemap, whatever its format.

use std::io;

use encoding_rs::Encoding;
use reqwest::Url;
use tokio::io::BufReader;

use super::document::{Document, DocumentError};
use super::encoding::{self, DecodedText};
use super::location::Location;
use super::shape::Shape;
use super::url_lines::UrlLines;
use crate::text::{Text, display_name};

/// A sitemap that is being read.
pub(super) struct Listing {
    format: Format,
    /// `None` after it was reported.
    encoding: Option<&'static Encoding>,
}

enum Format {
    Document(Box<Document>),
    Lines(Box<UrlLines>),
}

impl Listing {
    /// Recognises the encoding and the format. `fetched_from` is the URL of the text.
    pub(super) async fn open(
        text: BufReader<Text>,
        fetched_from: Option<&Url>,
    ) -> Result<Self, DocumentError> {
        let decoded = encoding::decode(text).await?.map_err(DocumentError::Invalid)?;
        let DecodedText { text, is_markup, encoding } = decoded;
        let format = match is_markup {
            true => Format::Document(Box::new(Document::new(text, encoding, fetched_from))),
            false => Format::Lines(Box::new(UrlLines::new(text, encoding))),
        };
        Ok(Self { format, encoding: Some(encoding) })
    }

    /// The next location; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Location>, DocumentError> {
        match &mut self.format {
            Format::Document(document) => document.next().await,
            Format::Lines(lines) => lines.next().await,
        }
    }

    /// The line that was read last, from 1.
    pub(super) fn line(&self) -> u64 {
        match &self.format {
            Format::Document(document) => document.line(),
            Format::Lines(lines) => lines.line(),
        }
    }

    /// Whether the locations are those of sitemaps.
    pub(super) fn is_index(&self) -> bool {
        matches!(&self.format, Format::Document(document) if document.shape() == Some(Shape::Index))
    }

    /// What it is, for people, once that is known and was not asked for before.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        let what = match &self.format {
            Format::Document(document) => document.shape()?.describe(),
            Format::Lines(lines) => lines.is_recognised().then_some("a text sitemap")?,
        };
        let encoding = display_name(self.encoding.take()?);
        Some(format!("{what}, {encoding}"))
    }

    /// Whether a sitemap ends too early, so that another attempt may bring the rest.
    pub(super) async fn is_cut_off(text: BufReader<Text>) -> bool {
        let mut listing = match Self::open(text, None).await {
            Ok(listing) => listing,
            Err(error) => return error.is_cut_off(),
        };
        loop {
            match listing.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(error) => return error.is_cut_off(),
            }
        }
    }
}

impl DocumentError {
    fn is_cut_off(&self) -> bool {
        match self {
            Self::Truncated => true,
            Self::Read(error) => error.kind() == io::ErrorKind::UnexpectedEof,
            Self::Invalid(_) => false,
        }
    }
}
