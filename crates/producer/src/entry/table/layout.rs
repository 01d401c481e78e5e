//! Which cells of a row mean what.

use fetchline_queue::begins_with_scheme;

use super::super::record::{self, Fields, Record};
use super::rows::Cell;

/// The default heading of the URL.
const URL_HEADING: &str = "url";
/// Headings of the URL in exports that hold other URLs as well, such as those of images. The first
/// one counts. `_` and `-` are read as spaces.
const KNOWN_HEADINGS: [&str; 12] = [
    "url",
    "link",
    "loc",
    "address",
    "permalink",
    "product url",
    "page url",
    "external url",
    "landing page",
    "page",
    "href",
    "uri",
];
/// Rows above the headings, at most: exports begin with a title, a date, or a note.
const MAX_ROWS_ABOVE_HEADINGS: usize = 20;

/// The columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Layout {
    /// In lower case; empty if the table has none.
    headings: Vec<String>,
    url_column: usize,
    width: usize,
}

/// A layout that rows show.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Found {
    /// The second value is the index of the row of headings, if there is one.
    Layout(Layout, Option<usize>),
    /// Several columns may hold the URL, for this reason.
    Ambiguous(String),
    Nothing,
}

/// The text of a cell, in the form in which headings are compared.
fn heading(cell: &Cell) -> String {
    trimmed(&cell.text).to_lowercase()
}

/// A heading with spaces between its words.
fn spaced(heading: &str) -> String {
    heading.replace(['_', '-'], " ")
}

fn trimmed(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// Whether a cell is a URL that could be published.
pub(super) fn is_url(cell: &Cell) -> bool {
    begins_with_scheme(&cell.text)
        && !has_foreign_quote(cell)
        && record::parse_url(&cell.text).is_ok()
}

/// Whether a quote in a cell may be that of another cell. In a quoted cell each quote is doubled
/// (RFC 4180, 2.7), so it is a part of the text, unless a whole row was quoted once more.
fn has_foreign_quote(cell: &Cell) -> bool {
    let is_separator = |c: char| matches!(c, ',' | ';' | '|' | '\t');
    let separates = |(start, quote): (usize, &str)| {
        cell.text[..start].ends_with(is_separator)
            || cell.text[start + quote.len()..].starts_with(is_separator)
    };
    let mut quotes = cell.text.match_indices('"');
    if cell.is_quoted { quotes.any(separates) } else { quotes.next().is_some() }
}

/// Whether a cell is a URL or contains one.
fn has_url(cell: &Cell) -> bool {
    cell.text.contains("://")
}

impl Layout {
    /// Finds the layout in the first rows: by a heading, else by what the columns hold.
    pub(in super::super) fn find(rows: &[&[Cell]], url_field: Option<&str>) -> Found {
        let wanted = url_field.unwrap_or(URL_HEADING).to_lowercase();
        for (index, row) in rows.iter().take(MAX_ROWS_ABOVE_HEADINGS).enumerate() {
            if let Some(layout) = Self::of_headings(row, &wanted) {
                return Found::Layout(layout, Some(index));
            }
            if row.iter().any(is_url) {
                break;
            }
        }
        match url_field.map(str::parse::<usize>) {
            None => Self::find_by_content(rows),
            Some(Ok(number)) if number > 0 => Self::of_column(rows, number - 1),
            Some(_) => Found::Nothing,
        }
    }

    /// The layout of a table with this row of headings; `None` if none of them is `wanted`.
    pub(super) fn of_headings(row: &[Cell], wanted: &str) -> Option<Self> {
        let mut headings: Vec<String> = row.iter().map(heading).collect();
        let url_column = headings.iter().position(|heading| heading == wanted)?;
        // Spreadsheets add empty columns at the end.
        let width = headings.iter().rposition(|heading| !heading.is_empty())? + 1;
        headings.truncate(width);
        Some(Self { headings, url_column, width })
    }

    /// A table without headings, of which the user names the column.
    fn of_column(rows: &[&[Cell]], url_column: usize) -> Found {
        match common_width(rows) {
            Some(width) if url_column < width => {
                Found::Layout(Self { headings: Vec::new(), url_column, width }, None)
            }
            _ => Found::Nothing,
        }
    }

    fn find_by_content(rows: &[&[Cell]]) -> Found {
        let Some(width) = common_width(rows) else { return Found::Nothing };
        let is_whole = |row: &&&[Cell]| row.len() == width;
        let Some(first) = rows.iter().position(|row| row.len() == width) else {
            return Found::Nothing;
        };
        // A title or a note may stand above the table, but no row with a URL.
        if rows[..first].iter().any(|row| row.iter().any(has_url)) {
            return Found::Nothing;
        }
        let Some(body) = rows.iter().position(|row| row.iter().any(has_url)) else {
            return Found::Nothing;
        };
        let url_columns: Vec<usize> = (0..width)
            .filter(|&column| {
                let cells = rows[body..].iter().filter(is_whole).map(|row| &row[column]);
                let cells: Vec<_> = cells.filter(|cell| !cell.text.trim().is_empty()).collect();
                let urls = cells.iter().filter(|cell| is_url(cell)).count();
                urls > 0 && 2 * urls >= cells.len()
            })
            .collect();
        // Headings name a column of URLs. Another row is a title, or an entry without a URL.
        let names = |row: &[Cell], column: usize| !row[column].text.trim().is_empty();
        let headings_row = (first..body).find(|&index| {
            let row = rows[index];
            row.len() == width && url_columns.iter().any(|&column| names(row, column))
        });
        let headings: Vec<String> = match headings_row {
            Some(index) => rows[index].iter().map(heading).collect(),
            None => Vec::new(),
        };
        let url_columns: Vec<usize> = url_columns
            .into_iter()
            .filter(|&column| headings_row.is_none_or(|index| names(rows[index], column)))
            .collect();
        let known = KNOWN_HEADINGS.iter().find_map(|known| {
            let is_known = |column: &&usize| {
                headings.get(**column).is_some_and(|heading| spaced(heading) == *known)
            };
            url_columns.iter().find(is_known)
        });
        match (&url_columns[..], known) {
            ([], _) => Found::Nothing,
            (&[url_column], _) | (_, Some(&url_column)) => {
                Found::Layout(Self { headings, url_column, width }, headings_row)
            }
            _ => Found::Ambiguous(ambiguous(&url_columns, &headings)),
        }
    }

    pub(super) fn has_headings(&self) -> bool {
        !self.headings.is_empty()
    }

    /// Whether the heading of the URL is one that people use for it.
    pub(super) fn has_known_heading(&self) -> bool {
        self.url_heading().is_some_and(|heading| KNOWN_HEADINGS.contains(&&*spaced(heading)))
    }

    pub(super) fn url_column(&self) -> usize {
        self.url_column
    }

    pub(in super::super) fn width(&self) -> usize {
        self.width
    }

    /// The heading of the URL.
    pub(super) fn url_heading(&self) -> Option<&str> {
        self.headings.get(self.url_column).map(String::as_str)
    }

    /// Whether this is a row of headings, not a row with a cell that happens to equal a heading.
    pub(super) fn resembles(&self, previous: &Self) -> bool {
        self.url_column == previous.url_column
            || self.headings.iter().enumerate().any(|(column, heading)| {
                column != self.url_column
                    && !heading.is_empty()
                    && previous.headings.contains(heading)
            })
    }

    /// The cell of the URL. A row with another number of cells may have a URL that is divided, so
    /// it is refused; only empty cells may be missing at its end.
    pub(super) fn url_cell<'a>(&self, cells: &'a [Cell]) -> Result<&'a Cell, String> {
        let extra = cells.get(self.width..).unwrap_or_default();
        if cells.len() < self.width || extra.iter().any(|cell| !cell.text.trim().is_empty()) {
            let other = if self.has_headings() { "headings" } else { "the rows above" };
            return Err(format!(
                "the row has a different number of cells ({}) than {other} ({}); quote a cell \
                 that contains a delimiter",
                cells.len(),
                self.width
            ));
        }
        let url = &cells[self.url_column];
        match has_foreign_quote(url) {
            true => Err("the URL contains a quote, which may be that of another cell".to_owned()),
            false => Ok(url),
        }
    }

    /// The record of a row.
    pub(in super::super) fn record(&self, cells: &[Cell]) -> Result<Record, String> {
        let url = self.url_cell(cells)?;
        if !self.has_headings() {
            return record::parse_url(trimmed(&url.text));
        }
        let others = self.headings.iter().zip(cells).enumerate();
        let others = others
            .filter(|(column, _)| *column != self.url_column)
            .map(|(_, (heading, cell))| (heading.as_str(), cell.text.as_str()));
        Fields::from_cells(trimmed(&url.text), others).into_record(URL_HEADING)
    }
}

/// The number of cells that most rows have; the larger one of two.
pub(super) fn common_width(rows: &[&[Cell]]) -> Option<usize> {
    let count = |width: usize| rows.iter().filter(|row| row.len() == width).count();
    rows.iter().map(|row| row.len()).max_by_key(|&width| (count(width), width))
}

fn ambiguous(url_columns: &[usize], headings: &[String]) -> String {
    let name = |column: &usize| match headings.get(*column) {
        Some(heading) => format!("{} \"{heading}\"", column + 1),
        None => (column + 1).to_string(),
    };
    let names: Vec<String> = url_columns.iter().map(name).collect();
    format!(
        "the columns {} hold URLs; name one with --url-field, by its heading or number",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(row: &str) -> Vec<Cell> {
        let cell = |text: &str| Cell { text: text.to_owned(), is_quoted: false };
        row.split('|').map(cell).collect()
    }

    fn find(rows: &[&str], url_field: Option<&str>) -> Found {
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row)).collect();
        let rows: Vec<&[Cell]> = rows.iter().map(Vec::as_slice).collect();
        Layout::find(&rows, url_field)
    }

    /// The column of the URL and the row of headings.
    fn place(rows: &[&str], url_field: Option<&str>) -> Option<(usize, Option<usize>)> {
        match find(rows, url_field) {
            Found::Layout(layout, headings) => Some((layout.url_column, headings)),
            _ => None,
        }
    }

    #[test]
    fn the_column_is_found_by_its_heading() {
        assert_eq!(place(&["Name|URL", "Tea|nowhere"], None), Some((1, Some(0))));
        assert_eq!(place(&["Report", "", "sku|Link"], Some("link")), Some((1, Some(2))));
        assert_eq!(place(&["sku|Link", "1|https://a.example/"], Some("target")), None);
        // Rows with URLs are no title above the headings.
        assert_eq!(place(&["x|https://a.example/1", "name|url"], None), Some((1, None)));
    }

    #[test]
    fn the_column_is_found_by_its_content() {
        let rows = ["Top pages|Clicks", "https://a.example/|7", "https://a.example/1|"];
        assert_eq!(place(&rows, None), Some((0, Some(0))));
        assert_eq!(place(&rows[1..], None), Some((0, None)));
        assert_eq!(place(&["x|https://a.example/", "y|", "z|nowhere"], None), Some((1, None)));
        assert_eq!(place(&["name|sku", "Tea|1"], None), None);
    }

    #[test]
    fn a_row_without_a_url_is_no_row_of_headings() {
        let rows = ["Tea|", "Pot|https://a.example/2", "Cup|https://a.example/3"];
        assert_eq!(place(&rows, None), Some((1, None)));
        assert_eq!(place(&["||Tea", "||Jam", "https://a.example/|x|Pot"], None), Some((0, None)));
        // A title that a spreadsheet has made as wide as the table.
        let rows = ["Report||", "Name|Link|Kind", "Tea|https://a.example/1|x"];
        assert_eq!(place(&rows, None), Some((1, Some(1))));
        let rows = ["Name|Link", "Tea|", "Jam|", "Pot|https://a.example/3"];
        assert_eq!(place(&rows, None), Some((1, Some(0))));
        let Found::Layout(layout, None) = find(&["Tea|", "Pot|https://a.example/2"], None) else {
            panic!()
        };
        assert!(layout.record(&cells("Tea|")).is_err());
    }

    #[test]
    fn of_several_columns_with_urls_the_known_heading_counts_and_else_none() {
        let row = "https://img.example/1|https://a.example/1";
        assert_eq!(place(&["image_link|Link", row], None), Some((1, Some(0))));
        assert_eq!(place(&[row], Some("2")), Some((1, None)));
        let Found::Ambiguous(reason) = find(&["front|back", row], None) else { panic!() };
        assert!(reason.contains("1 \"front\", 2 \"back\""), "{reason}");
        assert!(matches!(find(&[row], None), Found::Ambiguous(_)));
    }

    #[test]
    fn a_row_of_another_length_is_refused_unless_the_rest_is_empty() {
        let Found::Layout(layout, _) = find(&["url|name|", "https://a.example/|Tea|"], None) else {
            panic!()
        };
        assert!(layout.record(&cells("https://a.example/|Tea")).is_ok());
        assert!(layout.record(&cells("https://a.example/|Tea||")).is_ok());
        for row in ["https://a.example/", "https://a.example/|Tea|x"] {
            let reason = layout.record(&cells(row)).unwrap_err();
            assert!(reason.contains("different number of cells"), "{reason}");
        }
    }
}
