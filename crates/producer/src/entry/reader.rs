//! The entries of a source, whatever its format.

use std::io;

use super::list::{List, ListHints};
use super::sitemap::{PendingSitemap, SitemapReader, Sitemaps};
use super::workbook::Workbook;
use super::{Entry, Format};
use crate::source::{OpenSource, Source};
use crate::text::{Charset, Encoding, ZIP_MAGIC, peek, why_not_a_list};

/// How the sources are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadOptions {
    pub(crate) format: Format,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) url_field: Option<String>,
}

/// Reads the entries of a source. `next` is cancel-safe.
pub(crate) enum Entries {
    List(Box<List>),
    Sitemaps(Sitemaps),
    Workbook(Workbook),
}

impl Entries {
    /// Starts reading a source. It waits for the first bytes, which show what the source is.
    pub(crate) async fn read(
        source: OpenSource<'_>,
        options: ReadOptions,
        sitemaps: &SitemapReader,
    ) -> io::Result<Self> {
        let OpenSource { source, input, fetched_from } = source;
        let (prefix, text) = peek(input.into_text().await?).await?;
        let ReadOptions { format, encoding, url_field } = options;
        if let Some(reason) = why_not_a_list(&prefix, encoding) {
            return Err(io::Error::other(reason));
        }
        let is_archive = prefix.starts_with(ZIP_MAGIC);
        if format == Format::Xlsx || format == Format::Auto && is_archive {
            return Ok(Self::Workbook(Workbook::read(text, url_field).await?));
        }
        if is_archive {
            return Err(io::Error::other(
                "it is a ZIP archive; unpack it, and give the files in it",
            ));
        }
        let charset = Charset::recognise(&prefix, encoding).map_err(io::Error::other)?;
        let extension = source.extension();
        let is_sitemap = match (format, extension.as_deref()) {
            (Format::Sitemap, _) | (Format::Auto, Some("xml")) => true,
            // No URL and no heading begins with `<`.
            (Format::Auto, _) => charset
                .decode_prefix(&prefix)
                .trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
                .starts_with('<'),
            _ => false,
        };
        if is_sitemap {
            return Ok(Self::Sitemaps(sitemaps.read(source.to_string(), text, fetched_from)));
        }
        let is_live = *source == Source::Stdin;
        let hints = ListHints { format, extension, url_field, is_live };
        Ok(Self::List(Box::new(List::new(charset.decode(text), charset, hints))))
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
            Self::Workbook(workbook) => workbook.next().await,
        }
    }

    /// The row of headings above the last entry, as it was given; `None` if there is none.
    pub(crate) fn headings(&self) -> Option<&str> {
        match self {
            Self::List(list) => list.headings(),
            Self::Workbook(workbook) => workbook.headings(),
            Self::Sitemaps(_) => None,
        }
    }

    /// How many lines the last entry spans.
    pub(crate) fn span(&self) -> u64 {
        match self {
            Self::List(list) => list.span(),
            Self::Sitemaps(_) | Self::Workbook(_) => 1,
        }
    }

    /// What was recognised since the last call, for people.
    pub(crate) fn take_notice(&mut self) -> Option<String> {
        match self {
            Self::List(list) => list.take_notice(),
            Self::Workbook(workbook) => workbook.take_notice(),
            Self::Sitemaps(sitemaps) => sitemaps.take_notice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use std::sync::Arc;

    use crate::entry::Content;
    use crate::source::{Fetcher, Source};
    use crate::text::{Input, Text};

    async fn read(source: &Source, text: Text) -> Entries {
        let sitemaps = SitemapReader::new(Fetcher::new(), Arc::default());
        let input = Input::new(text, sitemaps.progress.clone());
        let source = OpenSource { source, input, fetched_from: None };
        Entries::read(source, ReadOptions::default(), &sitemaps).await.unwrap()
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
        assert!(is_sitemap("list.csv", "<urlset/>").await);
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
