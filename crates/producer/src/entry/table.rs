//! CSV as spreadsheets and databases write it (RFC 4180). A quoted cell may hold separators and
//! line ends.

use std::collections::VecDeque;

use fetchline_queue::MAX_MESSAGE_BYTES;

use super::format::{is_ignored, trimmed};
use super::record::{self, Fields};
use super::{Content, Entry};

const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];
/// The lines of one row, at most. Otherwise a quote that is never closed would take the rest of the
/// file.
const MAX_LINES_PER_ROW: usize = 1000;

/// Turns lines into rows, and rows into records.
pub(super) struct Table {
    url_field: Option<String>,
    /// `None` until the first row is read.
    layout: Option<Layout>,
    /// Lines that are not part of a row yet.
    lines: VecDeque<(u64, Vec<u8>)>,
    /// How many of these lines are known not to form a whole row.
    open_lines: usize,
}

/// Where a row has its URL.
struct Layout {
    separator: u8,
    /// The row of headings as it was given; empty if the first row has none.
    raw_headings: String,
    /// In lower case; empty if the first row has none.
    headings: Vec<String>,
    url_column: usize,
}

impl Table {
    pub(super) fn new(url_field: Option<&str>) -> Self {
        Self {
            url_field: url_field.map(str::to_owned),
            layout: None,
            lines: VecDeque::new(),
            open_lines: 0,
        }
    }

    /// Whether a line is a row of headings, one of which is that of the URL.
    pub(super) fn has_url_heading(&self, line: &str) -> bool {
        self.layout_of(line).is_some()
    }

    /// The row of headings of the last row, as it was given; `None` if there is none.
    pub(super) fn headings(&self) -> Option<&str> {
        let layout = self.layout.as_ref()?;
        (!layout.headings.is_empty()).then_some(layout.raw_headings.as_str())
    }

    pub(super) fn push_line(&mut self, number: u64, raw: Vec<u8>) {
        self.lines.push_back((number, raw));
    }

    /// The next row, if the lines so far hold a whole one.
    pub(super) fn next(&mut self) -> Option<Entry> {
        // A blank line or a comment between two rows is not part of the second one.
        if self.open_lines == 0
            && let Some((_, raw)) = self.lines.front()
            && is_ignored(&String::from_utf8_lossy(raw))
        {
            let (line, raw) = self.lines.pop_front()?;
            return Some(Entry { sitemap: None, line, raw, content: Content::Ignored });
        }
        while self.open_lines < self.lines.len() {
            self.open_lines += 1;
            let separator = self.layout.as_ref().map_or_else(
                || detect_separator(&String::from_utf8_lossy(&self.lines[0].1)),
                |layout| layout.separator,
            );
            let raw = self.first_lines(self.open_lines);
            if self.open_lines > 1 && is_torn(&raw, separator) {
                return self.reject_first_line();
            }
            if let Some(cells) = split_row(&raw, separator) {
                let line = self.lines[0].0;
                self.lines.drain(..self.open_lines);
                self.open_lines = 0;
                let content = self.parse(&raw, cells);
                return Some(Entry { sitemap: None, line, raw, content });
            }
            if self.open_lines >= MAX_LINES_PER_ROW || raw.len() > MAX_MESSAGE_BYTES {
                return self.reject_first_line();
            }
        }
        None
    }

    /// The next entry after the last line. Call `next` again before this is called again.
    pub(super) fn finish(&mut self) -> Option<Entry> {
        self.reject_first_line()
    }

    /// A quote in the first line is never closed. Only this line is lost, since the others are read
    /// again.
    fn reject_first_line(&mut self) -> Option<Entry> {
        let (line, raw) = self.lines.pop_front()?;
        self.open_lines = 0;
        let reason = "a quote is opened and never closed; double a quote inside a quoted cell";
        Some(Entry { sitemap: None, line, raw, content: Content::Invalid(reason.to_owned()) })
    }

    fn first_lines(&self, count: usize) -> Vec<u8> {
        let lines: Vec<&[u8]> =
            self.lines.iter().take(count).map(|(_, raw)| raw.as_slice()).collect();
        lines.join(&b'\n')
    }

    fn parse(&mut self, raw: &[u8], cells: Vec<Vec<u8>>) -> Content {
        let cells: Result<Vec<String>, _> = cells.into_iter().map(String::from_utf8).collect();
        let Ok(cells) = cells else {
            return Content::Invalid("the line is not UTF-8 text".to_owned());
        };
        let raw = String::from_utf8_lossy(raw);
        if cells.iter().all(|cell| trimmed(cell).is_empty()) {
            return Content::Ignored;
        }
        let content = self.parse_cells(&raw, &cells);
        // Another table may follow.
        if matches!(content, Content::Invalid(_))
            && let Some(layout) = self.layout_of(&raw)
            && self.layout.as_ref().is_none_or(|previous| layout.resembles(previous))
        {
            self.layout = Some(layout);
            return Content::Ignored;
        }
        content
    }

    fn parse_cells(&mut self, raw: &str, cells: &[String]) -> Content {
        let Some(layout) = &self.layout else { return self.parse_first_row(raw, cells) };
        if layout.headings.is_empty() {
            return match cells.get(layout.url_column) {
                Some(cell) => record::parse_url(trimmed(cell)).into(),
                None => Content::Invalid(format!(
                    "the row has no cell {}, which holds the URL in the first row",
                    layout.url_column + 1
                )),
            };
        }
        if cells.len() != layout.headings.len() {
            return Content::Invalid(format!(
                "the row has a different number of cells ({}) than headings ({})",
                cells.len(),
                layout.headings.len()
            ));
        }
        let fields = Fields::from_cells(
            layout.headings.iter().map(String::as_str).zip(cells.iter().map(String::as_str)),
        );
        fields.into_record(&layout.headings[layout.url_column]).into()
    }

    /// A first row without headings has to hold a URL.
    fn parse_first_row(&mut self, raw: &str, cells: &[String]) -> Content {
        let is_url = |cell: &String| record::parse_url(trimmed(cell)).is_ok();
        match cells.iter().position(is_url).filter(|_| self.url_field.is_none()) {
            Some(url_column) => {
                self.layout = Some(Layout {
                    separator: detect_separator(raw),
                    raw_headings: String::new(),
                    headings: Vec::new(),
                    url_column,
                });
                record::parse_url(trimmed(&cells[url_column])).into()
            }
            None => {
                let field = self.url_field.as_deref().unwrap_or("url");
                Content::Invalid(format!("no row above has the heading `{field}`"))
            }
        }
    }

    /// The layout of a table with this row of headings; `None` if none of them is that of the URL.
    fn layout_of(&self, line: &str) -> Option<Layout> {
        let separator = detect_separator(line);
        let url_field = self.url_field.as_deref().unwrap_or("url").to_ascii_lowercase();
        let headings: Vec<String> = split_row(line.as_bytes(), separator)?
            .into_iter()
            .map(|cell| trimmed(&String::from_utf8_lossy(&cell)).to_ascii_lowercase())
            .collect();
        let url_column = headings.iter().position(|heading| *heading == url_field)?;
        Some(Layout { separator, raw_headings: line.to_owned(), headings, url_column })
    }
}

impl Layout {
    /// Whether this is a row of headings, not a row with a cell that happens to equal a heading.
    fn resembles(&self, previous: &Self) -> bool {
        self.url_column == previous.url_column
            || self.headings.iter().enumerate().any(|(column, heading)| {
                column != self.url_column
                    && !heading.is_empty()
                    && previous.headings.contains(heading)
            })
    }
}

/// Whether a quote ends inside a cell. Then it is an opening quote, and the one before it was never
/// closed.
fn is_torn(text: &[u8], separator: u8) -> bool {
    let ends_cell = |byte: u8| byte == separator || matches!(byte, b'\r' | b'\n');
    let text = without_bom(text);
    let (mut is_quoted, mut is_cell_start) = (false, true);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (is_quoted, byte) {
            (false, b'"') if is_cell_start => is_quoted = true,
            (false, _) => is_cell_start = ends_cell(byte),
            (true, b'"') if bytes.peek() == Some(&b'"') => _ = bytes.next(),
            (true, b'"') => match bytes.clone().find(|&byte| byte != b' ') {
                Some(next) if !ends_cell(next) => return true,
                _ => (is_quoted, is_cell_start) = (false, false),
            },
            (true, _) => {}
        }
    }
    false
}

/// The separator that occurs most often in the first line of a table.
fn detect_separator(line: &str) -> u8 {
    let count = |separator: &u8| line.bytes().filter(|byte| byte == separator).count();
    SEPARATORS.into_iter().rev().max_by_key(count).unwrap_or(b',')
}

/// The cells of a row; `None` if a quote is still open.
fn split_row(text: &[u8], separator: u8) -> Option<Vec<Vec<u8>>> {
    let text = without_bom(text);
    let mut reader = csv_core::ReaderBuilder::new().delimiter(separator).build();
    // Cells are never longer than the text, and each but the first needs a separator.
    let mut output = vec![0; text.len() + 1];
    let mut ends = vec![0; text.len() + 2];
    let (result, _, written, mut cells) = reader.read_record(text, &mut output, &mut ends);
    if result == csv_core::ReadRecordResult::InputEmpty {
        // A line end inside quotes would be part of the cell; outside it ends the row.
        let (result, _, _, last) =
            reader.read_record(b"\n", &mut output[written..], &mut ends[cells..]);
        if result != csv_core::ReadRecordResult::Record {
            return None;
        }
        cells += last;
    }
    let mut start = 0;
    let cells = ends[..cells].iter();
    Some(cells.map(|&end| output[std::mem::replace(&mut start, end)..end].to_vec()).collect())
}

fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, url_field: Option<&str>) -> Vec<(u64, String)> {
        let mut table = Table::new(url_field);
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.split('\n')) {
            table.push_line(number, line.as_bytes().to_vec());
            entries.extend(std::iter::from_fn(|| table.next()));
        }
        while let Some(entry) = table.finish() {
            entries.push(entry);
            entries.extend(std::iter::from_fn(|| table.next()));
        }
        let describe = |content| match content {
            Content::Record(record) => {
                let category = record
                    .request
                    .category
                    .map(|category| format!(" {category}"))
                    .unwrap_or_default();
                format!("{}{category}", record.request.address)
            }
            Content::Ignored => "-".to_owned(),
            Content::Invalid(reason) => format!("invalid: {reason}"),
        };
        entries.into_iter().map(|entry| (entry.line, describe(entry.content))).collect()
    }

    fn rows(text: &str) -> Vec<String> {
        read(text, None).into_iter().map(|(_, description)| description).collect()
    }

    #[test]
    fn columns_are_found_by_their_headings() {
        let text = "\u{feff}Name;URL;Category\r\n\"Tea; \"\"green\"\"\";http://a.example/1;Tea\r\n\
                    \r\nx;http://a.example/2;\r\n";
        assert_eq!(rows(text), ["-", "http://a.example/1 Tea", "-", "http://a.example/2", "-"]);
        assert_eq!(
            read("sku\tlink\n1\thttp://a.example/", Some("Link")),
            [(1, "-".to_owned()), (2, "http://a.example/".to_owned())]
        );
    }

    #[test]
    fn without_headings_the_column_is_that_of_the_first_url() {
        assert_eq!(
            rows("1,http://a.example/1\n2,http://a.example/2\n3"),
            [
                "http://a.example/1",
                "http://a.example/2",
                "invalid: the row has no cell 2, which holds the URL in the first row"
            ]
        );
    }

    #[test]
    fn cells_may_hold_line_ends_and_a_row_has_the_number_of_its_first_line() {
        let rows_read =
            read("url,note\nhttp://a.example/1,\"two\nlines\"\nhttp://a.example/2,", None);
        assert_eq!(
            rows_read[1..],
            [(2, "http://a.example/1".to_owned()), (4, "http://a.example/2".to_owned())]
        );
    }

    #[test]
    fn an_invalid_row_affects_no_other_row() {
        let rows_read = rows(
            "url,note\nhttp://a.example/1,\"open\nhttp://a.example/2,\nftp://a.example/3,\n\
             http://a.example/4",
        );
        assert!(rows_read[1].starts_with("invalid: a quote is opened"), "{rows_read:?}");
        assert_eq!(rows_read[2], "http://a.example/2");
        assert!(rows_read[3].starts_with("invalid: the URL is not usable"), "{rows_read:?}");
        assert_eq!(
            rows_read[4],
            "invalid: the row has a different number of cells (1) than headings (2)"
        );
    }

    #[test]
    fn two_quotes_that_are_never_closed_lose_only_their_own_rows() {
        let rows_read = rows(
            "url,note\nhttp://a.example/1,\"Winner 2024\nhttp://a.example/2,\n\
             http://a.example/3,\"Winner\"\n\
             http://a.example/4,\"Winner 2023\nhttp://a.example/5,\"a \"\"b\"\"\nc\"\r",
        );
        assert!(
            rows_read[1].starts_with("invalid: a quote")
                && rows_read[4].starts_with("invalid: a quote"),
            "{rows_read:?}"
        );
        let good = [&rows_read[2], &rows_read[3], &rows_read[5]];
        assert_eq!(good, ["http://a.example/2", "http://a.example/3", "http://a.example/5"]);
    }

    #[test]
    fn only_a_line_that_begins_with_a_hash_is_a_comment() {
        let text = "\u{feff}# sku, url\nsku,url,category\n # was, \"url\n\
                    \"#1\",http://a.example/1,Tea\n\"#2\nb\" ,http://a.example/2,Jam";
        assert_eq!(rows(text), ["-", "-", "-", "http://a.example/1 Tea", "http://a.example/2 Jam"]);
    }

    #[test]
    fn a_file_may_hold_several_tables() {
        let text = "url,category\nnowhere,Tea\ncategory,url\nJam,http://a.example/1\nJam,nowhere";
        let rows_read = rows(text);
        assert!(
            rows_read[1].starts_with("invalid: ") && rows_read[4].starts_with("invalid: "),
            "{rows_read:?}"
        );
        assert_eq!(
            [&rows_read[0], &rows_read[2], &rows_read[3]],
            ["-", "-", "http://a.example/1 Jam"]
        );
        let rows_read = rows("url,kind\nnowhere,url\nhttp://a.example/1,page");
        assert!(
            rows_read[1].starts_with("invalid: ") && rows_read[2] == "http://a.example/1",
            "{rows_read:?}"
        );
    }
}
