//! Lists of lines: text, CSV and JSON Lines.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use fetchline_queue::{MAX_MESSAGE_BYTES, MAX_URL_BYTES, is_comment};
use serde::de::IgnoredAny;
use tokio::io::BufReader;
use tokio::time::{Instant, timeout_at};

use super::format::{Format, trimmed};
use super::line::{LineDecoder, ListLine};
use super::plain::PlainText;
use super::record::{Fields, parse_url};
use super::table::{Hints, MAX_LINES_PER_ROW, SpannedEntry, Table};
use super::{Content, Entry, Ignored};
use crate::text::{Charset, Line, LineEnd, Lines, Text};

/// The default field of the URL.
const URL_FIELD: &str = "url";
/// Lines that are considered to recognise how a list is written, at most, unless a row goes on.
const SAMPLE_LINES: usize = 100;
/// Their bytes, at most.
const SAMPLE_BYTES: usize = 256 * 1024;
/// How long a list on standard input may take for these lines. Somebody may be typing.
const SAMPLE_TIME: Duration = Duration::from_millis(500);

/// The shortest line after which a line may be broken.
const MIN_WRAPPED_BYTES: usize = 60;
const WRAPPED: &str = "it is not clear where the URL ends: the next line may be the rest of it; \
                       join the two, or say --format text if each line is a URL";

/// What is known about a list before it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct ListHints {
    pub(super) format: Format,
    /// The extension in lower case.
    pub(super) extension: Option<String>,
    pub(super) url_field: Option<String>,
    /// Whether the list is read while it is written, so that its first lines may arrive late.
    pub(super) is_live: bool,
    /// Whether the lines are the elements of a JSON array.
    pub(super) is_array: bool,
}

/// Reads the entries of a list. `next` is cancel-safe.
pub(crate) struct List {
    lines: Lines,
    hints: ListHints,
    decoder: LineDecoder,
    /// Lines that are read and not parsed yet.
    sample: Sample,
    /// `None` until the sample is complete.
    kind: Option<Kind>,
    /// The number of an overlong line that comes after the rows of the table.
    overlong: Option<u64>,
    /// A URL that may go on in the next line.
    held: Option<Entry>,
    /// The entry behind one that was held.
    behind_held: Option<Entry>,
    /// Lines of the last entry.
    span: u64,
    notice: Option<String>,
}

/// How a list is written.
enum Kind {
    Text(PlainText),
    Table(Box<Table>),
    /// The value says whether the first line is only a part of an object.
    JsonLines {
        is_one_object: bool,
    },
}

/// The first lines of a list.
#[derive(Default)]
struct Sample {
    lines: VecDeque<(u64, Line)>,
    bytes: usize,
    quotes: usize,
    /// When a live list is recognised by the lines so far.
    deadline: Option<Instant>,
    /// Why nothing follows these lines.
    failure: Option<io::Error>,
}

impl Sample {
    fn push(&mut self, number: u64, line: Line) {
        if let Line::Whole(bytes, _) = &line {
            self.bytes += bytes.len();
            self.quotes += memchr::memchr_iter(b'"', bytes).count();
        }
        self.lines.push_back((number, line));
    }

    fn is_full(&self) -> bool {
        // A quoted cell that is open may hold as many lines as a row may.
        let is_open = self.quotes % 2 == 1 && self.lines.len() < SAMPLE_LINES + MAX_LINES_PER_ROW;
        self.lines.len() >= SAMPLE_LINES && !is_open || self.bytes >= SAMPLE_BYTES
    }
}

impl List {
    pub(super) fn new(text: BufReader<Text>, charset: Charset, hints: ListHints) -> Self {
        // A line of JSON may hold headers and a body.
        let max_bytes = match hints.format {
            Format::Text => 2 * MAX_URL_BYTES,
            _ => MAX_MESSAGE_BYTES,
        };
        Self {
            lines: Lines::new(text, max_bytes),
            hints,
            decoder: LineDecoder::new(charset),
            sample: Sample::default(),
            kind: None,
            overlong: None,
            held: None,
            behind_held: None,
            span: 1,
            notice: None,
        }
    }

    /// The row of headings above the last entry; `None` if there is none.
    pub(super) fn headings(&self) -> Option<&str> {
        match &self.kind {
            Some(Kind::Table(table)) => table.headings(),
            _ => None,
        }
    }

    /// How many lines the last entry spans.
    pub(super) fn span(&self) -> u64 {
        self.span
    }

    /// What was recognised since the last call, for people.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// The next entry; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        if self.kind.is_none() {
            self.read_sample().await;
            self.recognise();
        }
        loop {
            if let Some(entry) = self.parsed_entry() {
                return Ok(Some(entry));
            }
            let read = match self.sample.lines.pop_front() {
                Some(line) => Ok(Some(line)),
                None => match self.sample.failure.take() {
                    Some(error) => Err(error),
                    None => self.lines.next().await.map(|line| Some((self.lines.number(), line?))),
                },
            };
            match read {
                Err(error) => match self.held.take() {
                    Some(held) => {
                        self.sample.failure = Some(error);
                        return Ok(Some(held));
                    }
                    None => return Err(error),
                },
                Ok(None) => return Ok(self.held.take().or_else(|| self.last_entry())),
                Ok(Some((number, Line::TooLong))) => self.overlong = Some(number),
                Ok(Some((number, Line::Whole(bytes, end)))) => {
                    let line = self.decode(number, bytes, end);
                    if let Some(entry) = self.parse(line) {
                        self.span = 1;
                        if let Some(entry) = self.hold(entry) {
                            return Ok(Some(entry));
                        }
                    }
                }
            }
        }
    }

    /// Reads the lines that show how the list is written, up to an error.
    async fn read_sample(&mut self) {
        while !self.sample.is_full() {
            let read = match self.sample.deadline.filter(|_| self.hints.is_live) {
                Some(deadline) => match timeout_at(deadline, self.lines.next()).await {
                    Ok(read) => read,
                    Err(_) => return,
                },
                None => self.lines.next().await,
            };
            match read {
                Ok(Some(line)) => self.sample.push(self.lines.number(), line),
                Ok(None) => return,
                Err(error) => {
                    self.sample.failure = Some(error);
                    return;
                }
            }
            self.sample.deadline.get_or_insert_with(|| Instant::now() + SAMPLE_TIME);
        }
    }

    fn recognise(&mut self) {
        for (_, line) in &self.sample.lines {
            if let Line::Whole(bytes, _) = line {
                self.decoder.learn(bytes);
            }
        }
        let mut lines = Vec::new();
        for (number, line) in &self.sample.lines {
            if let Line::Whole(bytes, end) = line {
                lines.push(self.decoder.decode(*number, bytes.clone(), *end));
            }
        }
        let kind = Kind::recognise(&lines, &self.hints);
        let encoding = self.decoder.describe();
        let mut description = match &kind {
            Kind::Text(_) => format!("text, {encoding}, one URL per line"),
            Kind::JsonLines { .. } => {
                let field = self.hints.url_field.as_deref().unwrap_or(URL_FIELD);
                let name = if self.hints.is_array { "JSON array" } else { "JSON Lines" };
                format!("{name}, {encoding}, URL in the field \"{field}\"")
            }
            Kind::Table(table) => {
                let (dialect, columns) = table.describe();
                format!("{dialect}, {encoding}, {columns}")
            }
        };
        if lines.iter().all(|line| trimmed(&line.text).is_empty())
            && self.sample.lines.len() == lines.len()
            && self.sample.failure.is_none()
            && !self.sample.is_full()
        {
            description = "the list is empty".to_owned();
        }
        let has_cr = lines.iter().any(|line| line.end == LineEnd::Cr);
        let line_ends = if has_cr { ", lines that end with CR" } else { "" };
        self.notice = Some(format!("{description}{line_ends}"));
        self.kind = Some(kind);
    }

    fn decode(&mut self, number: u64, bytes: Vec<u8>, end: LineEnd) -> ListLine {
        let had_guess = self.decoder.has_guess();
        let line = self.decoder.decode(number, bytes, end);
        if self.decoder.has_guess() && !had_guess {
            let guess = self.decoder.describe();
            self.notice = Some(format!("line {number} is not UTF-8 but perhaps {guess}"));
        }
        line
    }

    /// Keeps a long URL of a text until the next line is known: in mails and terminals, that line
    /// may be the rest of the URL. Returns the entry that comes next.
    fn hold(&mut self, entry: Entry) -> Option<Entry> {
        let mut held = self.held.take();
        if let Some(held) = held.as_mut().filter(|_| is_rest_of_line(&entry)) {
            held.content = Content::Invalid(WRAPPED.to_owned());
        }
        let is_text = matches!(&self.kind, Some(Kind::Text(plain)) if !plain.is_certain());
        let is_record = matches!(entry.content, Content::Record(_));
        if is_text && is_record && entry.raw.len() >= MIN_WRAPPED_BYTES && !self.hints.is_live {
            self.held = Some(entry);
        } else if held.is_some() {
            self.behind_held = Some(entry);
        } else {
            return Some(entry);
        }
        held
    }

    /// An entry of the lines so far.
    fn parsed_entry(&mut self) -> Option<Entry> {
        if let Some(entry) = self.behind_held.take() {
            return Some(entry);
        }
        let Some(Kind::Table(table)) = &mut self.kind else { return self.overlong_entry() };
        let parsed = match table.next() {
            Some(parsed) => Some(parsed),
            // A row does not continue after a line that is lost.
            None if self.overlong.is_some() => table.finish(),
            None => return None,
        };
        parsed.map(|parsed| self.entry(parsed)).or_else(|| self.overlong_entry())
    }

    fn overlong_entry(&mut self) -> Option<Entry> {
        if self.overlong.is_some() && self.held.is_some() {
            return self.held.take();
        }
        let line = self.overlong.take()?;
        self.span = 1;
        let reason = format!("the line has more than {} bytes", self.lines.max_bytes());
        Some(Entry { sitemap: None, line, raw: Vec::new(), content: Content::Invalid(reason) })
    }

    /// An entry after the last line.
    fn last_entry(&mut self) -> Option<Entry> {
        let Some(Kind::Table(table)) = &mut self.kind else { return None };
        let parsed = table.finish()?;
        Some(self.entry(parsed))
    }

    fn entry(&mut self, (entry, span): SpannedEntry) -> Entry {
        self.span = span;
        entry
    }

    /// Parses a line; `None` if it is a part of a table.
    fn parse(&mut self, line: ListLine) -> Option<Entry> {
        let content = match self.kind.as_mut()? {
            Kind::Table(table) => {
                table.push(line);
                return None;
            }
            Kind::Text(plain) => parse_plain(plain, &line),
            Kind::JsonLines { is_one_object } => parse_json(&line, &self.hints, *is_one_object),
        };
        Some(Entry { sitemap: None, line: line.number, raw: line.into_raw(), content })
    }
}

impl Kind {
    fn recognise(lines: &[ListLine], hints: &ListHints) -> Self {
        let first = lines.iter().map(|line| trimmed(&line.text));
        let first = first.clone().find(|text| !text.is_empty() && !is_comment(text));
        let looks_like_json = first.is_some_and(|text| text.starts_with('{'));
        let extension = hints.extension.as_deref();
        // An object that ends in another line.
        let is_one_object = first.is_some_and(|text| {
            text.starts_with('{')
                && serde_json::from_str::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
        });
        let json_lines = || Self::JsonLines { is_one_object: is_one_object && !hints.is_array };
        if hints.is_array {
            return json_lines();
        }
        match (hints.format, extension) {
            (Format::Text, _) => return Self::Text(PlainText::certain()),
            (Format::Jsonl, _) | (Format::Auto, Some("jsonl" | "ndjson")) => return json_lines(),
            (Format::Auto, _) if looks_like_json => return json_lines(),
            _ => {}
        }
        let is_table = hints.format == Format::Csv;
        let hints = Hints { extension, url_field: hints.url_field.as_deref(), is_table };
        if let Some(table) = Table::recognise(lines, hints) {
            return Self::Table(Box::new(table));
        }
        let urls = lines.iter().map(|line| trimmed(&line.text));
        Self::Text(PlainText::learn(urls))
    }
}

/// Whether an entry may be the rest of a URL that begins in the line before it.
fn is_rest_of_line(entry: &Entry) -> bool {
    let text = String::from_utf8_lossy(&entry.raw);
    let text = trimmed(&text);
    let is_rejected = matches!(entry.content, Content::Invalid(_));
    let is_sign = |c: char| c.is_ascii_digit() || "-/._%=&?+".contains(c);
    is_rejected
        && !text.contains(char::is_whitespace)
        && !text.contains("://")
        && !text.starts_with("www.")
        && text.contains(char::is_alphabetic)
        && text.contains(is_sign)
}

fn parse_plain(plain: &PlainText, line: &ListLine) -> Content {
    let text = trimmed(&line.text);
    if text.is_empty() {
        return Content::Ignored(Ignored::Blank);
    }
    if is_comment(text) {
        return Content::Ignored(Ignored::Comment);
    }
    ListLine::check_url(line.guess, text).and_then(|()| plain.parse(text)).into()
}

fn parse_json(line: &ListLine, hints: &ListHints, is_one_object: bool) -> Content {
    let text = trimmed(&line.text);
    if text.is_empty() {
        return Content::Ignored(Ignored::Blank);
    }
    // JSON is UTF-8 (RFC 8259, 8.1), and bodies are sent as they are given.
    if line.bytes.is_some() {
        let reason = "the line is not UTF-8 text; name its encoding with --encoding";
        return Content::Invalid(reason.to_owned());
    }
    // A line or an element of an array may be a URL alone.
    if let Ok(url) = serde_json::from_str::<String>(text) {
        return parse_url(&url).into();
    }
    let url_field = hints.url_field.as_deref().unwrap_or(URL_FIELD);
    let fields = match Fields::parse_json(text, url_field) {
        Err(_) if is_one_object => Err("the list is one JSON object over several lines; make it \
                                        JSON Lines, as with jq -c '.products[]'"
            .to_owned()),
        fields => fields,
    };
    fields.and_then(|fields| fields.into_record(url_field)).into()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod two_readings;
#[cfg(test)]
mod random_lists;
