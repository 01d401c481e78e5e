//! How a table is written, recognised by its first lines.

use std::cmp::Reverse;

use fetchline_queue::{begins_with_scheme, is_comment};

use super::super::format::{is_file_name, trimmed};
use super::super::line::ListLine;
use super::layout::{Found, Layout, is_url};
use super::rows::{Cell, Parsed, Row, Rows};

/// What separates cells. A tab comes first, since no URL contains one.
const DELIMITERS: [char; 4] = ['\t', ';', ',', '|'];

/// What is known about a list besides its lines.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Hints<'a> {
    /// The extension of the file in lower case.
    pub(in super::super) extension: Option<&'a str>,
    pub(in super::super) url_field: Option<&'a str>,
    /// Whether the user says that the list is a table.
    pub(in super::super) is_table: bool,
}

/// How a table is written, and where it has its URLs.
#[derive(Debug)]
pub(super) struct Dialect {
    /// Without a delimiter a row has one cell.
    pub(super) delimiter: Option<char>,
    /// The error says why no column is known to hold the URL.
    pub(super) layout: Result<Layout, String>,
    /// The lines of the headings.
    pub(super) headings: Vec<ListLine>,
    /// The number of the line of headings, or of the first URL.
    pub(super) first_line: u64,
    /// Whether it is known that the delimiter is no part of a URL.
    pub(super) is_certain: bool,
}

/// The first lines, divided by one delimiter.
struct Reading {
    delimiter: Option<char>,
    rows: Vec<Row>,
    /// The numbers of lines whose quotes do not fit this delimiter.
    torn: Vec<u64>,
    found: Found,
}

impl Reading {
    fn new(lines: &[&ListLine], delimiter: Option<char>, url_field: Option<&str>) -> Self {
        let mut parser = Rows::new(delimiter);
        let (mut rows, mut torn) = (Vec::new(), Vec::new());
        let mut collect = |parsed| match parsed {
            Parsed::Row(row) if row.is_blank() => {}
            Parsed::Row(row) => rows.push(row),
            Parsed::Invalid(line, _) => torn.push(line.number),
        };
        for &line in lines {
            parser.push(line.clone());
            while let Some(parsed) = parser.next() {
                collect(parsed);
            }
        }
        let cells: Vec<&[Cell]> = rows.iter().map(|row| row.cells.as_slice()).collect();
        let found = Layout::find(&cells, url_field);
        Self { delimiter, rows, torn, found }
    }

    /// The rows that have the common number of cells, in percent of all rows.
    fn consistency(&self) -> usize {
        let Found::Layout(layout, _) = &self.found else { return 0 };
        let fits = |row: &&Row| layout.url_cell(&row.cells).is_ok();
        100 * self.rows.iter().filter(fits).count() / (self.rows.len() + self.torn.len()).max(1)
    }

    /// Whether the list is a table with this delimiter, and not a list of URLs that contain it.
    fn is_table(&self, is_declared: bool) -> bool {
        match &self.found {
            Found::Nothing => false,
            Found::Layout(layout, _) if self.delimiter.is_some() && layout.span() < 2 => false,
            Found::Layout(_, Some(index)) => {
                let headings = self.rows[*index].number();
                !self.torn.iter().any(|number| *number < headings)
            }
            Found::Ambiguous(_) => true,
            Found::Layout(layout, None) => {
                let is_certain = is_declared || self.delimiter == Some('\t') || self.has_quotes();
                match is_certain {
                    // Lines that do not begin with a URL are rows, or nothing.
                    _ if layout.url_column() > 0 => self.consistency() >= 25,
                    true => self.consistency() >= 50,
                    false => self.consistency() == 100 && self.has_text(),
                }
            }
        }
    }

    /// Whether cells are quoted that stand beside this delimiter. A program quotes the cells that
    /// hold its delimiter, so another quoted cell speaks against this one.
    fn has_quotes(&self) -> bool {
        let has_neighbour = |row: &&Row| self.delimiter.is_none() || row.cells.len() > 1;
        let mut rows = self.rows.iter().filter(has_neighbour);
        rows.any(|row| row.cells.iter().any(|cell| cell.is_quoted))
    }

    /// Whether cells are quoted because they hold this delimiter.
    fn quotes_delimiters(&self) -> bool {
        let Some(delimiter) = self.delimiter else { return false };
        let is_needed = |cell: &Cell| cell.is_quoted && cell.text.contains(delimiter);
        self.rows.iter().any(|row| row.cells.len() > 1 && row.cells.iter().any(is_needed))
    }

    /// Whether a cell holds what no URL does, and no URL holds it, either.
    fn has_text(&self) -> bool {
        let is_spaced = |cell: &Cell| trimmed(&cell.text).contains(char::is_whitespace);
        let is_text = |cell: &Cell| cell.is_quoted || is_spaced(cell);
        let is_indented = |cell: &Cell| {
            !cell.is_quoted && cell.text.trim_start() != cell.text && !cell.text.trim().is_empty()
        };
        let may_be_url = |row: &Row| {
            let (url, others) = (&row.cells[0], &row.cells[1..]);
            let last = others.last().filter(|cell| is_text(cell) && !cell.is_quoted);
            is_spaced(url)
                || others.iter().any(is_indented)
                || last.is_some_and(|cell| is_file_name(trimmed(&cell.text)))
        };
        self.delimiter.is_some()
            && self.rows.iter().any(|row| row.cells.iter().skip(1).any(is_text))
            && !self.rows.iter().any(may_be_url)
    }

    /// The cells that are URLs, whatever their column.
    fn urls(&self) -> Vec<&str> {
        let Found::Layout(layout, _) = &self.found else { return Vec::new() };
        let urls = self.rows.iter().filter_map(|row| row.cells.get(layout.url_column()));
        urls.filter(|cell| is_url(cell)).map(|cell| cell.text.trim()).collect()
    }

    /// Tabs first, since no URL contains one; then tables with headings, those with the first
    /// headings, and consistent ones.
    fn rank(&self) -> (bool, Option<Reverse<usize>>, usize) {
        let has_tabs = self.delimiter == Some('\t');
        let Found::Layout(_, headings) = &self.found else { return (has_tabs, None, 0) };
        (has_tabs, headings.map(Reverse), self.consistency())
    }

    /// Whether a table of one column has a row of headings, and not just a line that is no URL.
    fn has_known_heading(&self, hints: Hints<'_>, is_tabular: bool) -> bool {
        match &self.found {
            Found::Layout(layout, Some(_)) => {
                is_tabular || hints.url_field.is_some() || layout.has_known_heading()
            }
            _ => false,
        }
    }

    /// Whether a row of headings and the rows below it are quoted as a whole, as if their table had
    /// been one column of another one.
    fn has_whole_rows_quoted(&self) -> bool {
        let Found::Layout(_, Some(index)) = self.found else { return false };
        let is_row =
            |row: &Row, delimiter| row.cells[0].is_quoted && row.cells[0].text.contains(delimiter);
        self.delimiter.is_none()
            && DELIMITERS.into_iter().any(|delimiter| {
                let rows = self.rows.iter().filter(|row| is_row(row, delimiter)).count();
                is_row(&self.rows[index], delimiter) && 2 * rows > self.rows.len()
            })
    }

    fn into_dialect(mut self, first_url: u64, is_certain: bool) -> Dialect {
        if self.has_whole_rows_quoted() {
            self.found = Found::Ambiguous(WHOLE_ROWS.to_owned());
        }
        let is_certain = is_certain
            || self.delimiter == Some('\t')
            || matches!(self.found, Found::Layout(_, Some(_))) && self.quotes_delimiters();
        let (layout, index) = match self.found {
            Found::Layout(layout, index) => (Ok(layout), index),
            Found::Ambiguous(reason) => (Err(reason), None),
            Found::Nothing => (Err(NO_COLUMN.to_owned()), None),
        };
        let headings = index.map(|index| self.rows.swap_remove(index).lines).unwrap_or_default();
        let first_line = headings.first().map_or(first_url, |line| line.number);
        Dialect { delimiter: self.delimiter, layout, headings, first_line, is_certain }
    }
}

const NO_COLUMN: &str =
    "no column is known to hold the URL; name it with --url-field, by its heading or number";

const NO_DELIMITER: &str = "no column is known to hold the URL; name it with --url-field, or the \
                            delimiter in a first line such as sep=^";

const WHOLE_ROWS: &str = "the rows seem to be quoted as a whole, as cells of another table; remove \
                          the quotes around them";

/// Whether a line above a table is a comment. It proves nothing about the table. A `#` may also
/// begin an order number, or be the heading of a number.
pub(super) fn is_note(line: &str) -> bool {
    let line = trimmed(line);
    let is_word = |c: char| c.is_alphanumeric() || c == '"' || DELIMITERS.contains(&c);
    is_comment(line)
        && !line[1..].starts_with(is_word)
        && !line.split(DELIMITERS).any(begins_with_scheme)
}

/// The dialect of a table; `None` if the list is not recognised as one.
pub(super) fn recognise(lines: &[ListLine], hints: Hints<'_>) -> Option<Dialect> {
    let (declared, lines) = match lines {
        [first, rest @ ..] if declared_delimiter(&first.text).is_some() => {
            (declared_delimiter(&first.text), rest)
        }
        _ => (None, lines),
    };
    let first_url = lines.iter().find(|line| line.text.contains("://") && !is_note(&line.text));
    let first_url = first_url.map_or(u64::MAX, |line| line.number);
    let is_row = |line: &&ListLine| line.number >= first_url || !is_note(&line.text);
    let lines: Vec<&ListLine> = lines.iter().filter(is_row).collect();
    let is_tabular = matches!(hints.extension, Some("csv" | "tsv" | "tab"));
    let present = |delimiter: &char| lines.iter().any(|line| line.text.contains(*delimiter));
    let candidates: Vec<char> = match declared {
        Some(delimiter) => vec![delimiter],
        None if matches!(hints.extension, Some("tsv" | "tab")) && present(&'\t') => vec!['\t'],
        None => DELIMITERS.into_iter().filter(present).collect(),
    };
    let is_declared = hints.is_table || declared.is_some();
    let read = |delimiter| Reading::new(&lines, delimiter, hints.url_field);
    let mut tables: Vec<Reading> = candidates
        .iter()
        .map(|delimiter| read(Some(*delimiter)))
        .filter(|reading| reading.is_table(is_declared))
        .collect();
    tables.sort_by_key(|reading| Reverse(reading.rank()));
    let unreadable = |delimiter, reason: String| Dialect {
        delimiter,
        layout: Err(reason),
        headings: Vec::new(),
        first_line: first_url,
        is_certain: is_declared,
    };
    if let [first, second, ..] = &tables[..]
        && first.rank() == second.rank()
        && first.urls() != second.urls()
    {
        return Some(unreadable(first.delimiter, two_readings(first, second)));
    }
    if let Some(best) = tables.into_iter().next() {
        return Some(best.into_dialect(first_url, is_declared));
    }
    let one_column = read(None);
    let has_headings = one_column.has_known_heading(hints, is_declared || is_tabular);
    let is_table = has_headings
        || matches!(one_column.found, Found::Layout(_, None)) && one_column.is_table(is_declared);
    if is_table {
        return Some(one_column.into_dialect(first_url, is_declared));
    }
    (is_declared || is_tabular && !one_column.rows.iter().any(|row| is_url(&row.cells[0]))).then(
        || {
            let reason = if candidates.is_empty() { NO_DELIMITER } else { NO_COLUMN };
            unreadable(candidates.first().copied(), reason.to_owned())
        },
    )
}

fn two_readings(first: &Reading, second: &Reading) -> String {
    let name = |reading: &Reading| reading.delimiter.unwrap_or_default();
    let (one, other) = (name(first), name(second));
    format!(
        "the cells may be separated by `{one}` or by `{other}`; add headings, or a first line \
         such as sep={one}"
    )
}

/// The delimiter that Excel's line `sep=;` declares.
pub(super) fn declared_delimiter(line: &str) -> Option<char> {
    let line = line.trim_start_matches('\u{feff}').trim_matches([' ', '"']);
    let (name, value) = line.split_at_checked(4)?;
    let mut characters = value.chars();
    let delimiter = characters.next()?;
    let is_whole = name.eq_ignore_ascii_case("sep=") && characters.next().is_none();
    (is_whole && !delimiter.is_alphanumeric() && delimiter != '"').then_some(delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::LineEnd;

    /// The delimiter and the column of the URL; `None` if the list is no table.
    fn recognise_text(text: &str, hints: Hints<'_>) -> Option<(Option<char>, Option<usize>)> {
        let line = |(number, text): (u64, &str)| ListLine {
            number,
            text: text.to_owned(),
            end: LineEnd::Lf,
            bytes: None,
            guess: None,
        };
        let lines: Vec<ListLine> = (1..).zip(text.lines()).map(line).collect();
        let dialect = recognise(&lines, hints)?;
        Some((dialect.delimiter, dialect.layout.ok().map(|layout| layout.url_column())))
    }

    #[test]
    fn the_delimiter_is_that_of_consistent_rows_and_not_the_most_frequent_character() {
        for (text, delimiter, column) in [
            ("\"name; of; the; thing\",url\n\"a; b\",https://a.example/1", ',', 1),
            ("name;url;price\nTea, green, fresh;https://a.example/1,2;1,99", ';', 1),
            ("\"https://a.example/p/1,2\";Tea", ';', 0),
            ("https://a.example/a,b,c\tTea", '\t', 0),
            ("Tea;https://a.example/1;1,99\nJam;https://a.example/2;2,49", ';', 1),
            ("AAA,BBB,\"https://a.example/bla,bla\"", ',', 2),
            ("id|url\n1|https://a.example/a;b,c", '|', 1),
            ("https://a.example/1,Green tea\nhttps://a.example/2,Jam", ',', 0),
            ("sep=;\nname;url\nTea;https://a.example/1", ';', 1),
            ("\u{feff}\"sep=,\"\nname,url\n\"Tea; 100 g; x\",https://a.example/p/1", ',', 1),
            ("SEP=\t\nhttps://a.example/1\tTea", '\t', 0),
            ("#1001;https://a.example/1\n#1002;https://a.example/2", ';', 1),
        ] {
            assert_eq!(
                recognise_text(text, Hints::default()),
                Some((Some(delimiter), Some(column))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_list_of_urls_is_no_table() {
        for text in [
            "https://a.example/a,b\nhttps://a.example/c,d",
            "https://a.example/1,Tea",
            "https://a.example/p/17;colour=red\nhttps://a.example/p/18;colour=red",
            "https://a.example/1",
            "",
        ] {
            for extension in [None, Some("csv")] {
                let hints = Hints { extension, ..Hints::default() };
                let is_empty = text.is_empty() && extension.is_some();
                assert_eq!(recognise_text(text, hints).is_some(), is_empty, "{text}");
            }
        }
        let hints = Hints { is_table: true, ..Hints::default() };
        let table = recognise_text("https://a.example/1,Tea", hints);
        assert_eq!(table, Some((Some(','), Some(0))));
    }

    #[test]
    fn a_column_alone_has_no_delimiter() {
        for text in [
            "url\nhttps://a.example/map/@34.66,-86.57,17z\nhttps://a.example/p/1",
            "\"https://a.example/1,2\"\n\"https://a.example/3\"",
        ] {
            assert_eq!(recognise_text(text, Hints::default()), Some((None, Some(0))), "{text}");
        }
    }

    #[test]
    fn two_possible_readings_are_refused() {
        let text = "https://a.example/b,c;Green tea\nhttps://a.example/d,e;Black tea";
        let table = recognise_text(text, Hints::default());
        assert!(matches!(table, Some((Some(_), None))), "{table:?}");
    }
}
