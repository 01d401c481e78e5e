//! XML text for a parser that holds each tag and each text whole: none of them is too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::Text;

/// The largest tag, comment or CDATA section, in bytes. No sitemap has a longer one.
pub(crate) const MAX_TAG_BYTES: usize = 1024 * 1024;
/// The bytes of a text between tags that are passed on. It is above the limit of a URL, so that a
/// cut text is still recognised as too long.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// A tag, comment or CDATA section has more than [`MAX_TAG_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("not a sitemap: a tag, a comment or a CDATA section has more than {MAX_TAG_BYTES} bytes")]
pub(crate) struct TooLong;

impl TooLong {
    /// Whether `error` is this one.
    pub(crate) fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Cuts a text between tags that is too long. Anything else that is too long is an error.
pub(crate) struct BoundedText {
    input: BufReader<Text>,
    /// The number of the current line, from 1.
    line: u64,
    /// Bytes that may still be read before the next event.
    remaining: usize,
    /// Bytes since the last `<` or `>`.
    run: usize,
    /// Whether the last of these was a `>`: then text follows.
    is_text: bool,
    /// Whether a part of the current event was cut.
    is_cut: bool,
}

impl BoundedText {
    pub(crate) fn new(input: BufReader<Text>) -> Self {
        Self { input, line: 1, remaining: MAX_TAG_BYTES, run: 0, is_text: true, is_cut: false }
    }

    /// Starts an event and returns the number of its first line.
    pub(crate) fn start_event(&mut self) -> u64 {
        (self.remaining, self.is_cut) = (MAX_TAG_BYTES, false);
        self.line
    }

    /// Whether a part of the current event was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Drops the buffered bytes of an overlong text; `false` if the text is short enough or ends
    /// here.
    fn cut(&mut self) -> bool {
        let buffered = self.input.buffer();
        let length = buffered.iter().position(|byte| is_bracket(*byte)).unwrap_or(buffered.len());
        if !self.is_text || self.run < MAX_TEXT_BYTES || length == 0 {
            return false;
        }
        self.line += count_line_ends(&buffered[..length]);
        self.is_cut = true;
        Pin::new(&mut self.input).consume(length);
        true
    }
}

impl AsyncRead for BoundedText {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let buffered = ready!(self.as_mut().poll_fill_buf(context))?;
        let length = buffered.len().min(buffer.remaining());
        buffer.put_slice(&buffered[..length]);
        self.as_mut().consume(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for BoundedText {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.remaining == 0 {
            return Poll::Ready(Err(io::Error::other(TooLong)));
        }
        loop {
            ready!(Pin::new(&mut this.input).poll_fill_buf(context))?;
            // A cut inside a character would leave invalid UTF-8, so its last bytes are passed on.
            let rest_of_character = this
                .input
                .buffer()
                .iter()
                .take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000)
                .count();
            if rest_of_character > 0 && this.run >= MAX_TEXT_BYTES && !this.is_cut {
                return Poll::Ready(Ok(&this.input.buffer()[..rest_of_character]));
            }
            if !this.cut() {
                return Poll::Ready(Ok(this.input.buffer()));
            }
        }
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        let consumed = &this.input.buffer()[..bytes];
        this.line += count_line_ends(consumed);
        match consumed.iter().rposition(|byte| is_bracket(*byte)) {
            Some(bracket) => {
                (this.run, this.is_text) = (bytes - bracket - 1, consumed[bracket] == b'>');
            }
            None => this.run += bytes,
        }
        this.remaining = this.remaining.saturating_sub(bytes);
        Pin::new(&mut this.input).consume(bytes);
    }
}

fn is_bracket(byte: u8) -> bool {
    matches!(byte, b'<' | b'>')
}

fn count_line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
