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

/// The text without white space and invisible characters around it. A joiner at its end stays: some
/// scripts need it.
pub(super) fn trimmed(text: &str) -> &str {
    let is_joiner = |c| matches!(c, '\u{200c}' | '\u{200d}');
    text.trim_start_matches(is_padding).trim_end_matches(|c| is_padding(c) && !is_joiner(c))
}

/// Whether a text ends like the name of a file, such as `green tea.jpg`.
pub(super) fn is_file_name(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(name, extension)| {
        !name.ends_with(char::is_whitespace)
            && (2..=5).contains(&extension.len())
            && extension.starts_with(|c: char| c.is_ascii_alphabetic())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
