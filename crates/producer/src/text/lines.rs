//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::Text;

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The bytes of the line.
    Whole(Vec<u8>),
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
    number: u64,
}

impl Lines {
    /// A line of more than `max_bytes` is skipped without being held.
    pub(crate) fn new(input: BufReader<Text>, max_bytes: usize) -> Self {
        Self { input, max_bytes, line: Vec::new(), is_too_long: false, number: 0 }
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
            let is_end_of_input = buffer.is_empty();
            let line_end = buffer.iter().position(|&byte| byte == b'\n');
            let chunk = &buffer[..line_end.unwrap_or(buffer.len())];
            if self.line.len() + chunk.len() > self.max_bytes {
                self.is_too_long = true;
                self.line.clear();
            }
            if !self.is_too_long {
                self.line.extend_from_slice(chunk);
            }
            let consumed = chunk.len() + usize::from(line_end.is_some());
            self.input.consume(consumed);
            if line_end.is_none() && !is_end_of_input {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let is_too_long = std::mem::take(&mut self.is_too_long);
            if is_end_of_input && line.is_empty() && !is_too_long {
                return Ok(None);
            }
            self.number += 1;
            return Ok(Some(if is_too_long { Line::TooLong } else { Line::Whole(line) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 1000;

    async fn lines(text: &[u8]) -> Vec<Line> {
        let input: Text = Box::new(io::Cursor::new(text.to_vec()));
        let mut lines = Lines::new(BufReader::new(input), MAX_BYTES);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        assert_eq!(lines.number(), all.len() as u64);
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn every_line_is_read_including_a_last_one_without_line_end() {
        assert_eq!(lines(b"a\n\nb\r\nc").await, [whole("a"), whole(""), whole("b\r"), whole("c")]);
        assert_eq!(lines(b"").await, []);
    }

    #[tokio::test]
    async fn an_overlong_line_is_skipped_and_affects_no_other_line() {
        let text = format!("a\n{}\nb\n{}", "x".repeat(1_000_000), "y".repeat(MAX_BYTES + 1));
        assert_eq!(
            lines(text.as_bytes()).await,
            [whole("a"), Line::TooLong, whole("b"), Line::TooLong]
        );
    }
}
