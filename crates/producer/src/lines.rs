//! Lines of text, whatever their length.

use std::io;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::source::Text;

/// A line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes.
    Whole(Vec<u8>),
    /// It was longer than anything that would be accepted, and was skipped.
    TooLong,
}

/// Reads lines; the reading may be interrupted at any await and taken up again.
pub(crate) struct Lines {
    input: BufReader<Text>,
    /// A line above this is skipped without being held.
    longest: usize,
    line: Vec<u8>,
    too_long: bool,
    /// Lines read so far.
    pub(crate) number: u64,
}

impl Lines {
    pub(crate) fn new(input: BufReader<Text>, longest: usize) -> Self {
        Self { input, longest, line: Vec::new(), too_long: false, number: 0 }
    }

    /// The next line; `None` at the end. A last line needs no end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = self.input.fill_buf().await?;
            let end_of_input = buffer.is_empty();
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            if self.line.len() + part.len() > self.longest {
                self.too_long = true;
                self.line.clear();
            }
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_none() && !end_of_input {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let too_long = std::mem::take(&mut self.too_long);
            if end_of_input && line.is_empty() && !too_long {
                return Ok(None);
            }
            self.number += 1;
            return Ok(Some(if too_long { Line::TooLong } else { Line::Whole(line) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 1000;

    async fn lines(text: &[u8]) -> Vec<Line> {
        let input: Text = Box::new(io::Cursor::new(text.to_vec()));
        let mut lines = Lines::new(BufReader::new(input), LONGEST);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        assert_eq!(lines.number, all.len() as u64);
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn every_line_is_read_also_one_without_an_end() {
        assert_eq!(lines(b"a\n\nb\r\nc").await, [whole("a"), whole(""), whole("b\r"), whole("c")]);
        assert_eq!(lines(b"").await, []);
    }

    #[tokio::test]
    async fn a_line_without_end_is_skipped_and_costs_no_other_line() {
        let text = format!("a\n{}\nb\n{}", "x".repeat(1_000_000), "y".repeat(LONGEST + 1));
        assert_eq!(lines(text.as_bytes()).await, [whole("a"), Line::TooLong, whole("b"), Line::TooLong]);
    }
}
