//! Text tables.

use std::time::Duration;

use time::OffsetDateTime;

/// Aligned columns under their headings, one line per row; empty if there are no rows.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = std::iter::once(headings.map(str::to_owned))
        .chain(rows)
        .map(|row| row.map(printable))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The cell, or a dash if there is none.
pub(crate) fn or_dash(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), |cell| cell.to_string())
}

/// Formats a duration by its two largest units: `3days 4h`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let whole = Duration::from_secs(duration.as_secs());
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Formats a time to the second.
pub(crate) fn format_time(at: OffsetDateTime) -> String {
    let (date, time) = (at.date(), at.time());
    format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// Replaces control characters: text from elsewhere may hold escape sequences of a terminal.
pub(crate) fn printable(text: String) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_hold_no_escape_sequences() {
        let rows = vec![
            ["long cell".to_owned(), or_dash(None::<u8>)],
            ["\u{1b}[31m".to_owned(), or_dash(Some(5))],
        ];
        assert_eq!(table(["a", "b"], rows), "a          b\nlong cell  -\n\u{fffd}[31m      5\n");
        assert_eq!(table(["a"], Vec::new()), "");
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (7_384, "2h 3m"), (180_061, "2days 2h")] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
    }
}
