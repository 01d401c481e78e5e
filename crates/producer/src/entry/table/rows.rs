//! From lines to rows (RFC 4180). A quoted cell may hold delimiters and line ends.

use std::collections::VecDeque;

use fetchline_queue::MAX_MESSAGE_BYTES;

use super::super::line::ListLine;

/// The lines of one row, at most. Otherwise a quote that is never closed would take the rest of the
/// file.
pub(in super::super) const MAX_LINES_PER_ROW: usize = 1000;

/// A cell without its quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) is_quoted: bool,
}

/// A whole row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// The lines of the row: one, unless a cell holds line ends.
    pub(super) lines: Vec<ListLine>,
}

impl Row {
    /// The number of the first line.
    pub(super) fn number(&self) -> u64 {
        self.lines[0].number
    }

    /// The guess that the text depends on.
    pub(super) fn guess(&self) -> Option<&'static encoding_rs::Encoding> {
        self.lines.iter().find_map(|line| line.guess)
    }

    /// The row as it was given, without its last line end.
    pub(super) fn into_raw(self) -> Vec<u8> {
        let mut raw = Vec::new();
        let mut end = "";
        for line in self.lines {
            raw.extend_from_slice(end.as_bytes());
            end = line.end.as_str();
            raw.extend(line.into_raw());
        }
        raw
    }

    pub(super) fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.text.trim().is_empty())
    }
}

/// What lines turn out to be.
#[derive(Debug)]
pub(super) enum Parsed {
    Row(Row),
    /// A line whose quotes do not fit together. Only this line is lost.
    Invalid(ListLine, &'static str),
}

/// Turns lines into rows.
pub(super) struct Rows {
    /// Lines that are not part of a row yet.
    lines: VecDeque<ListLine>,
    /// How many of them `parser` has read.
    read: usize,
    /// Their bytes.
    bytes: usize,
    parser: RowParser,
}

impl Rows {
    /// Without a delimiter a row has one cell.
    pub(super) fn new(delimiter: Option<char>) -> Self {
        Self { lines: VecDeque::new(), read: 0, bytes: 0, parser: RowParser::new(delimiter) }
    }

    pub(super) fn delimiter(&self) -> Option<char> {
        self.parser.delimiter
    }

    /// Another table begins with the next row.
    pub(super) fn set_delimiter(&mut self, delimiter: Option<char>) {
        self.parser = RowParser::new(delimiter);
        (self.read, self.bytes) = (0, 0);
    }

    pub(super) fn push(&mut self, line: ListLine) {
        self.lines.push_back(line);
    }

    /// Gives lines back, to be read again.
    pub(super) fn unread(&mut self, lines: Vec<ListLine>) {
        lines.into_iter().rev().for_each(|line| self.lines.push_front(line));
        self.set_delimiter(self.delimiter());
    }

    /// The next row, if the lines so far hold a whole one.
    pub(super) fn next(&mut self) -> Option<Parsed> {
        while let Some(line) = self.lines.get(self.read) {
            if self.read > 0 {
                self.parser.push_line_end(self.lines[self.read - 1].end.as_str());
            }
            self.bytes += line.text.len();
            match self.parser.read(&line.text) {
                Progress::Whole(cells) => {
                    let lines = self.lines.drain(..=self.read).collect();
                    (self.read, self.bytes) = (0, 0);
                    return Some(Parsed::Row(Row { cells, lines }));
                }
                Progress::Torn if self.read == 0 => {
                    return self.reject_first_line("text follows a closing quote");
                }
                // This quote opens a cell: the one before it was never closed.
                Progress::Torn => return self.reject_first_line(NEVER_CLOSED),
                Progress::Open => self.read += 1,
            }
            if self.read >= MAX_LINES_PER_ROW || self.bytes > MAX_MESSAGE_BYTES {
                return self.reject_first_line(CLOSED_LATE);
            }
        }
        None
    }

    /// The next row after the last line. Call `next` again before this is called again.
    pub(super) fn finish(&mut self) -> Option<Parsed> {
        self.reject_first_line(NEVER_CLOSED)
    }

    /// The lines after it are read again. Many programs that write tabs quote nothing, so that a
    /// quote is a part of its cell.
    fn reject_first_line(&mut self, reason: &'static str) -> Option<Parsed> {
        let line = self.lines.pop_front()?;
        self.set_delimiter(self.delimiter());
        if self.delimiter() != Some('\t') {
            return Some(Parsed::Invalid(line, reason));
        }
        let cell = |text: &str| Cell { text: text.to_owned(), is_quoted: false };
        let cells = line.text.split('\t').map(cell).collect();
        Some(Parsed::Row(Row { cells, lines: vec![line] }))
    }
}

const NEVER_CLOSED: &str =
    "a quote is opened and never closed; double a quote inside a quoted cell";

const CLOSED_LATE: &str = "a quote is opened and not closed within the 1000 lines and 1 MiB that a \
                           row may take; double a quote inside a quoted cell";

/// The cells of a line alone; `None` if its quotes do not fit together.
pub(super) fn cells_of(line: &str, delimiter: Option<char>) -> Option<Vec<Cell>> {
    match RowParser::new(delimiter).read(line) {
        Progress::Whole(cells) => Some(cells),
        Progress::Open | Progress::Torn => None,
    }
}

/// Reads the cells of one row, line by line.
struct RowParser {
    delimiter: Option<char>,
    cells: Vec<Cell>,
    cell: Cell,
    place: Place,
}

/// Where the parser is in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first character that is not a space.
    Start,
    Bare,
    Quoted,
    /// After the closing quote.
    Closed,
}

enum Progress {
    Whole(Vec<Cell>),
    /// A quote is open at the end of the line.
    Open,
    /// Text follows a closing quote.
    Torn,
}

impl RowParser {
    fn new(delimiter: Option<char>) -> Self {
        Self { delimiter, cells: Vec::new(), cell: Cell::default(), place: Place::Start }
    }

    /// Adds the line end inside a quoted cell.
    fn push_line_end(&mut self, end: &str) {
        self.cell.text.push_str(end);
    }

    fn read(&mut self, line: &str) -> Progress {
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            if self.place != Place::Quoted && Some(character) == self.delimiter {
                self.end_cell();
                continue;
            }
            match (self.place, character) {
                (Place::Start, '"') => {
                    self.cell = Cell { text: String::new(), is_quoted: true };
                    self.place = Place::Quoted;
                }
                (Place::Start, ' ') | (Place::Bare, _) => self.cell.text.push(character),
                (Place::Start, _) => {
                    self.cell.text.push(character);
                    self.place = Place::Bare;
                }
                (Place::Quoted, '"') if characters.next_if_eq(&'"').is_none() => {
                    self.place = Place::Closed;
                }
                (Place::Quoted, _) => self.cell.text.push(character),
                (Place::Closed, ' ') => {}
                (Place::Closed, _) => return Progress::Torn,
            }
        }
        if self.place == Place::Quoted {
            return Progress::Open;
        }
        self.end_cell();
        Progress::Whole(std::mem::take(&mut self.cells))
    }

    fn end_cell(&mut self) {
        self.cells.push(std::mem::take(&mut self.cell));
        self.place = Place::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::LineEnd;

    /// The cells of each row, joined by `|`; a rejected line after `!`.
    fn rows(text: &str, delimiter: Option<char>) -> Vec<String> {
        let mut rows = Rows::new(delimiter);
        let mut parsed = Vec::new();
        for (number, text) in (1..).zip(text.split('\n')) {
            let (end, bytes, guess) = (LineEnd::CrLf, None, None);
            rows.push(ListLine { number, text: text.to_owned(), end, bytes, guess });
            parsed.extend(std::iter::from_fn(|| rows.next()));
        }
        while let Some(last) = rows.finish() {
            parsed.push(last);
            parsed.extend(std::iter::from_fn(|| rows.next()));
        }
        let describe = |parsed| match parsed {
            Parsed::Row(row) => {
                let cells: Vec<String> = row.cells.into_iter().map(|cell| cell.text).collect();
                cells.join("|")
            }
            Parsed::Invalid(line, _) => format!("!{}", line.text),
        };
        parsed.into_iter().map(describe).collect()
    }

    #[test]
    fn quoted_cells_hold_delimiters_quotes_and_line_ends() {
        assert_eq!(
            rows("a,\"b, \"\"c\"\"\", \"d\" ,5\" x\n\"e\nf\",\"\"\n", Some(',')),
            ["a|b, \"c\"|d|5\" x", "e\r\nf|", ""]
        );
        assert_eq!(rows("a\tb;c\t\n\"x;\"", Some('\t')), ["a|b;c|", "x;"]);
        assert_eq!(rows("\"a,\"\"b\"\nc,d", None), ["a,\"b", "c,d"]);
    }

    #[test]
    fn a_quote_that_fits_nowhere_is_a_part_of_its_cell_between_tabs() {
        assert_eq!(
            rows("\"A\" x\tb\n\"c\td\n\"e\nf\"\tg\n5\" h\t\"i", Some('\t')),
            ["\"A\" x|b", "\"c|d", "e\r\nf|g", "5\" h|\"i"]
        );
    }

    #[test]
    fn quotes_that_do_not_fit_together_lose_only_their_own_lines() {
        assert_eq!(
            rows("a,\"x\nb,\nc,\"y\"\nd,\"z\ne,\"a \"\"b\"\"\nc\"\n\"f\"g,h\ni", Some(',')),
            ["!a,\"x", "b|", "c|y", "!d,\"z", "e|a \"b\"\r\nc", "!\"f\"g,h", "i"]
        );
        let endless = format!("\"{}", "x\n".repeat(MAX_LINES_PER_ROW + 10));
        let parsed = rows(&endless, Some(','));
        assert_eq!((parsed[0].as_str(), parsed.len()), ("!\"x", MAX_LINES_PER_ROW + 11));
    }
}
