//! Which cells of a row mean what.

use fetchline_queue::begins_with_scheme;

use super::super::format::trimmed;
use super::super::record::{self, Fields, Record};
use super::rows::Cell;

/// The default heading of the URL.
pub(super) const URL_HEADING: &str = "url";
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
/// Words of headings of pictures: what they name is a URL, but no page.
const PICTURES: [&str; 8] =
    ["image", "images", "img", "picture", "photo", "foto", "bild", "thumbnail"];
/// Headings of sitemaps. Their priority is another one than that of a task.
const SITEMAP_HEADINGS: [&str; 3] = ["loc", "lastmod", "changefreq"];
/// Rows above the headings, at most: exports begin with a title, a date, or a note.
const MAX_ROWS_ABOVE_HEADINGS: usize = 20;

/// The columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Layout {
    /// In lower case; empty if the table has none.
    headings: Vec<String>,
    url_column: usize,
    /// The cells of a row, without empty columns at its end, which spreadsheets add.
    width: usize,
    /// The cells of a row, with these columns.
    span: usize,
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

/// Whether a cell is a URL that could be published.
pub(super) fn is_url(cell: &Cell) -> bool {
    begins_with_scheme(&cell.text)
        && !has_foreign_quote(cell)
        && record::parse_certain_url(&cell.text).is_ok()
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

/// The headings of a row in lower case, without empty ones at its end.
fn headings_of(row: &[Cell]) -> Vec<String> {
    let mut headings: Vec<String> = row.iter().map(heading).collect();
    let width = headings.iter().rposition(|heading| !heading.is_empty()).map_or(0, |last| last + 1);
    headings.truncate(width);
    headings
}

/// The columns with a heading. One that is empty names none. A row with a URL is no row of
/// headings, whatever else it holds.
fn columns_with(row: &[Cell], is_wanted: impl Fn(&str) -> bool) -> Vec<usize> {
    let is_named = |heading: &str| !heading.is_empty() && is_wanted(heading);
    let is_heading = |&column: &usize| is_named(&heading(&row[column]));
    let columns: Vec<usize> = (0..row.len()).filter(is_heading).collect();
    if columns.is_empty() || row.iter().any(is_url) { Vec::new() } else { columns }
}

/// Whether a row of headings names a column.
fn names(row: &[Cell], column: usize) -> bool {
    row.get(column).is_some_and(|cell| !trimmed(&cell.text).is_empty())
}

/// Whether a row above a table is a sentence with a delimiter in it, such as `Products, week 12`:
/// the cells of the table have no spaces before them.
fn is_title(row: &[Cell], table: &[&[Cell]]) -> bool {
    let is_spaced = |cell: &Cell| !cell.is_quoted && cell.text.trim_start() != cell.text;
    let has_spaces = |row: &[Cell]| row.iter().skip(1).any(is_spaced);
    let is_known = |cell: &Cell| KNOWN_HEADINGS.contains(&&*spaced(&heading(cell)));
    has_spaces(row) && !table.iter().any(|row| has_spaces(row)) && !row.iter().any(is_known)
}

/// Whether a heading is that of pictures.
fn is_picture(heading: &str) -> bool {
    let mut words = heading.split(|c: char| !c.is_alphabetic());
    let is_picture = |word: &str| {
        PICTURES.iter().any(|name| {
            word.strip_prefix(name).is_some_and(|rest| matches!(rest, "" | "s" | "url" | "link"))
        })
    };
    words.any(is_picture)
}

/// The columns that hold URLs in these rows.
fn url_columns(rows: &[&[Cell]], width: usize) -> Vec<usize> {
    let holds_urls = |&column: &usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells: Vec<&Cell> = cells.filter(|cell| !cell.text.trim().is_empty()).collect();
        let urls = cells.iter().filter(|cell| is_url(cell)).count();
        urls > 0 && 2 * urls >= cells.len()
    };
    (0..width).filter(holds_urls).collect()
}

/// Whether a cell is a URL or contains one.
fn has_url(cell: &Cell) -> bool {
    cell.text.contains("://")
}

impl Layout {
    /// Finds the layout in the first rows: by a heading, else by what the columns hold.
    pub(in super::super) fn find(rows: &[&[Cell]], url_field: Option<&str>) -> Found {
        let found = Self::find_column(rows, url_field);
        if let Found::Layout(layout, _) = &found
            && url_field.is_none()
            && let Some(paths) = layout.column_of_paths(rows)
        {
            return Found::Ambiguous(format!(
                "the column {} holds sites, and the column {} paths on them; join the two, or name \
                 one with --url-field",
                layout.url_column + 1,
                paths + 1
            ));
        }
        found
    }

    fn find_column(rows: &[&[Cell]], url_field: Option<&str>) -> Found {
        let wanted = url_field.unwrap_or(URL_HEADING).to_lowercase();
        for (index, row) in rows.iter().take(MAX_ROWS_ABOVE_HEADINGS).enumerate() {
            let mut columns = columns_with(row, |heading| heading == wanted);
            if columns.len() > 1 {
                let holds_url = |row: &&[Cell], column| row.get(column).is_some_and(is_url);
                let is_used = |&column: &usize| rows.iter().any(|row| holds_url(row, column));
                let used: Vec<usize> = columns.iter().copied().filter(is_used).collect();
                columns = if used.len() == 1 { used } else { columns };
            }
            match columns[..] {
                [] => {}
                [column] => return Found::Layout(Self::of_headings(row, column), Some(index)),
                _ => return Found::Ambiguous(ambiguous(&columns, &headings_of(row))),
            }
            if row.iter().any(is_url) {
                break;
            }
        }
        match url_field.map(str::parse::<usize>) {
            None => match Self::find_by_content(rows, None) {
                // Few rows have a URL, as the heading shows.
                Found::Nothing => match Self::find_by_known_heading(rows) {
                    Found::Layout(layout, index) if rows.iter().any(|row| layout.has_url(row)) => {
                        Found::Layout(layout, index)
                    }
                    _ => Found::Nothing,
                },
                found => found,
            },
            Some(Ok(number)) if number > 0 => Self::find_by_content(rows, Some(number - 1)),
            Some(_) => Found::Nothing,
        }
    }

    /// The layout of a table with this row of headings; `None` unless one of them is `wanted`.
    pub(super) fn named(row: &[Cell], wanted: &str) -> Option<Self> {
        match columns_with(row, |heading| heading == wanted)[..] {
            [column] => Some(Self::of_headings(row, column)),
            _ => None,
        }
    }

    /// The layout of a table with this row of headings, if one of them is usual.
    pub(super) fn with_known_heading(row: &[Cell]) -> Option<Self> {
        let columns = |known: &&str| columns_with(row, |heading| spaced(heading) == **known);
        let columns = KNOWN_HEADINGS.iter().map(columns).find(|columns| !columns.is_empty())?;
        let [column] = columns[..] else { return None };
        Some(Self::of_headings(row, column))
    }

    fn of_headings(row: &[Cell], url_column: usize) -> Self {
        let (headings, span) = (headings_of(row), row.len());
        Self { url_column, width: headings.len(), span, headings }
    }

    fn without_headings(url_column: usize, width: usize) -> Self {
        Self { headings: Vec::new(), url_column, width, span: width }
    }

    /// Finds the layout by the columns that hold URLs, or by the one that the user names.
    fn find_by_content(rows: &[&[Cell]], named: Option<usize>) -> Found {
        let Some(width) = common_width(rows) else { return Found::Nothing };
        let is_whole = |row: &&[Cell]| row.len() == width;
        let has_url = |row: &&[Cell]| row.iter().any(has_url);
        let Some(body) = rows.iter().position(|row| is_whole(row) && has_url(row)) else {
            return match named {
                Some(column) if column < width => {
                    Found::Layout(Self::without_headings(column, width), None)
                }
                None if !rows.iter().any(has_url) => Self::find_by_known_heading(rows),
                _ => Found::Nothing,
            };
        };
        let columns = |width: usize, rows: &[&[Cell]]| match named {
            Some(column) => (column < width).then_some(column).into_iter().collect(),
            None => url_columns(rows, width),
        };
        let whole: Vec<&[Cell]> = rows[body..].iter().copied().filter(|r| is_whole(r)).collect();
        let url_columns = columns(width, &whole);
        let may_name = |row: &[Cell], columns: &[usize]| {
            columns.iter().any(|&column| names(row, column)) && !is_title(row, &rows[body..])
        };
        // Headings name a column of URLs. Another row is a title, or an entry without a URL.
        let is_headings =
            |&index: &usize| is_whole(&rows[index]) && may_name(rows[index], &url_columns);
        if let Some(index) = (0..body).find(is_headings) {
            return Self::choose(url_columns, named.is_some(), width, Some((index, rows[index])));
        }
        // Rows with more cells than headings have URLs that are divided.
        let first = rows.iter().position(has_url).unwrap_or(body);
        if let Some(index) = first.checked_sub(1) {
            let narrow = headings_of(rows[index]).len();
            let columns = columns(narrow, &rows[first..]);
            if (2..width).contains(&narrow) && may_name(rows[index], &columns) {
                return Self::choose(columns, named.is_some(), narrow, Some((index, rows[index])));
            }
        }
        let width = match (named, &url_columns[..]) {
            (None, &[column]) => safe_width(rows, column, width),
            _ => width,
        };
        Self::choose(url_columns, named.is_some(), width, None)
    }

    /// The layout of a table that has its URLs in one of these columns.
    fn choose(
        mut url_columns: Vec<usize>,
        is_named: bool,
        width: usize,
        headings: Option<(usize, &[Cell])>,
    ) -> Found {
        let Some((index, row)) = headings else {
            return match url_columns[..] {
                [] => Found::Nothing,
                [column] => Found::Layout(Self::without_headings(column, width), None),
                _ => Found::Ambiguous(ambiguous(&url_columns, &[])),
            };
        };
        url_columns.retain(|&column| names(row, column));
        let headings = headings_of(row);
        let known = KNOWN_HEADINGS.iter().find_map(|known| {
            let is_known = |column: &usize| spaced(&headings[*column]) == *known;
            let columns: Vec<usize> = url_columns.iter().copied().filter(is_known).collect();
            (!columns.is_empty()).then_some(columns)
        });
        let has_known = known.is_some();
        match known.unwrap_or(url_columns)[..] {
            [] => Found::Nothing,
            [column] if !has_known && !is_named && is_picture(&headings[column]) => {
                Found::Ambiguous(format!(
                    "only the column {} \"{}\" holds URLs, which may be those of pictures; name it \
                     with --url-field if they are meant",
                    column + 1,
                    headings[column]
                ))
            }
            [column] => Found::Layout(Self::of_headings(row, column), Some(index)),
            ref columns => Found::Ambiguous(ambiguous(columns, &headings)),
        }
    }

    /// Finds the layout of a list whose first rows hold no URL, by a heading that people use.
    fn find_by_known_heading(rows: &[&[Cell]]) -> Found {
        let rows = rows.iter().take(MAX_ROWS_ABOVE_HEADINGS).enumerate();
        let found = rows.into_iter().find_map(|(index, row)| {
            Some(Found::Layout(Self::with_known_heading(row)?, Some(index)))
        });
        found.unwrap_or(Found::Nothing)
    }

    pub(super) fn has_headings(&self) -> bool {
        !self.headings.is_empty()
    }

    /// Whether the heading of the URL is one that people use for it.
    pub(in super::super) fn has_known_heading(&self) -> bool {
        self.url_heading().is_some_and(|heading| KNOWN_HEADINGS.contains(&&*spaced(heading)))
    }

    pub(super) fn url_column(&self) -> usize {
        self.url_column
    }

    pub(in super::super) fn width(&self) -> usize {
        self.width
    }

    /// The cells of a row, with empty columns at its end.
    pub(super) fn span(&self) -> usize {
        self.span
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

    /// Whether a row holds a URL in its column.
    pub(in super::super) fn has_url(&self, cells: &[Cell]) -> bool {
        cells.get(self.url_column).is_some_and(is_url)
    }

    /// The column of paths if the column of the URL holds sites alone, or one URL in all rows.
    fn column_of_paths(&self, rows: &[&[Cell]]) -> Option<usize> {
        let rows: Vec<&[Cell]> = rows.iter().copied().filter(|row| self.has_url(row)).collect();
        let url = |row: &&[Cell]| trimmed(&row[self.url_column].text).to_owned();
        let is_site = |row: &&[Cell]| url(row).split('/').skip(3).all(str::is_empty);
        let is_same = rows.len() > 1 && rows.iter().all(|row| url(row) == url(&rows[0]));
        let is_path = |text: &str| text.starts_with('/') && !text.starts_with("//");
        let are_paths = |column: &usize| {
            let has_path =
                |row: &&&[Cell]| row.get(*column).is_some_and(|cell| is_path(trimmed(&cell.text)));
            2 * rows.iter().filter(has_path).count() > rows.len()
        };
        (is_same || rows.iter().all(is_site)).then(|| (0..self.width).find(are_paths))?
    }

    /// The cell of the URL. A row with another number of cells may have a URL that is divided, so
    /// it is refused.
    pub(in super::super) fn url_cell<'a>(&self, cells: &'a [Cell]) -> Result<&'a Cell, String> {
        if !self.fits(cells) {
            let other = if self.has_headings() { "headings" } else { "the rows above" };
            return Err(format!(
                "the row has a different number of cells ({}) than {other} ({}); quote a cell \
                 that contains a delimiter",
                cells.len(),
                self.width
            ));
        }
        let url = &cells[self.url_column];
        match has_foreign_quote(url) && !url.text.starts_with('=') {
            true => Err("the URL contains a quote, which may be that of another cell".to_owned()),
            false => Ok(url),
        }
    }

    /// Whether a row has all cells, and none too many. An empty one at the end may be too many,
    /// unless it may be the last cell of a row that a divided URL has moved.
    fn fits(&self, cells: &[Cell]) -> bool {
        let is_blank = |cells: &[Cell]| cells.iter().all(|cell| cell.text.trim().is_empty());
        let Some((known, extra)) = cells.split_at_checked(self.width) else { return false };
        let is_sure = cells.len() <= self.span || known[self.url_column].is_quoted;
        is_blank(extra) && (is_sure || is_blank(&known[self.url_column + 1..]))
    }

    /// The record of a row.
    pub(in super::super) fn record(&self, cells: &[Cell]) -> Result<Record, String> {
        let url = self.url_cell(cells)?;
        if !self.has_headings() {
            return record::parse_url(trimmed(&url.text));
        }
        let is_sitemap = self.headings.iter().any(|h| SITEMAP_HEADINGS.contains(&h.as_str()));
        let others = self.headings.iter().zip(cells).enumerate();
        let others = others
            .filter(|(column, _)| *column != self.url_column)
            .filter(|(_, (heading, _))| !is_sitemap || *heading != "priority")
            .map(|(_, (heading, cell))| (heading.as_str(), cell.text.as_str()));
        Fields::from_cells(trimmed(&url.text), others)?.into_record(URL_HEADING)
    }
}

/// The number of cells that most rows have; the larger one of two.
pub(super) fn common_width(rows: &[&[Cell]]) -> Option<usize> {
    let count = |width: usize| rows.iter().filter(|row| row.len() == width).count();
    rows.iter().map(|row| row.len()).max_by_key(|&width| (count(width), width))
}

/// The number of cells of rows without headings. If many rows with a URL have fewer cells than
/// most, the others may have URLs that are divided.
fn safe_width(rows: &[&[Cell]], url_column: usize, width: usize) -> usize {
    let has_url = |row: &&&[Cell]| row.get(url_column).is_some_and(is_url);
    let narrower: Vec<&[Cell]> =
        rows.iter().filter(has_url).filter(|row| row.len() < width).copied().collect();
    if 4 * narrower.len() < rows.len() { width } else { common_width(&narrower).unwrap_or(width) }
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
        // Rows with URLs are no title above the headings, nor headings.
        assert_eq!(place(&["x|https://a.example/1", "name|url"], None), Some((1, None)));
        for word in ["url", "Link", "page"] {
            let rows = [format!("{word}|https://a.example/1"), "mail|a@a.example".to_owned()];
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            assert_eq!(place(&rows[..1], None), Some((1, None)));
            assert_eq!(place(&rows, None), Some((1, None)));
        }
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
    fn a_url_that_is_divided_over_columns_is_no_url() {
        for (rows, is_divided) in [
            (&["host|path", "https://a.example|/1", "https://a.example/|/"][..], true),
            (&["1|/tea|https://a.example", "2|/jam|https://b.example"], true),
            (&["base|slug", "https://a.example/x|/1", "https://a.example/x|/2"], true),
            (&["url|path", "https://a.example|/1?a=b"], true),
            (&["url|path", "https://a.example/1|/1", "https://a.example/2|/2"], false),
            (&["site|icon", "https://a.example|//a.example/i", "https://b.example|"], false),
            (&["page|next", "https://a.example/|/1", "https://a.example/1|/"], false),
        ] {
            assert_eq!(matches!(find(rows, None), Found::Ambiguous(_)), is_divided, "{rows:?}");
        }
        assert_eq!(place(&["host|path", "https://a.example|/1"], Some("host")), Some((0, Some(0))));
    }

    #[test]
    fn a_row_of_another_length_is_refused_unless_the_rest_is_empty() {
        let Found::Layout(layout, _) = find(&["url|name|", "https://a.example/|Tea|"], None) else {
            panic!()
        };
        assert!(layout.record(&cells("https://a.example/|Tea")).is_ok());
        assert!(layout.record(&cells("https://a.example/|Tea|")).is_ok());
        assert!(layout.record(&cells("https://a.example/|||")).is_ok());
        // With a cell too many, the name may be a part of the URL.
        for row in ["https://a.example/", "https://a.example/|Tea|x", "https://a.example/|Tea||"] {
            let reason = layout.record(&cells(row)).unwrap_err();
            assert!(reason.contains("different number of cells"), "{reason}");
        }
    }
}
