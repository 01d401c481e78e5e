//! Formats of lists, and what they ignore.

use fetchline_queue::is_padding;

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Format {
    /// Recognised by the extension and the first lines.
    #[default]
    Auto,
    /// One URL per line, whatever the line contains. Blank lines and lines that begin with `#` are
    /// ignored.
    Text,
    /// Cells that are separated by commas, semicolons, tabs or bars, with or without a row of
    /// headings.
    Csv,
    /// One JSON object per line, with the fields of a message, or one JSON array of objects or
    /// URLs.
    Jsonl,
    /// An Excel workbook, of which the first sheet with URLs is read.
    Xlsx,
    /// A sitemap, or an index of sitemaps, which are fetched.
    Sitemap,
}

/// The text without white space and invisible characters around it.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(is_padding)
}

/// Whether a trimmed line of a text list is a comment.
pub(super) fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}
