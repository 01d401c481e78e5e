//! Quotes that no CSV writer has written, such as that of inches.
//!
//! A quote at the beginning of a cell opens it, up to the next quote. If that stands in another
//! row, the rows between are taken for text of this cell.

use fetchline_queue::begins_with_scheme;

use super::layout::Layout;
use super::rows::Row;

/// What a quote may have made of several rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrayQuote {
    /// The first line is a whole row. The lines after it can be read without it.
    OpensFirstLine,
    /// Another line inside a cell is a whole row.
    HidesRows,
}

impl StrayQuote {
    /// Looks for rows in the cells of one that takes several lines.
    pub(super) fn find(row: &Row, delimiter: char, layout: &Layout) -> Option<Self> {
        let (width, url_column) = (layout.width(), layout.url_column());
        if row.lines.len() < 2 || width < 2 {
            return None;
        }
        let mut hides_rows = false;
        for (column, cell) in row.cells.iter().enumerate().filter(|(_, cell)| cell.is_quoted) {
            // A line end at the end of a cell was typed: nothing stands below it.
            let lines: Vec<&str> = cell.text.trim_end().split(['\n', '\r']).collect();
            let last = lines.len() - 1;
            for (index, line) in lines.into_iter().enumerate().filter(|_| last > 0) {
                // The cells before the first line, and those behind the last one.
                let before = if index == 0 { column } else { 0 };
                let behind = if index == last { row.cells.len() - column - 1 } else { 0 };
                let parts: Vec<&str> = line.split(delimiter).collect();
                let url = url_column.checked_sub(before).and_then(|part| parts.get(part));
                if before + parts.len() + behind < width
                    || !url.is_some_and(|url| begins_with_scheme(url))
                {
                    continue;
                }
                // Cells of one line that are quoted stand before this one.
                let is_first_line = index == 0 && row.cells[..column].iter().all(is_one_line);
                if is_first_line {
                    return Some(Self::OpensFirstLine);
                }
                hides_rows = true;
            }
        }
        hides_rows.then_some(Self::HidesRows)
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::OpensFirstLine => {
                "a quote opens a cell that seems to hold the next row; double it inside a quoted \
                 cell, or remove it"
            }
            Self::HidesRows => {
                "a cell with several lines seems to hold other rows; close its quote, or double it \
                 inside a quoted cell"
            }
        }
    }
}

fn is_one_line(cell: &super::rows::Cell) -> bool {
    !cell.text.contains(['\n', '\r'])
}
