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
/// How often the content may be compressed.
const MAX_LAYERS: u32 = 3;

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

    /// Some servers compress what is compressed already, so there may be several layers.
    async fn decompressed(self) -> io::Result<Text> {
        let mut input: BufReader<Text> =
            BufReader::with_capacity(BUFFER_BYTES, Box::new(self.0) as Text);
        for _ in 0..MAX_LAYERS {
            // A first read returns fewer bytes than a magic number only at the end of the input,
            // or from a terminal.
            let start = input.fill_buf().await?;
            let layer: Text = if start.starts_with(&GZIP_MAGIC) {
                let mut decoder = GzipDecoder::new(input);
                decoder.multiple_members(true);
                Box::new(decoder)
            } else if start.starts_with(&ZSTD_MAGIC) {
                let mut decoder = ZstdDecoder::new(input);
                decoder.multiple_members(true);
                Box::new(decoder)
            } else {
                return Ok(Box::new(input));
            };
            input = BufReader::with_capacity(BUFFER_BYTES, layer);
        }
        Ok(Box::new(input))
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
