//! Formats of lists, and what they ignore.

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Format {
    /// Recognised by the extension, else by the first line.
    #[default]
    Auto,
    /// One URL per line. Blank lines and lines that begin with `#` are ignored.
    Text,
    /// Separated by commas, semicolons or tabs, with or without a row of headings.
    Csv,
    /// One JSON object per line, with the fields of a message.
    Jsonl,
    /// A sitemap, or an index of sitemaps, which are fetched.
    Sitemap,
}

/// The text without surrounding white space and without a byte-order mark.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// Whether a line is blank or a comment.
pub(super) fn is_ignored(line: &str) -> bool {
    let line = trimmed(line);
    line.is_empty() || line.starts_with('#')
}
