//! Lists of lines: text, CSV and JSON Lines.

use std::io;

use fetchline_queue::{MAX_MESSAGE_BYTES, MAX_URL_BYTES};
use tokio::io::BufReader;

use super::format::{Format, is_ignored, trimmed};
use super::record::{self, Fields};
use super::table::Table;
use super::{Content, Entry};
use crate::text::{Line, Lines, Text};

/// The default field of the URL.
const URL_FIELD: &str = "url";

/// Reads the entries of a list. `next` is cancel-safe.
pub(crate) struct List {
    lines: Lines,
    format: Format,
    extension: Option<String>,
    url_field: Option<String>,
    table: Option<Table>,
}

impl List {
    pub(super) fn new(
        text: BufReader<Text>,
        format: Format,
        extension: Option<String>,
        url_field: Option<String>,
    ) -> Self {
        // A line of JSON may hold headers and a body.
        let max_bytes = match format {
            Format::Text => 2 * MAX_URL_BYTES,
            Format::Auto | Format::Csv | Format::Jsonl | Format::Sitemap => MAX_MESSAGE_BYTES,
        };
        Self { lines: Lines::new(text, max_bytes), format, extension, url_field, table: None }
    }

    /// The row of headings above the last entry, as it was given; `None` if there is none.
    pub(super) fn headings(&self) -> Option<&str> {
        self.table.as_ref().and_then(Table::headings)
    }

    /// The next entry; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.table.as_mut().and_then(Table::next) {
                return Ok(Some(entry));
            }
            let Some(line) = self.lines.next().await? else {
                return Ok(self.table.as_mut().and_then(Table::finish));
            };
            let number = self.lines.number();
            let entry = |raw, content| Some(Entry { sitemap: None, line: number, raw, content });
            let raw = match line {
                Line::Whole(raw) => raw,
                Line::TooLong => {
                    let reason = format!("the line has more than {} bytes", self.lines.max_bytes());
                    return Ok(entry(Vec::new(), Content::Invalid(reason)));
                }
            };
            if self.format == Format::Auto {
                match recognise(self.extension.as_deref(), self.url_field.as_deref(), &raw) {
                    Some(format) => self.format = format,
                    None => return Ok(entry(raw, Content::Ignored)),
                }
            }
            if self.format == Format::Csv {
                let url_field = self.url_field.as_deref();
                self.table.get_or_insert_with(|| Table::new(url_field)).push_line(number, raw);
                continue;
            }
            let content = self.parse(&raw);
            return Ok(entry(raw, content));
        }
    }

    fn parse(&self, line: &[u8]) -> Content {
        let Ok(text) = std::str::from_utf8(line) else {
            return Content::Invalid("the line is not UTF-8 text".to_owned());
        };
        if is_ignored(text) {
            return Content::Ignored;
        }
        let text = trimmed(text);
        let record = match self.format {
            Format::Jsonl => Fields::parse_json(text).and_then(|fields| {
                fields.into_record(self.url_field.as_deref().unwrap_or(URL_FIELD))
            }),
            _ => record::parse_url(text),
        };
        record.into()
    }
}

/// Recognises the format of a list of lines by its extension, else by this line; `None` if the line
/// is blank or a comment.
fn recognise(extension: Option<&str>, url_field: Option<&str>, line: &[u8]) -> Option<Format> {
    match extension {
        Some("csv" | "tsv") => return Some(Format::Csv),
        Some("jsonl" | "ndjson") => return Some(Format::Jsonl),
        _ => {}
    }
    let text = String::from_utf8_lossy(line);
    let text = trimmed(&text);
    if is_ignored(text) {
        return None;
    }
    if text.starts_with('{') {
        return Some(Format::Jsonl);
    }
    // A URL may hold commas, but no heading is a URL.
    let has_headings = !text.contains("://") && Table::new(url_field).has_url_heading(text);
    Some(if has_headings { Format::Csv } else { Format::Text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_recognised_by_extension_or_first_line() {
        for (extension, line, format) in [
            (None, "https://a.example/?q=1,2", Some(Format::Text)),
            (None, "\u{feff}{\"url\":1}", Some(Format::Jsonl)),
            (None, "sku;URL;price", Some(Format::Csv)),
            (None, "url", Some(Format::Csv)),
            (None, " # note", None),
            (None, "", None),
            (Some("txt"), "nonsense", Some(Format::Text)),
            (Some("csv"), "https://a.example/", Some(Format::Csv)),
            (Some("ndjson"), "", Some(Format::Jsonl)),
        ] {
            let recognised = recognise(extension, None, line.as_bytes());
            assert_eq!(recognised, format, "{extension:?} {line}");
        }
        assert_eq!(recognise(None, Some("link"), b"name,Link"), Some(Format::Csv));
    }
}
