//! A fetched list on disk, so that a server is never kept waiting while tasks are published.
//!
//! The file has no name: it vanishes with the process, whatever ends it.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWriteExt, BufWriter, ReadBuf};

use super::reread_file::RereadFile;
use crate::text::{BUFFER_BYTES, Text};

/// A list has more bytes than are read.
#[derive(Debug)]
pub(crate) struct TooLarge(u64);

impl TooLarge {
    /// Whether `error` is this one.
    pub(crate) fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it has more than {} MiB, and is not read further", self.0 >> 20)
    }
}

impl Error for TooLarge {}

/// Bytes that have arrived so far.
pub(super) struct Spool {
    file: BufWriter<File>,
    length: u64,
    max_bytes: u64,
}

impl Spool {
    /// `max_bytes` bounds the file.
    pub(super) fn new(max_bytes: u64) -> io::Result<Self> {
        let file = tempfile::tempfile().map_err(explain)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::from_std(file));
        Ok(Self { file, length: 0, max_bytes })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        if self.length > self.max_bytes {
            return Err(io::Error::other(TooLarge(self.max_bytes)));
        }
        self.file.write_all(bytes).await.map_err(explain)
    }

    /// Empties the file.
    pub(super) async fn clear(&mut self) -> io::Result<()> {
        self.file.flush().await.map_err(explain)?;
        self.file.rewind().await.map_err(explain)?;
        self.file.get_mut().set_len(0).await.map_err(explain)?;
        self.length = 0;
        Ok(())
    }

    /// Nothing follows.
    pub(super) async fn finish(mut self) -> io::Result<SpooledFile> {
        self.file.flush().await.map_err(explain)?;
        Ok(SpooledFile(RereadFile::new(self.file.into_inner())))
    }
}

/// A whole list.
pub(super) struct SpooledFile(RereadFile);

impl SpooledFile {
    /// The list from its beginning. Earlier texts must not be read further.
    pub(super) async fn text(&self) -> io::Result<Text> {
        self.0.text().await.map_err(explain)
    }
}

/// An error of the file, not of the list.
fn explain(error: io::Error) -> io::Error {
    let directory = std::env::temp_dir();
    let text = format!(
        "the list cannot be stored in {}: {error}; make room there, or set TMPDIR",
        directory.display()
    );
    io::Error::new(error.kind(), text)
}

/// Text of bounded length: what a stranger compresses may grow without end.
pub(crate) struct Limited {
    text: Text,
    remaining: u64,
    max_bytes: u64,
}

impl Limited {
    pub(crate) fn new(text: Text, max_bytes: u64) -> Self {
        Self { text, remaining: max_bytes, max_bytes }
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.text).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        match this.remaining.checked_sub(read) {
            Some(remaining) => this.remaining = remaining,
            None => {
                buffer.set_filled(before);
                return Poll::Ready(Err(io::Error::other(TooLarge(this.max_bytes))));
            }
        }
        Poll::Ready(Ok(()))
    }
}
