//! Lines of bounded length, whichever way they end.

use std::io;

use memchr::memchr2;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::Text;

/// How a line ends. Spreadsheets of old Macs write CR alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnd {
    Lf,
    CrLf,
    Cr,
    /// The input ends.
    Missing,
}

impl LineEnd {
    /// The bytes of the end. A quoted cell that spans lines holds them.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
            Self::Missing => "",
        }
    }
}

/// A line of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The bytes of the line without its end, and the end.
    Whole(Vec<u8>, LineEnd),
    /// The line was longer than the limit and was skipped.
    TooLong,
}

/// Reads lines. `next` is cancel-safe.
pub(crate) struct Lines {
    input: BufReader<Text>,
    max_bytes: usize,
    /// The bytes of the current line.
    line: Vec<u8>,
    is_too_long: bool,
    /// Whether the last byte was a CR. An LF may follow, perhaps only in the next read.
    is_after_cr: bool,
    number: u64,
}

impl Lines {
    /// A line of more than `max_bytes` is skipped without being held.
    pub(crate) fn new(input: BufReader<Text>, max_bytes: usize) -> Self {
        let line = Vec::new();
        Self { input, max_bytes, line, is_too_long: false, is_after_cr: false, number: 0 }
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The number of the last line that `next` returned, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` at the end. The last line needs no line end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = self.input.fill_buf().await?;
            if self.is_after_cr {
                let is_pair = buffer.first() == Some(&b'\n');
                self.input.consume(usize::from(is_pair));
                return Ok(Some(self.end(if is_pair { LineEnd::CrLf } else { LineEnd::Cr })));
            }
            if buffer.is_empty() {
                let is_end = self.line.is_empty() && !self.is_too_long;
                return Ok((!is_end).then(|| self.end(LineEnd::Missing)));
            }
            let length = memchr2(b'\n', b'\r', buffer);
            let line_end = length.map(|length| buffer[length]);
            let chunk = &buffer[..length.unwrap_or(buffer.len())];
            if self.line.len() + chunk.len() > self.max_bytes {
                self.is_too_long = true;
                self.line.clear();
            }
            if !self.is_too_long {
                self.line.extend_from_slice(chunk);
            }
            let consumed = chunk.len() + usize::from(line_end.is_some());
            self.input.consume(consumed);
            self.is_after_cr = line_end == Some(b'\r');
            if line_end == Some(b'\n') {
                return Ok(Some(self.end(LineEnd::Lf)));
            }
        }
    }

    fn end(&mut self, end: LineEnd) -> Line {
        self.is_after_cr = false;
        self.number += 1;
        let line = std::mem::take(&mut self.line);
        match std::mem::take(&mut self.is_too_long) {
            true => Line::TooLong,
            false => Line::Whole(line, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 1000;

    /// Reads lines through a buffer of this many bytes.
    async fn lines(text: &[u8], capacity: usize) -> Vec<Line> {
        let input: Text = Box::new(io::Cursor::new(text.to_vec()));
        let mut lines = Lines::new(BufReader::with_capacity(capacity, input), MAX_BYTES);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        assert_eq!(lines.number(), all.len() as u64);
        all
    }

    fn whole(text: &str, end: LineEnd) -> Line {
        Line::Whole(text.as_bytes().to_vec(), end)
    }

    #[tokio::test]
    async fn every_line_end_is_recognised_wherever_a_read_ends() {
        use LineEnd::{Cr, CrLf, Lf, Missing};
        for capacity in 1..8 {
            assert_eq!(
                lines(b"a\n\nb\r\nc\rd\r\r\ne", capacity).await,
                [
                    whole("a", Lf),
                    whole("", Lf),
                    whole("b", CrLf),
                    whole("c", Cr),
                    whole("d", Cr),
                    whole("", CrLf),
                    whole("e", Missing)
                ]
            );
            assert_eq!(lines(b"a\r", capacity).await, [whole("a", Cr)]);
            assert_eq!(lines(b"", capacity).await, []);
        }
    }

    #[tokio::test]
    async fn an_overlong_line_is_skipped_and_affects_no_other_line() {
        let text = format!("a\n{}\rb\n{}", "x".repeat(1_000_000), "y".repeat(MAX_BYTES + 1));
        assert_eq!(
            lines(text.as_bytes(), 4096).await,
            [whole("a", LineEnd::Lf), Line::TooLong, whole("b", LineEnd::Lf), Line::TooLong]
        );
    }
}
