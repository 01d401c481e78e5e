//! The entries of a source, whatever its format.

use std::io;

use super::list::{List, ListHints};
use super::sitemap::{PendingSitemap, SitemapReader, Sitemaps};
use super::workbook::Workbook;
use super::{Entry, Format};
use crate::source::{OpenSource, Source};
use crate::text::{
    ArrayElements, BUFFER_BYTES, Charset, Encoding, Input, Text, ZIP_MAGIC, begins_array, peek,
    why_not_a_list,
};
use fetchline_queue::begins_with_scheme;
use tokio::io::BufReader;

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

impl ReadOptions {
    /// Refuses a source that is no list, by its beginning. Whatever else is wrong with it is found
    /// when it is read.
    pub(crate) async fn check(&self, input: Input) -> io::Result<()> {
        let Ok(text) = input.into_text().await else { return Ok(()) };
        let Ok((prefix, text)) = peek(text).await else { return Ok(()) };
        self.check_beginning(&prefix)?;
        if self.is_workbook(&prefix) {
            Workbook::read(text, self.url_field.clone()).await?;
        }
        Ok(())
    }

    fn check_beginning(&self, prefix: &[u8]) -> io::Result<()> {
        if let Some(reason) = why_not_a_list(prefix, self.encoding) {
            return Err(io::Error::other(reason));
        }
        if prefix.starts_with(ZIP_MAGIC) && !self.is_workbook(prefix) {
            let reason = "it is a ZIP archive; unpack it, and give the files in it";
            return Err(io::Error::other(reason));
        }
        Ok(())
    }

    fn is_workbook(&self, prefix: &[u8]) -> bool {
        let is_archive = prefix.starts_with(ZIP_MAGIC);
        self.format == Format::Xlsx || self.format == Format::Auto && is_archive
    }
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
        options.check_beginning(&prefix)?;
        let is_workbook = options.is_workbook(&prefix);
        let ReadOptions { format, encoding, url_field } = options;
        if is_workbook {
            return Ok(Self::Workbook(Workbook::read(text, url_field).await?));
        }
        let charset = Charset::recognise(&prefix, encoding).map_err(io::Error::other)?;
        let extension = source.extension();
        let beginning = charset.decode_prefix(&prefix);
        let is_sitemap = match (format, extension.as_deref()) {
            (Format::Sitemap, _) | (Format::Auto, Some("xml")) => true,
            // No heading begins with `<`, and a URL only if it stands in brackets (RFC 3986, C).
            (Format::Auto, _) => beginning
                .trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
                .strip_prefix('<')
                .is_some_and(|rest| !begins_with_scheme(rest)),
            _ => false,
        };
        if is_sitemap {
            return Ok(Self::Sitemaps(sitemaps.read(source.to_string(), text, fetched_from)));
        }
        let is_live = *source == Source::Stdin;
        let is_array = matches!(format, Format::Auto | Format::Jsonl)
            && !matches!(extension.as_deref(), Some("jsonl" | "ndjson"))
            && begins_array(&beginning);
        let mut text = charset.decode(text);
        if is_array {
            let elements: Text = Box::new(ArrayElements::new(text));
            text = BufReader::with_capacity(BUFFER_BYTES, elements);
        }
        let hints = ListHints { format, extension, url_field, is_live, is_array };
        Ok(Self::List(Box::new(List::new(text, charset, hints))))
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

    use crate::entry::{Content, describe};
    use crate::source::{Fetcher, Source};

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
        assert!(!is_sitemap("list", "<https://a.example/1>\n<https://a.example/2>").await);
    }

    #[tokio::test]
    async fn a_json_array_is_a_list_of_its_elements() {
        let long =
            format!(r#"["https://a.example/{}","https://a.example/2"]"#, "x".repeat(2 << 20));
        for (array, contents) in [
            (
                r#"[ "https://a.example/1", {"url": "https://a.example/2?a,b]", "category":
                "Tea"}, 3, {"link": "x"}, "https://a.example/\u0034" ]"#,
                &[
                    "1 https://a.example/1",
                    "2 https://a.example/2?a,b] Tea",
                    "3 invalid: the entry is not a JSON object",
                    "4 invalid: the object has no field `url`",
                    "5 https://a.example/4",
                ][..],
            ),
            ("\n[\n]\n", &[]),
            ("[\"\", \"x y\"]", &["1 invalid: the URL", "2 invalid: the URL"]),
            (&long, &["1 invalid: the line has more than", "2 https://a.example/2"]),
        ] {
            let text: Text = Box::new(io::Cursor::new(array.as_bytes().to_vec()));
            let mut entries = read(&Source::File("list.json".into()), text).await;
            let mut found = Vec::new();
            while let Some(entry) = entries.next().await.unwrap() {
                found.push(format!("{} {}", entry.line, describe(entry.content)));
            }
            let is_expected = found.len() == contents.len()
                && found.iter().zip(contents).all(|(found, start)| found.starts_with(start));
            assert!(is_expected, "{found:?}");
        }
    }

    #[tokio::test]
    async fn what_stands_before_a_break_is_read() {
        let list = "https://a.example/1\nhttps://a.example/2\nhttps://a.example/3\n".as_bytes();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut packed, list).unwrap();
        let mut packed = packed.finish().unwrap();
        packed.truncate(packed.len() - 4);
        let array = br#"["https://a.example/1", "https://a.example/2", "https://a.example/3", "ht"#;
        for bytes in [packed, array.to_vec()] {
            let text: Text = Box::new(io::Cursor::new(bytes));
            let mut entries = read(&Source::Stdin, text).await;
            for number in 1..=3 {
                let entry = entries.next().await.unwrap().unwrap();
                let url = format!("https://a.example/{number}");
                assert_eq!((entry.line, describe(entry.content)), (number, url));
            }
            assert!(entries.next().await.is_err());
        }
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
