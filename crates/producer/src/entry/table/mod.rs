//! CSV as spreadsheets and databases write it (RFC 4180).

mod dialect;
mod layout;
mod rows;
mod stray_quote;

use fetchline_queue::{begins_with_scheme, may_continue_url};

pub(super) use self::dialect::Hints;
use self::dialect::{Dialect, declared_delimiter, is_note};
use self::layout::URL_HEADING;
pub(super) use self::layout::{Found, Layout};
pub(super) use self::rows::{Cell, MAX_LINES_PER_ROW};
use self::rows::{Parsed, Row, Rows, cells_of};
use self::stray_quote::StrayQuote;
use super::line::ListLine;
use super::plain::{PlainText, check_cell};
use super::record::Record;
use super::{Content, Entry, Ignored};

/// Turns lines into rows, and rows into records.
pub(super) struct Table {
    rows: Rows,
    /// The error says why no column is known to hold the URL.
    layout: Result<Layout, String>,
    /// The heading of the URL that the user names.
    url_field: Option<String>,
    /// The row of headings as text.
    raw_headings: Option<String>,
    /// The number of the line of headings; 0 without headings.
    headings_line: u64,
    /// The number of the first line that belongs to the table. Notes may stand above it.
    first_line: u64,
    /// Whether the user, tabs or quoted cells show where a URL ends. Otherwise what follows it must
    /// not look like a part of it.
    is_certain: bool,
    /// Whether the user says that each cell is a URL, whatever it contains.
    has_whole_cells: bool,
    /// Whether the last row was blank, so that another table may begin.
    is_after_blank: bool,
    /// How to read the URLs of a table of one column, which need no quotes.
    plain: PlainText,
}

/// An entry, and the number of lines that it spans.
pub(super) type SpannedEntry = (Entry, u64);

impl Table {
    /// Recognises a table by its first lines.
    pub(super) fn recognise(lines: &[ListLine], hints: Hints<'_>) -> Option<Self> {
        let Dialect { delimiter, layout, headings, first_line, is_certain } =
            dialect::recognise(lines, hints)?;
        let is_entry = |line: &&ListLine| !headings.iter().any(|row| row.number == line.number);
        let texts = lines.iter().filter(is_entry).map(|line| line.text.trim_matches('"'));
        Some(Self {
            rows: Rows::new(delimiter),
            layout,
            url_field: hints.url_field.map(str::to_lowercase),
            raw_headings: text_of(&headings),
            headings_line: headings.first().map_or(0, |line| line.number),
            first_line,
            is_certain,
            has_whole_cells: hints.is_table,
            is_after_blank: false,
            plain: PlainText::learn(texts),
        })
    }

    /// What was recognised, for people: how cells are separated, and where the URL is.
    pub(super) fn describe(&self) -> (String, String) {
        let dialect = match self.rows.delimiter() {
            Some('\t') => "CSV with tabs".to_owned(),
            Some(delimiter) => format!("CSV with {delimiter}"),
            None => "CSV with one column".to_owned(),
        };
        let columns = match &self.layout {
            Err(reason) => reason.clone(),
            Ok(layout) => describe_layout(layout),
        };
        (dialect, columns)
    }

    /// The row of headings of the last row, as text; `None` if there is none.
    pub(super) fn headings(&self) -> Option<&str> {
        self.raw_headings.as_deref()
    }

    pub(super) fn push(&mut self, line: ListLine) {
        self.rows.push(line);
    }

    /// The next row, if the lines so far hold a whole one.
    pub(super) fn next(&mut self) -> Option<SpannedEntry> {
        let parsed = self.rows.next()?;
        Some(self.entry(parsed))
    }

    /// The next entry after the last line. Call `next` again before this is called again.
    pub(super) fn finish(&mut self) -> Option<SpannedEntry> {
        let parsed = self.rows.finish()?;
        Some(self.entry(parsed))
    }

    fn entry(&mut self, parsed: Parsed) -> SpannedEntry {
        match parsed {
            Parsed::Invalid(line, reason) => {
                let (number, content) = (line.number, Content::Invalid(reason.to_owned()));
                (Entry { sitemap: None, line: number, raw: line.into_raw(), content }, 1)
            }
            Parsed::Row(mut row) => {
                let stray_quote = self.stray_quote(&row);
                if stray_quote == Some(StrayQuote::OpensFirstLine) {
                    self.rows.unread(row.lines.split_off(1));
                }
                let (line, lines) = (row.number(), row.lines.len() as u64);
                let content = match stray_quote {
                    Some(stray_quote) => Content::Invalid(stray_quote.reason().to_owned()),
                    None => self.content(&row),
                };
                (Entry { sitemap: None, line, raw: row.into_raw(), content }, lines)
            }
        }
    }

    /// Whether the row may be several ones.
    fn stray_quote(&self, row: &Row) -> Option<StrayQuote> {
        let layout = self.layout.as_ref().ok().filter(|_| row.number() > self.headings_line)?;
        StrayQuote::find(row, self.rows.delimiter()?, layout)
    }

    fn content(&mut self, row: &Row) -> Content {
        let is_after_blank = std::mem::replace(&mut self.is_after_blank, row.is_blank());
        if row.is_blank() {
            return Content::Ignored(Ignored::Blank);
        }
        if row.number() == 1 && declared_delimiter(&row.lines[0].text).is_some() {
            return Content::Ignored(Ignored::Headings);
        }
        if row.number() < self.first_line && is_note(&row.lines[0].text) {
            return Content::Ignored(Ignored::Comment);
        }
        if row.number() < self.headings_line {
            return Content::Invalid("the row stands above the headings".to_owned());
        }
        if row.number() == self.headings_line {
            return Content::Ignored(Ignored::Headings);
        }
        match self.record(row) {
            Ok(record) => Content::Record(record),
            Err(_) if self.begins_table(row, is_after_blank) => Content::Ignored(Ignored::Headings),
            Err(reason) => Content::Invalid(reason),
        }
    }

    fn record(&self, row: &Row) -> Result<Record, String> {
        let layout = self.layout.as_ref().map_err(String::clone)?;
        let url = layout.url_cell(&row.cells)?;
        ListLine::check_url(row.guess(), url.text.trim())?;
        // A cell that is quoted as a whole ends there, unless whole rows were quoted once more.
        let is_closed = url.is_quoted && (self.is_certain || layout.has_headings());
        let delimiter = self.rows.delimiter();
        if let Some(delimiter) = delimiter
            && !self.is_certain
            && may_be_divided(url, &row.cells[layout.url_column() + 1..])
        {
            return Err(format!(
                "it is not clear where the URL ends: `{delimiter}` may be a part of it; quote the \
                 cells, or say --format csv or --format text"
            ));
        }
        if delimiter.is_none() && !is_closed {
            return self.plain.parse(url.text.trim());
        }
        let record = layout.record(&row.cells)?;
        if !self.has_whole_cells {
            // A cell is quoted since it holds the delimiter.
            check_cell(&url.text, |c| url.is_quoted && delimiter.is_none_or(|own| own == c))?;
        }
        Ok(record)
    }

    /// Whether the row is one of headings, below which another table begins.
    fn begins_table(&mut self, row: &Row, is_after_blank: bool) -> bool {
        let [line] = &row.lines[..] else { return false };
        let current = self.layout.as_ref().ok();
        let heading = self
            .url_field
            .as_deref()
            .or_else(|| current.and_then(Layout::url_heading))
            .unwrap_or(URL_HEADING);
        // Behind a blank row, the headings may be others.
        let may_be_other = is_after_blank && !line.text.contains("://");
        let delimiters = [Some('\t'), Some(';'), Some(','), Some('|'), None];
        let found = delimiters.into_iter().find_map(|delimiter| {
            let cells = cells_of(&line.text, delimiter)?;
            let known = || Layout::with_known_heading(&cells).filter(|_| may_be_other);
            Some((delimiter, Layout::named(&cells, heading).or_else(known)?))
        });
        let Some((delimiter, layout)) = found else { return false };
        if !may_be_other && current.is_some_and(|current| !layout.resembles(current)) {
            return false;
        }
        self.rows.set_delimiter(delimiter);
        self.layout = Ok(layout);
        self.is_certain |= delimiter == Some('\t');
        self.raw_headings = Some(line.text.clone());
        true
    }
}

/// Whether the cells behind a URL look like a part of it that delimiters have cut off.
fn may_be_divided(url: &Cell, behind: &[Cell]) -> bool {
    // Another URL stands for itself, and so do a media type and a condition of an analysis.
    let is_other = |text: &str| {
        begins_with_scheme(text)
            || ["text/", "application/"].iter().any(|start| text.starts_with(start))
            || text.trim_end_matches('=').contains("==")
    };
    let may_be_part = |cell: &&Cell| {
        let text = cell.text.trim();
        let is_cell = text.is_empty() || text.contains(char::is_whitespace) || is_other(text);
        !cell.is_quoted && !is_cell
    };
    let mut parts = behind.iter().take_while(may_be_part);
    !url.is_quoted && parts.any(|part| may_continue_url(url.text.trim(), part.text.trim()))
}

/// Where the URLs of a table are, for people.
pub(super) fn describe_layout(layout: &Layout) -> String {
    let number = layout.url_column() + 1;
    let heading = match layout.url_heading() {
        Some(heading) => format!(" \"{heading}\""),
        None => String::new(),
    };
    let columns = match layout.width() {
        1 => "1 column".to_owned(),
        width => format!("{width} columns"),
    };
    let note = if layout.has_headings() { "" } else { ", no headings" };
    format!("URL in column {number}{heading}, {columns}{note}")
}

/// The text of a row; `None` if it has no lines.
fn text_of(lines: &[ListLine]) -> Option<String> {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        text.push_str(&line.text);
        text.push_str(if index + 1 < lines.len() { line.end.as_str() } else { "" });
    }
    (!lines.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
