//! Where URLs are read from: files, standard input, and fetched lists.

mod reread_file;
mod site;
mod spool;
mod fetcher;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fetchline_queue::Address;
use reqwest::Url;
use tokio::fs::File;

use self::reread_file::RereadFile;
pub(crate) use fetcher::{FetchError, Fetched, Fetcher, MAX_SITEMAP_BYTES, NamedBy};
pub(crate) use site::is_same_site;
pub(crate) use spool::{Limited, TooLarge};

use crate::progress::Progress;
use crate::text::{Input, Text};

/// A list of URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A list that is fetched over HTTP.
    Url(Address),
}

/// A source that is open but not read yet.
pub(crate) struct OpenSource<'a> {
    pub(crate) source: &'a Source,
    pub(crate) input: Input,
    /// The URL after redirects; `None` if the source is not fetched.
    pub(crate) fetched_from: Option<Url>,
}

impl Source {
    /// The size in bytes, as stored; `None` if it is not known beforehand.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::File(path) => {
                std::fs::metadata(path).ok().filter(|file| file.is_file()).map(|file| file.len())
            }
            Self::Stdin | Self::Url(_) => None,
        }
    }

    /// The lower-case extension of the decompressed content: `csv` for `urls.csv.gz`.
    pub(crate) fn extension(&self) -> Option<String> {
        let path = match self {
            Self::File(path) => path,
            Self::Stdin => return None,
            Self::Url(address) => Path::new(address.as_url().path()),
        };
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        Path::new(name).extension()?.to_str().map(str::to_owned)
    }

    /// Whether the source can be read only once: standard input, or a pipe with a name.
    pub(crate) fn is_read_once(&self) -> bool {
        match self {
            Self::File(path) => std::fs::metadata(path).is_ok_and(|file| !file.is_file()),
            Self::Stdin => true,
            Self::Url(_) => false,
        }
    }

    /// Opens the source, and fetches all of it if it is a URL. What can be read twice is first
    /// passed to `check`, which looks at its beginning.
    pub(crate) async fn open(
        &self,
        fetcher: &Fetcher,
        progress: Arc<Progress>,
        check: impl AsyncFnOnce(Input) -> io::Result<()>,
    ) -> io::Result<OpenSource<'_>> {
        let unread = |text| Input::new(text, Arc::default());
        let (text, fetched_from): (Text, _) = match self {
            Self::File(path) => {
                let file = File::open(path).await?;
                if self.is_read_once() {
                    (Box::new(file), None)
                } else {
                    let file = RereadFile::new(file);
                    check(unread(file.text().await?)).await?;
                    (file.text().await?, None)
                }
            }
            Self::Stdin => (Box::new(tokio::io::stdin()), None),
            Self::Url(address) => {
                let fetched = fetcher.get(address, NamedBy::User).await;
                let fetched = fetched.map_err(|error| error.cause)?;
                check(unread(fetched.text().await?)).await?;
                (fetched.text().await?, Some(fetched.url))
            }
        };
        Ok(OpenSource { source: self, input: Input::new(text, progress), fetched_from })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("<stdin>"),
            Self::Url(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::FutureExt;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};

    use super::*;

    #[tokio::test]
    async fn a_read_that_the_check_leaves_behind_loses_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"https://a.example/1\n").unwrap();
        let source = Source::File(file.path().to_owned());
        let fetcher = Fetcher::new();
        for _ in 0..100 {
            let check = async |input: Input| {
                let mut text = input.into_text().await?;
                let read = text.fill_buf().await?.len();
                text.consume(read);
                _ = text.fill_buf().now_or_never();
                Ok(())
            };
            let open = source.open(&fetcher, Arc::default(), check).await.unwrap();
            let mut text = String::new();
            open.input.into_text().await.unwrap().read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "https://a.example/1\n");
        }
    }

    #[test]
    fn the_extension_of_a_compressed_file_is_that_of_its_content() {
        for (name, extension) in [
            ("a/urls.csv.gz", Some("csv")),
            ("URLS.JSONL.ZST", Some("jsonl")),
            ("urls", None),
            ("urls.txt", Some("txt")),
        ] {
            assert_eq!(Source::File(name.into()).extension().as_deref(), extension, "{name}");
        }
        assert_eq!(Source::Stdin.extension(), None);
    }
}
