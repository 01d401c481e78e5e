//! The entries of a source, whatever its format.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::list::List;
use super::sitemap::{PendingSitemap, SitemapReader, Sitemaps};
use super::{Entry, Format};
use crate::source::OpenSource;
use crate::text::{BUFFER_BYTES, Text};

/// Blank bytes at the beginning of a source that are skipped to recognise its format.
const MAX_BLANK_BYTES: usize = BUFFER_BYTES;

/// Reads the entries of a source. `next` is cancel-safe.
pub(crate) enum Entries {
    List(Box<List>),
    Sitemaps(Sitemaps),
}

impl Entries {
    /// Starts reading a source. It waits for the first bytes if they decide on the format.
    pub(crate) async fn read(
        source: OpenSource<'_>,
        format: Format,
        url_field: Option<String>,
        sitemaps: &SitemapReader,
    ) -> io::Result<Self> {
        let OpenSource { source, input, fetched_from } = source;
        let mut text = input.into_text().await?;
        let extension = source.extension();
        let is_sitemap = match format {
            Format::Auto => match extension.as_deref() {
                Some("xml") => true,
                Some("csv" | "tsv" | "jsonl" | "ndjson") => false,
                // No URL and no heading begins with `<`.
                _ => {
                    let first;
                    (first, text) = peek_first_byte(text).await?;
                    first == Some(b'<')
                }
            },
            Format::Sitemap => true,
            Format::Text | Format::Csv | Format::Jsonl => false,
        };
        if is_sitemap {
            return Ok(Self::Sitemaps(sitemaps.read(source.to_string(), text, fetched_from)));
        }
        Ok(Self::List(Box::new(List::new(text, format, extension, url_field))))
    }

    /// Starts to read sitemaps that were postponed, for the last time.
    pub(crate) fn read_postponed(pending: Vec<PendingSitemap>, sitemaps: &SitemapReader) -> Self {
        Self::Sitemaps(sitemaps.read_postponed(pending))
    }

    /// The next entry; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Entry>> {
        match self {
            Self::List(list) => list.next().await,
            Self::Sitemaps(sitemaps) => sitemaps.next().await,
        }
    }

    /// What was recognised since the last call, for people.
    pub(crate) fn take_notice(&mut self) -> Option<String> {
        match self {
            Self::List(_) => None,
            Self::Sitemaps(sitemaps) => sitemaps.take_notice(),
        }
    }

    /// The row of headings above the last entry, as it was given; `None` if there is none.
    pub(crate) fn headings(&self) -> Option<&str> {
        match self {
            Self::List(list) => list.headings(),
            Self::Sitemaps(_) => None,
        }
    }
}

/// Returns the first byte that is neither blank nor part of a byte-order mark, and the text from
/// its beginning. One read is not enough: it may return a blank line alone.
async fn peek_first_byte(mut text: BufReader<Text>) -> io::Result<(Option<u8>, BufReader<Text>)> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || "\u{feff}".as_bytes().contains(byte);
    let mut blank = Vec::new();
    let first = loop {
        let buffered = text.fill_buf().await?;
        let first = buffered.iter().copied().find(|byte| !is_blank(byte));
        if first.is_some() || buffered.is_empty() || blank.len() >= MAX_BLANK_BYTES {
            break first;
        }
        blank.extend_from_slice(buffered);
        let length = buffered.len();
        text.consume(length);
    };
    if blank.is_empty() {
        return Ok((first, text));
    }
    let whole: Text = Box::new(io::Cursor::new(blank).chain(text));
    Ok((first, BufReader::with_capacity(BUFFER_BYTES, whole)))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use std::sync::Arc;

    use crate::entry::Content;
    use crate::source::{Fetcher, Source};
    use crate::text::Input;

    async fn read(source: &Source, text: Text) -> Entries {
        let sitemaps = SitemapReader::new(Fetcher::new(), Arc::default());
        let input = Input::new(text, sitemaps.progress.clone());
        let source = OpenSource { source, input, fetched_from: None };
        Entries::read(source, Format::Auto, None, &sitemaps).await.unwrap()
    }

    #[tokio::test]
    async fn a_sitemap_is_recognised_by_extension_or_first_byte() {
        let is_sitemap = async |name: &str, text: &str| {
            let text: Text = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
            matches!(read(&Source::File(name.into()), text).await, Entries::Sitemaps(_))
        };
        assert!(is_sitemap("sitemap.xml.gz", "").await);
        assert!(is_sitemap("list", "\u{feff}\n <?xml version=\"1.0\"?>").await);
        assert!(!is_sitemap("list", "http://a.example/<x>").await);
        assert!(!is_sitemap("list.csv", "<a>,b").await);
    }

    #[tokio::test]
    async fn a_sitemap_is_recognised_after_a_blank_line_that_arrives_alone() {
        let (mut writer, reader) = tokio::io::duplex(1);
        tokio::spawn(async move {
            let text = "\u{feff}\n \n<urlset><url><loc>ftp://a.example/1</loc></url></urlset>";
            writer.write_all(text.as_bytes()).await.unwrap();
        });
        let entry = read(&Source::Stdin, Box::new(reader)).await.next().await.unwrap().unwrap();
        let Content::Invalid(reason) = &entry.content else { panic!("{entry:?}") };
        assert!(entry.line == 3 && reason.contains("`ftp`"), "{}: {reason}", entry.line);
    }
}
