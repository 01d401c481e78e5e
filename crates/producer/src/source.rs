//! Where URLs come from: files, standard input, and what is fetched; compressed or not.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use fetchline_queue::Address;
use reqwest::Url;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};

use crate::progress::Progress;
use crate::remote::{NamedBy, Remote};

/// What is read at once.
pub(crate) const BUFFER: usize = 256 * 1024;
/// What compressed data begin with (RFC 1952, RFC 8878).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where URLs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// What an address leads to.
    Url(Address),
}

/// The text of a source.
pub(crate) type Text = Box<dyn AsyncRead + Send + Unpin>;

impl Source {
    /// How many bytes there are to read; `None` where that is not known beforehand.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::File(path) => std::fs::metadata(path).ok().filter(|file| file.is_file()).map(|file| file.len()),
            Self::Stdin | Self::Url(_) => None,
        }
    }

    /// The end of its name that tells what is in it: that of `urls.csv.gz` is `csv`.
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

    /// Opens the source; for one that is fetched, also where it was found in the end. What was read of it is counted as it
    /// is, compressed.
    pub(crate) async fn open(&self, remote: &Remote, progress: Arc<Progress>) -> io::Result<(Raw, Option<Url>)> {
        let (input, fetched_from): (Text, _) = match self {
            Self::File(path) => (Box::new(tokio::fs::File::open(path).await?), None),
            Self::Stdin => (Box::new(tokio::io::stdin()), None),
            Self::Url(address) => {
                let (text, url) = remote.get(address, NamedBy::User).await?;
                (text, Some(url))
            }
        };
        Ok((Raw::new(input, progress), fetched_from))
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

/// A source that is open, and of which nothing was read yet: somebody may not have typed the first line.
pub(crate) struct Raw(BufReader<Counted>);

impl Raw {
    /// What is read of it is counted.
    pub(crate) fn new(input: Text, progress: Arc<Progress>) -> Self {
        Self(BufReader::with_capacity(BUFFER, Counted { input, progress }))
    }

    /// Its text: data that begin as gzip or zstd does are decompressed.
    pub(crate) async fn text(self) -> io::Result<BufReader<Text>> {
        Ok(BufReader::with_capacity(BUFFER, self.decompressed().await?))
    }

    async fn decompressed(mut self) -> io::Result<Text> {
        // No reader gives less than this at first, but for one that has no more, or a person at a keyboard.
        let begin = self.0.fill_buf().await?;
        if begin.starts_with(&GZIP) {
            let mut decoder = GzipDecoder::new(self.0);
            decoder.multiple_members(true);
            return Ok(Box::new(decoder));
        }
        if begin.starts_with(&ZSTD) {
            let mut decoder = ZstdDecoder::new(self.0);
            decoder.multiple_members(true);
            return Ok(Box::new(decoder));
        }
        Ok(Box::new(self.0))
    }
}

/// Counts what was read.
struct Counted {
    input: Text,
    progress: Arc<Progress>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.input).poll_read(context, buffer))?;
        self.progress.read.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_files_name_tells_what_is_in_it() {
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
