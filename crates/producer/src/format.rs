//! What a source holds: a URL a line, CSV, a JSON object a line, or a sitemap.

use std::io;
use std::sync::Arc;

use fetchline_queue::{MAX_MESSAGE_BYTES, MAX_URL_BYTES};

use reqwest::Url;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::csv::Table;
use crate::lines::{Line, Lines};
use crate::progress::Progress;
use crate::record::{self, Fields, Record};
use crate::remote::Remote;
use crate::sitemap::Sitemaps;
use crate::source::{BUFFER, Source, Text};

/// The field that the URL stands in, where nothing else is said.
const URL: &str = "url";
/// Blank bytes at the beginning that are read to recognise what follows.
const MOST_BLANK: usize = BUFFER;

/// How URLs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Recognised: by the end of the file's name, else by the first line.
    Auto,
    /// A URL a line; blank lines and lines that begin with `#` are left out.
    Text,
    /// Comma-, semicolon- or tab-separated, with a line of headings or without.
    Csv,
    /// A JSON object a line, like that of a message.
    Jsonl,
    /// A sitemap, or an index of sitemaps, which are fetched.
    Sitemap,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it is from, if not from the source itself.
    pub(crate) source: Option<Arc<str>>,
    /// The number of its line, or of its first one, from 1.
    pub(crate) line: u64,
    /// As it was given.
    pub(crate) given: Vec<u8>,
    pub(crate) what: What,
}

/// What a line, or several, turned out to be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every entry is a record; a box for each would cost more")]
pub(crate) enum What {
    Record(Record),
    /// Blank, a comment, or headings.
    Nothing,
    /// No record, and why.
    Bad(String),
}

/// The entries of a source; the reading may be interrupted at any await and taken up again.
pub(crate) enum Entries {
    Lines(Box<Listed>),
    Sitemaps(Sitemaps),
}

impl Entries {
    /// Begins to read a source. `fetched_from` is where its text was found in the end; `None` for what is not fetched.
    pub(crate) async fn read(
        mut text: BufReader<Text>,
        source: &Source,
        format: Format,
        url_field: Option<String>,
        fetched_from: Option<Url>,
        remote: Remote,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let is_sitemap = match format {
            Format::Auto => match source.extension().as_deref() {
                Some("xml") => true,
                Some("csv" | "tsv" | "jsonl" | "ndjson") => false,
                // No URL begins like this, and neither does a heading.
                _ => {
                    let (first, whole) = first_byte(text).await?;
                    text = whole;
                    first == Some(b'<')
                }
            },
            format => format == Format::Sitemap,
        };
        if is_sitemap {
            return Ok(Self::Sitemaps(Sitemaps::read(text, fetched_from, remote, progress)));
        }
        Ok(Self::Lines(Box::new(Listed::new(text, format, source, url_field))))
    }

    /// The next entry; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Entry>> {
        match self {
            Self::Lines(lines) => lines.next().await,
            Self::Sitemaps(sitemaps) => sitemaps.next().await,
        }
    }

    /// The row of headings that the last entry stood under, as it was given; `None` where there is none.
    pub(crate) fn headings(&self) -> Option<&str> {
        match self {
            Self::Lines(lines) => lines.table.as_ref().and_then(Table::headings),
            Self::Sitemaps(_) => None,
        }
    }
}

/// Reads entries of a line or some; the reading may be interrupted at any await and taken up again.
pub(crate) struct Listed {
    lines: Lines,
    format: Format,
    extension: Option<String>,
    url_field: Option<String>,
    table: Option<Table>,
}

impl Listed {
    fn new(text: BufReader<Text>, format: Format, source: &Source, url_field: Option<String>) -> Self {
        // A line of JSON may carry headers and a body.
        let longest = if format == Format::Text { 2 * MAX_URL_BYTES } else { MAX_MESSAGE_BYTES };
        Self { lines: Lines::new(text, longest), format, extension: source.extension(), url_field, table: None }
    }

    async fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.table.as_mut().and_then(Table::next) {
                return Ok(Some(entry));
            }
            let line = self.lines.next().await?;
            let number = self.lines.number;
            let Some(line) = line else {
                return Ok(self.table.as_mut().and_then(Table::end));
            };
            let bytes = match line {
                Line::Whole(bytes) => bytes,
                Line::TooLong => {
                    let what = What::Bad("the line is longer than anything that could be sent".to_owned());
                    return Ok(Some(Entry { source: None, line: number, given: Vec::new(), what }));
                }
            };
            if self.format == Format::Auto {
                match recognised(self.extension.as_deref(), self.url_field.as_deref(), &bytes) {
                    Some(format) => self.format = format,
                    // It says nothing yet.
                    None => return Ok(Some(Entry { source: None, line: number, given: bytes, what: What::Nothing })),
                }
            }
            if self.format == Format::Csv {
                let url_field = self.url_field.as_deref();
                self.table.get_or_insert_with(|| Table::new(url_field)).line(number, bytes);
                continue;
            }
            let what = self.read(&bytes);
            return Ok(Some(Entry { source: None, line: number, given: bytes, what }));
        }
    }

    fn read(&self, line: &[u8]) -> What {
        let Ok(text) = std::str::from_utf8(line) else { return What::Bad("the line is not UTF-8 text".to_owned()) };
        if says_nothing(text) {
            return What::Nothing;
        }
        let text = trimmed(text);
        let record = match self.format {
            Format::Jsonl => {
                Fields::json(text).and_then(|fields| fields.record(self.url_field.as_deref().unwrap_or(URL)))
            }
            _ => record::url(text),
        };
        record.map_or_else(What::Bad, What::Record)
    }
}

/// Without white space, and without the mark that some programs begin files with.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// Whether a line is blank, or a comment.
pub(crate) fn says_nothing(line: &str) -> bool {
    let line = trimmed(line);
    line.is_empty() || line.starts_with('#')
}

/// The first byte that is not blank, nor a part of a byte-order mark; and the text, from its beginning on. What is read first
/// may be a blank line alone.
async fn first_byte(mut text: BufReader<Text>) -> io::Result<(Option<u8>, BufReader<Text>)> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || "\u{feff}".as_bytes().contains(byte);
    let mut blank = Vec::new();
    let first = loop {
        let held = text.fill_buf().await?;
        let first = held.iter().copied().find(|byte| !is_blank(byte));
        if first.is_some() || held.is_empty() || blank.len() >= MOST_BLANK {
            break first;
        }
        blank.extend_from_slice(held);
        let length = held.len();
        text.consume(length);
    };
    if blank.is_empty() {
        return Ok((first, text));
    }
    let whole: Text = Box::new(io::Cursor::new(blank).chain(text));
    Ok((first, BufReader::with_capacity(BUFFER, whole)))
}

/// The format of a source by its name, else by its first line; `None` where that line is blank or a comment.
fn recognised(extension: Option<&str>, url_field: Option<&str>, line: &[u8]) -> Option<Format> {
    match extension {
        Some("csv" | "tsv") => return Some(Format::Csv),
        Some("jsonl" | "ndjson") => return Some(Format::Jsonl),
        _ => {}
    }
    let text = String::from_utf8_lossy(line);
    let text = trimmed(&text);
    if says_nothing(text) {
        return None;
    }
    if text.starts_with('{') {
        return Some(Format::Jsonl);
    }
    // A URL may hold commas, but headings are no URL.
    let headings = !text.contains("://") && Table::new(url_field).names_a_url(text);
    Some(if headings { Format::Csv } else { Format::Text })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_format_is_recognised_by_name_or_first_line() {
        for (extension, line, format) in [
            (None, "https://a.example/?q=1,2", Some(Format::Text)),
            (None, "\u{feff}{\"url\":1}", Some(Format::Jsonl)),
            (None, "sku;URL;price", Some(Format::Csv)),
            (None, "url", Some(Format::Csv)),
            (None, " # note", None),
            (None, "", None),
            (Some("txt"), "nonsense", Some(Format::Text)),
            (Some("csv"), "https://a.example/", Some(Format::Csv)),
            (Some("ndjson"), "", Some(Format::Jsonl)),
        ] {
            assert_eq!(recognised(extension, None, line.as_bytes()), format, "{extension:?} {line}");
        }
        assert_eq!(recognised(None, Some("link"), b"name,Link"), Some(Format::Csv));
    }

    #[tokio::test]
    async fn a_sitemap_is_recognised_by_its_name_or_by_how_it_begins() {
        let first = async |name: &str, text: &str| {
            let text: Text = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
            let (remote, progress) = (Remote::new(), Arc::new(Progress::default()));
            let source = Source::File(name.into());
            let entries =
                Entries::read(BufReader::new(text), &source, Format::Auto, None, None, remote, progress).await.unwrap();
            matches!(entries, Entries::Sitemaps(_))
        };
        assert!(first("sitemap.xml.gz", "").await && first("list", "\u{feff}\n <?xml version=\"1.0\"?>").await);
        assert!(!first("list", "http://a.example/<x>").await && !first("list.csv", "<a>,b").await);
    }

    #[tokio::test]
    async fn a_sitemap_is_recognised_behind_a_blank_line_that_came_alone() {
        let (mut writer, reader) = tokio::io::duplex(1);
        tokio::spawn(async move {
            let text = format!("\u{feff}\n \n{}", "<urlset><url><loc>ftp://a.example/1</loc></url></urlset>");
            writer.write_all(text.as_bytes()).await.unwrap();
        });
        let (text, remote): (Text, _) = (Box::new(reader), Remote::new());
        let read =
            Entries::read(BufReader::new(text), &Source::Stdin, Format::Auto, None, None, remote, Arc::default());
        let entry = read.await.unwrap().next().await.unwrap().unwrap();
        assert!(entry.line == 3 && matches!(&entry.what, What::Bad(why) if why.contains("`ftp`")), "{entry:?}");
    }
}
