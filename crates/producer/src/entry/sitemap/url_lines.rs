//! Sitemaps that are lists of URLs, one per line.

use std::collections::VecDeque;
use std::io;

use encoding_rs::Encoding;
use fetchline_queue::{MAX_URL_BYTES, UrlLines as Rule, begins_with_scheme, is_comment};
use tokio::io::BufReader;

use super::document::DocumentError;
use super::location::Location;
use super::reference::is_absolute;
use crate::entry::format::trimmed;
use crate::entry::plain::check_end;
use crate::text::{Line, Lines, Text, display_name};

/// Lines that show whether a line may be more than a URL.
const SAMPLE_LINES: usize = 100;

/// Reads the locations of a text sitemap.
pub(super) struct UrlLines {
    lines: Lines,
    encoding: &'static Encoding,
    is_recognised: bool,
    /// The first lines, with their numbers.
    sample: VecDeque<(u64, Line)>,
    /// Why nothing follows them.
    failure: Option<io::Error>,
    /// Where URLs end; `None` before the first lines are read.
    rule: Option<Rule>,
    /// The number of the last line that was passed on.
    number: u64,
}

impl UrlLines {
    pub(super) fn new(text: BufReader<Text>, encoding: &'static Encoding) -> Self {
        Self {
            lines: Lines::new(text, 2 * MAX_URL_BYTES),
            encoding,
            is_recognised: false,
            sample: VecDeque::new(),
            failure: None,
            rule: None,
            number: 0,
        }
    }

    pub(super) fn line(&self) -> u64 {
        self.number
    }

    /// Whether a URL was found, so that it is a list of URLs.
    pub(super) fn is_recognised(&self) -> bool {
        self.is_recognised
    }

    /// The next location; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Location>, DocumentError> {
        loop {
            let Some(line) = self.next_line().await? else {
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
                true => {
                    let name = display_name(self.encoding);
                    Err(format!("the line holds bytes that are not valid {name}"))
                }
                false => self.check_end(&given).map(|()| given.clone()),
            };
            return Ok(Some(self.location(given, url)));
        }
    }

    async fn next_line(&mut self) -> io::Result<Option<Line>> {
        if self.rule.is_none() {
            self.learn().await;
        }
        let next = match self.sample.pop_front() {
            Some(line) => Some(line),
            None => match self.failure.take() {
                Some(error) => return Err(error),
                None => self.lines.next().await?.map(|line| (self.lines.number(), line)),
            },
        };
        Ok(next.map(|(number, line)| {
            self.number = number;
            line
        }))
    }

    /// Reads the first lines, up to an error.
    async fn learn(&mut self) {
        while self.sample.len() < SAMPLE_LINES {
            match self.lines.next().await {
                Ok(Some(line)) => self.sample.push_back((self.lines.number(), line)),
                Ok(None) => break,
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        let texts = self.sample.iter().filter_map(|(_, line)| match line {
            Line::Whole(line, _) => std::str::from_utf8(line).ok().map(trimmed),
            Line::TooLong => None,
        });
        self.rule = Some(Rule::learn(texts));
    }

    fn check_end(&self, line: &str) -> Result<(), String> {
        match &self.rule {
            Some(rule) if begins_with_scheme(line) => check_end(rule, line),
            _ => Ok(()),
        }
    }

    fn location(&self, given: String, url: Result<String, String>) -> Location {
        Location { line: self.number, given, url, modified: None }
    }
}

const NEITHER: &str = "not a sitemap: it is neither XML nor a list of URLs";

fn invalid(reason: &str) -> DocumentError {
    DocumentError::Invalid(reason.to_owned())
}
