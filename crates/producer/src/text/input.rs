//! The bytes of an open source.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};

use super::{BUFFER_BYTES, Text};
use crate::progress::Progress;

/// The first bytes of compressed data (RFC 1952, RFC 8878).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A source that is open but not read yet: at a terminal, the first line may still be missing.
pub(crate) struct Input(BufReader<CountedText>);

impl Input {
    /// Adds the bytes that are read to `progress`, before decompression.
    pub(crate) fn new(text: Text, progress: Arc<Progress>) -> Self {
        Self(BufReader::with_capacity(BUFFER_BYTES, CountedText { text, progress }))
    }

    /// Reads the first bytes, and decompresses the input if they are those of gzip or zstd.
    pub(crate) async fn into_text(self) -> io::Result<BufReader<Text>> {
        Ok(BufReader::with_capacity(BUFFER_BYTES, self.decompressed().await?))
    }

    async fn decompressed(mut self) -> io::Result<Text> {
        // A first read returns fewer bytes than a magic number only at the end of the input, or
        // from a terminal.
        let start = self.0.fill_buf().await?;
        if start.starts_with(&GZIP_MAGIC) {
            let mut decoder = GzipDecoder::new(self.0);
            decoder.multiple_members(true);
            return Ok(Box::new(decoder));
        }
        if start.starts_with(&ZSTD_MAGIC) {
            let mut decoder = ZstdDecoder::new(self.0);
            decoder.multiple_members(true);
            return Ok(Box::new(decoder));
        }
        Ok(Box::new(self.0))
    }
}

/// Counts the bytes that are read.
struct CountedText {
    text: Text,
    progress: Arc<Progress>,
}

impl AsyncRead for CountedText {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.text).poll_read(context, buffer))?;
        self.progress.read.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
