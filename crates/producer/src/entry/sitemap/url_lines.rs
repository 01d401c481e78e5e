//! Sitemaps that are lists of URLs, one per line.

use fetchline_queue::MAX_URL_BYTES;
use tokio::io::BufReader;

use super::document::DocumentError;
use super::location::Location;
use super::reference::is_absolute;
use crate::entry::format::{is_comment, trimmed};
use crate::text::{Line, Lines, Text};

/// Reads the locations of a text sitemap.
pub(super) struct UrlLines {
    lines: Lines,
    encoding: String,
    is_recognised: bool,
}

impl UrlLines {
    pub(super) fn new(text: BufReader<Text>, encoding: String) -> Self {
        Self { lines: Lines::new(text, 2 * MAX_URL_BYTES), encoding, is_recognised: false }
    }

    pub(super) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Whether a URL was found, so that it is a list of URLs.
    pub(super) fn is_recognised(&self) -> bool {
        self.is_recognised
    }

    /// The next location; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Location>, DocumentError> {
        loop {
            let Some(line) = self.lines.next().await? else {
                return match self.is_recognised {
                    true => Ok(None),
                    false => Err(invalid("not a sitemap: it is empty")),
                };
            };
            let line = match line {
                Line::Whole(line, _) => line,
                Line::TooLong if self.is_recognised => {
                    let reason = format!("the line has more than {} bytes", self.lines.max_bytes());
                    return Ok(Some(self.location(String::new(), Err(reason))));
                }
                Line::TooLong => return Err(invalid(NEITHER)),
            };
            // The text is decoded, so it is UTF-8.
            let text = String::from_utf8_lossy(&line);
            let given = trimmed(&text).to_owned();
            if given.is_empty() || is_comment(&given) {
                continue;
            }
            // Otherwise each line of any file would be a rejection of its own.
            if !self.is_recognised && !is_absolute(&given) {
                return Err(invalid(NEITHER));
            }
            self.is_recognised = true;
            let url = match given.contains('\u{fffd}') {
                true => Err(format!("the line holds bytes that are not valid {}", self.encoding)),
                false => Ok(given.clone()),
            };
            return Ok(Some(self.location(given, url)));
        }
    }

    fn location(&self, given: String, url: Result<String, String>) -> Location {
        Location { line: self.lines.number(), given, url, modified: None }
    }
}

const NEITHER: &str = "not a sitemap: it is neither XML nor a list of URLs";

fn invalid(reason: &str) -> DocumentError {
    DocumentError::Invalid(reason.to_owned())
}
