//! The entries of a source: URLs with their options, in any of the formats.

mod record;
mod url_text;
mod format;
mod line;
mod plain;
mod table;
mod list;
mod sitemap;
mod workbook;
mod reader;

use std::sync::Arc;

pub use format::Format;
pub(crate) use reader::{Entries, ReadOptions};
pub use record::MAX_PRIORITY;
pub(crate) use record::Record;
#[cfg(test)]
pub(crate) use record::parse_url;
pub(crate) use sitemap::{Postponed, SitemapReader};

/// One or more lines of a source that belong together.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The masked URL of the sitemap that holds the entry; `None` for the source itself.
    pub(crate) sitemap: Option<Arc<str>>,
    /// The number of the first line, from 1.
    pub(crate) line: u64,
    /// The entry as it was given, without its line end.
    pub(crate) raw: Vec<u8>,
    pub(crate) content: Content,
}

/// What an entry holds.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every entry is a record; boxing each would cost more"
)]
pub(crate) enum Content {
    Record(Record),
    /// The entry holds no request.
    Ignored(Ignored),
    /// The entry is invalid, for this reason.
    Invalid(String),
}

/// Why an entry holds no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    Blank,
    /// A line of a text list that begins with `#`.
    Comment,
    /// A row of headings, or a line that declares a delimiter.
    Headings,
}

impl From<Result<Record, String>> for Content {
    fn from(result: Result<Record, String>) -> Self {
        result.map_or_else(Self::Invalid, Self::Record)
    }
}

/// The content of an entry in one line: `#` and a letter for an ignored one.
#[cfg(test)]
pub(crate) fn describe(content: Content) -> String {
    match content {
        Content::Record(record) => {
            let category = record.request.category.map(|category| format!(" {category}"));
            format!("{}{}", record.request.address.as_str(), category.unwrap_or_default())
        }
        Content::Ignored(Ignored::Blank) => "#b".to_owned(),
        Content::Ignored(Ignored::Comment) => "#c".to_owned(),
        Content::Ignored(Ignored::Headings) => "#h".to_owned(),
        Content::Invalid(reason) => format!("invalid: {reason}"),
    }
}
