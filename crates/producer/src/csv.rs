//! CSV, as spreadsheets and databases write it (RFC 4180): quoted cells may hold separators and line breaks.

use std::collections::VecDeque;

use fetchline_queue::MAX_MESSAGE_BYTES;

use crate::format::{Entry, What, says_nothing, trimmed};
use crate::record::{self, Fields};

/// What may part cells.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];
/// Lines of one row. A quote that is never closed would take the rest of the file else.
const MAX_LINES: usize = 1000;

/// A table that is read line by line.
pub(crate) struct Table {
    url_field: Option<String>,
    /// `None` until the first row was seen.
    shape: Option<Shape>,
    /// Lines that no row was made of yet.
    lines: VecDeque<(u64, Vec<u8>)>,
    /// How many of these are known to be no whole row.
    open: usize,
}

struct Shape {
    separator: u8,
    /// The row of headings as it was given; empty where the first row was none.
    given: String,
    /// In lower case, but for that of the URL; empty where the first row was no headings.
    headings: Vec<String>,
    /// Which column the URL stands in.
    url: usize,
}

impl Table {
    pub(crate) fn new(url_field: Option<&str>) -> Self {
        Self { url_field: url_field.map(str::to_owned), shape: None, lines: VecDeque::new(), open: 0 }
    }

    /// Whether a line is one of headings with one for the URL.
    pub(crate) fn names_a_url(&self, line: &str) -> bool {
        self.headed(line).is_some()
    }

    /// The row of headings as it was given, once it was read; `None` where there is none.
    pub(crate) fn headings(&self) -> Option<&str> {
        self.shape.as_ref().map(|shape| shape.given.as_str()).filter(|given| !given.is_empty())
    }

    /// Takes a line.
    pub(crate) fn line(&mut self, number: u64, bytes: Vec<u8>) {
        self.lines.push_back((number, bytes));
    }

    /// The next row, where the lines so far hold one.
    pub(crate) fn next(&mut self) -> Option<Entry> {
        // What is blank or a comment between rows is no part of the next one.
        if self.open == 0 && self.lines.front().is_some_and(|(_, bytes)| says_nothing(&String::from_utf8_lossy(bytes)))
        {
            let (line, given) = self.lines.pop_front()?;
            return Some(Entry { source: None, line, given, what: What::Nothing });
        }
        while self.open < self.lines.len() {
            self.open += 1;
            let separator = self
                .shape
                .as_ref()
                .map_or_else(|| separator(&String::from_utf8_lossy(&self.lines[0].1)), |shape| shape.separator);
            let given = self.given(self.open);
            if self.open > 1 && is_torn(&given, separator) {
                return self.give_up();
            }
            if let Some(cells) = row(&given, separator) {
                let number = self.lines[0].0;
                self.lines.drain(..self.open);
                self.open = 0;
                let what = self.read(&given, cells);
                return Some(Entry { source: None, line: number, given, what });
            }
            if self.open >= MAX_LINES || given.len() > MAX_MESSAGE_BYTES {
                return self.give_up();
            }
        }
        None
    }

    /// There are no more lines; the next row of what is left.
    pub(crate) fn end(&mut self) -> Option<Entry> {
        if self.lines.is_empty() { None } else { self.give_up() }
    }

    /// A quote in the first line is never closed. That costs this line alone.
    fn give_up(&mut self) -> Option<Entry> {
        let (line, given) = self.lines.pop_front()?;
        self.open = 0;
        let what =
            What::Bad("a quote is opened and never closed (a quote inside of quotes is written twice)".to_owned());
        Some(Entry { source: None, line, given, what })
    }

    fn given(&self, lines: usize) -> Vec<u8> {
        let lines: Vec<&[u8]> = self.lines.iter().take(lines).map(|(_, bytes)| bytes.as_slice()).collect();
        lines.join(&b'\n')
    }

    fn read(&mut self, given: &[u8], cells: Vec<Vec<u8>>) -> What {
        let cells: Result<Vec<String>, _> = cells.into_iter().map(String::from_utf8).collect();
        let Ok(cells) = cells else { return What::Bad("the line is not UTF-8 text".to_owned()) };
        let given = String::from_utf8_lossy(given);
        if cells.iter().all(|cell| trimmed(cell).is_empty()) {
            return What::Nothing;
        }
        let what = self.record(&given, &cells);
        // One table may follow another.
        if matches!(what, What::Bad(_))
            && let Some(shape) = self.headed(&given)
            && self.shape.as_ref().is_none_or(|before| shape.resembles(before))
        {
            self.shape = Some(shape);
            return What::Nothing;
        }
        what
    }

    fn record(&mut self, given: &str, cells: &[String]) -> What {
        let Some(shape) = &self.shape else { return self.first_row(given, cells) };
        if shape.headings.is_empty() {
            return match cells.get(shape.url) {
                Some(cell) => record::url(trimmed(cell)).map_or_else(What::Bad, What::Record),
                None => What::Bad(format!("it has no cell {}, where the URL stands in the first row", shape.url + 1)),
            };
        }
        if cells.len() != shape.headings.len() {
            return What::Bad(format!("it has {} cells, and there are {} headings", cells.len(), shape.headings.len()));
        }
        let fields = Fields::cells(shape.headings.iter().map(String::as_str).zip(cells.iter().map(String::as_str)));
        fields.record(&shape.headings[shape.url]).map_or_else(What::Bad, What::Record)
    }

    /// The first row, where it is none of headings, has a URL in it.
    fn first_row(&mut self, given: &str, cells: &[String]) -> What {
        let is_url = |cell: &String| record::url(trimmed(cell)).is_ok();
        match cells.iter().position(is_url).filter(|_| self.url_field.is_none()) {
            Some(url) => {
                self.shape =
                    Some(Shape { given: String::new(), separator: separator(given), headings: Vec::new(), url });
                record::url(trimmed(&cells[url])).map_or_else(What::Bad, What::Record)
            }
            None => {
                let field = self.url_field.as_deref().unwrap_or("url");
                What::Bad(format!("no row of headings with a `{field}` (--url-field names it), and no URL"))
            }
        }
    }

    /// The shape of a table with this row of headings, where it has one for the URL.
    fn headed(&self, line: &str) -> Option<Shape> {
        let separator = separator(line);
        let wanted = self.url_field.as_deref().unwrap_or("url");
        let headings: Vec<String> = row(line.as_bytes(), separator)?
            .into_iter()
            .map(|cell| trimmed(&String::from_utf8_lossy(&cell)).to_ascii_lowercase())
            .collect();
        let url = headings.iter().position(|heading| *heading == wanted.to_ascii_lowercase())?;
        Some(Shape { given: line.to_owned(), separator, headings, url })
    }
}

impl Shape {
    /// Whether these are headings, and not a row in which one word happens to be one.
    fn resembles(&self, before: &Self) -> bool {
        self.url == before.url
            || self
                .headings
                .iter()
                .enumerate()
                .any(|(column, heading)| column != self.url && !heading.is_empty() && before.headings.contains(heading))
    }
}

/// Whether a quote ends inside of a cell. It was one that begins then, and the one before it was never closed.
fn is_torn(text: &[u8], separator: u8) -> bool {
    let ends = |byte: u8| byte == separator || matches!(byte, b'\r' | b'\n');
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let (mut is_quoted, mut cell_begins) = (false, true);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (is_quoted, byte) {
            (false, b'"') if cell_begins => is_quoted = true,
            (false, _) => cell_begins = ends(byte),
            (true, b'"') if bytes.peek() == Some(&b'"') => _ = bytes.next(),
            (true, b'"') => match bytes.clone().find(|&byte| byte != b' ') {
                Some(next) if !ends(next) => return true,
                _ => (is_quoted, cell_begins) = (false, false),
            },
            (true, _) => {}
        }
    }
    false
}

/// What parts the cells of a table: what its first line has most of.
fn separator(line: &str) -> u8 {
    let count = |separator: &u8| line.bytes().filter(|byte| byte == separator).count();
    SEPARATORS.into_iter().rev().max_by_key(count).unwrap_or(b',')
}

/// The cells of a row; `None` where it is not whole, since a quote is open.
fn row(text: &[u8], separator: u8) -> Option<Vec<Vec<u8>>> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut reader = csv_core::ReaderBuilder::new().delimiter(separator).build();
    // Cells are never longer than the text, and a cell needs a separator.
    let mut output = vec![0; text.len() + 1];
    let mut ends = vec![0; text.len() + 2];
    let (result, _, written, mut cells) = reader.read_record(text, &mut output, &mut ends);
    if result == csv_core::ReadRecordResult::InputEmpty {
        // Inside of quotes a line break would be a part of the cell; outside it ends the row.
        let (result, _, _, last) = reader.read_record(b"\n", &mut output[written..], &mut ends[cells..]);
        if result != csv_core::ReadRecordResult::Record {
            return None;
        }
        cells += last;
    }
    let mut begin = 0;
    Some(ends[..cells].iter().map(|&end| output[std::mem::replace(&mut begin, end)..end].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, url_field: Option<&str>) -> Vec<(u64, String)> {
        let mut table = Table::new(url_field);
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.split('\n')) {
            table.line(number, line.as_bytes().to_vec());
            entries.extend(std::iter::from_fn(|| table.next()));
        }
        while let Some(entry) = table.end() {
            entries.push(entry);
            entries.extend(std::iter::from_fn(|| table.next()));
        }
        let told = |what| match what {
            What::Record(record) => {
                let category = record.order.category.map(|category| format!(" {category}")).unwrap_or_default();
                format!("{}{category}", record.order.address)
            }
            What::Nothing => "-".to_owned(),
            What::Bad(why) => format!("bad: {why}"),
        };
        entries.into_iter().map(|entry| (entry.line, told(entry.what))).collect()
    }

    fn rows(text: &str) -> Vec<String> {
        read(text, None).into_iter().map(|(_, told)| told).collect()
    }

    #[test]
    fn columns_are_found_by_their_headings() {
        let text = "\u{feff}Name;URL;Category\r\n\"Tea; \"\"green\"\"\";http://a.example/1;Tea\r\n\r\nx;http://a.example/2;\r\n";
        assert_eq!(rows(text), ["-", "http://a.example/1 Tea", "-", "http://a.example/2", "-"]);
        assert_eq!(
            read("sku\tlink\n1\thttp://a.example/", Some("Link")),
            [(1, "-".to_owned()), (2, "http://a.example/".to_owned())]
        );
    }

    #[test]
    fn without_headings_the_first_url_tells_the_column() {
        assert_eq!(
            rows("1,http://a.example/1\n2,http://a.example/2\n3"),
            [
                "http://a.example/1",
                "http://a.example/2",
                "bad: it has no cell 2, where the URL stands in the first row"
            ]
        );
    }

    #[test]
    fn cells_may_hold_line_breaks_and_a_row_is_named_by_its_first_line() {
        let told = read("url,note\nhttp://a.example/1,\"two\nlines\"\nhttp://a.example/2,", None);
        assert_eq!(told[1..], [(2, "http://a.example/1".to_owned()), (4, "http://a.example/2".to_owned())]);
    }

    #[test]
    fn a_bad_row_costs_no_other_row() {
        let told =
            rows("url,note\nhttp://a.example/1,\"open\nhttp://a.example/2,\nftp://a.example/3,\nhttp://a.example/4");
        assert!(told[1].starts_with("bad: a quote is opened"), "{told:?}");
        assert_eq!(told[2], "http://a.example/2");
        assert!(told[3].starts_with("bad: no URL that can be fetched"), "{told:?}");
        assert_eq!(told[4], "bad: it has 1 cells, and there are 2 headings");
    }

    #[test]
    fn two_quotes_that_are_never_closed_cost_the_two_rows_alone() {
        let told = rows(
            "url,note\nhttp://a.example/1,\"Winner 2024\nhttp://a.example/2,\nhttp://a.example/3,\"Winner\"\n\
             http://a.example/4,\"Winner 2023\nhttp://a.example/5,\"a \"\"b\"\"\nc\"\r",
        );
        assert!(told[1].starts_with("bad: a quote") && told[4].starts_with("bad: a quote"), "{told:?}");
        let good = [&told[2], &told[3], &told[5]];
        assert_eq!(good, ["http://a.example/2", "http://a.example/3", "http://a.example/5"]);
    }

    #[test]
    fn only_a_line_that_begins_with_a_hash_is_a_comment() {
        let text = "\u{feff}# sku, url\nsku,url,category\n # was, \"url\n\"#1\",http://a.example/1,Tea\n\"#2\nb\" ,http://a.example/2,Jam";
        assert_eq!(rows(text), ["-", "-", "-", "http://a.example/1 Tea", "http://a.example/2 Jam"]);
    }

    #[test]
    fn one_table_may_follow_another() {
        let text = "url,category\nnowhere,Tea\ncategory,url\nJam,http://a.example/1\nJam,nowhere";
        let told = rows(text);
        assert!(told[1].starts_with("bad: ") && told[4].starts_with("bad: "), "{told:?}");
        assert_eq!([&told[0], &told[2], &told[3]], ["-", "-", "http://a.example/1 Jam"]);
        let told = rows("url,kind\nnowhere,url\nhttp://a.example/1,page");
        assert!(told[1].starts_with("bad: ") && told[2] == "http://a.example/1", "{told:?}");
    }
}
