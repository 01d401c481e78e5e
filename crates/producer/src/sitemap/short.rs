//! Text for a parser that holds each tag and each text whole: none of them is longer here than can be held.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use crate::source::Text;

/// The most bytes of one tag, comment or CDATA section: what is longer is no sitemap.
pub(super) const LONGEST: usize = 1024 * 1024;
/// What is handed on of a text between tags. It is longer than any URL, so that it is still known as too long.
const LONGEST_TEXT: usize = 64 * 1024;

/// A tag, comment or CDATA section has more than [`LONGEST`] bytes.
#[derive(Debug, thiserror::Error)]
#[error("no sitemap: a tag, a comment or a CDATA section has more than {LONGEST} bytes")]
pub(super) struct TooLong;

impl TooLong {
    /// Whether this is the error.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Leaves out the rest of a text between tags that is too long, and ends with an error in anything else that is.
pub(super) struct Short {
    input: BufReader<Text>,
    /// The line that was reached.
    line: u64,
    /// Bytes that may still be read before the next event.
    left: usize,
    /// Bytes since the last `<` or `>`, and whether that was a `>`: then they are text.
    run: usize,
    is_text: bool,
    /// Whether something was left out since the event began.
    is_cut: bool,
}

impl Short {
    pub(super) fn new(input: BufReader<Text>) -> Self {
        Self { input, line: 1, left: LONGEST, run: 0, is_text: true, is_cut: false }
    }

    /// Begins an event; the line that it stands in.
    pub(super) fn begin(&mut self) -> u64 {
        (self.left, self.is_cut) = (LONGEST, false);
        self.line
    }

    /// Whether a part of the event was left out.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Leaves out what is held of a text that is too long; `false` where it is not, or ends here.
    fn leave_out(&mut self) -> bool {
        let held = self.input.buffer();
        let length = held.iter().position(|byte| is_mark(*byte)).unwrap_or(held.len());
        if !self.is_text || self.run < LONGEST_TEXT || length == 0 {
            return false;
        }
        self.line += lines(&held[..length]);
        self.is_cut = true;
        Pin::new(&mut self.input).consume(length);
        true
    }
}

impl AsyncRead for Short {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let held = ready!(self.as_mut().poll_fill_buf(context))?;
        let length = held.len().min(buffer.remaining());
        buffer.put_slice(&held[..length]);
        self.as_mut().consume(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Short {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::other(TooLong)));
        }
        loop {
            ready!(Pin::new(&mut this.input).poll_fill_buf(context))?;
            // No character is cut where the text is: half of one is no text.
            let rest = this.input.buffer().iter().take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
            if rest > 0 && this.run >= LONGEST_TEXT && !this.is_cut {
                return Poll::Ready(Ok(&this.input.buffer()[..rest]));
            }
            if !this.leave_out() {
                return Poll::Ready(Ok(this.input.buffer()));
            }
        }
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        let read = &this.input.buffer()[..bytes];
        this.line += lines(read);
        match read.iter().rposition(|byte| is_mark(*byte)) {
            Some(mark) => (this.run, this.is_text) = (bytes - mark - 1, read[mark] == b'>'),
            None => this.run += bytes,
        }
        this.left = this.left.saturating_sub(bytes);
        Pin::new(&mut this.input).consume(bytes);
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'<' | b'>')
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
