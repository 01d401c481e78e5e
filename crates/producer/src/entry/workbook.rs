//! Workbooks of Excel (`.xlsx`).
//!
//! A thread of its own reads the rows and passes entries on through a bounded channel. Only the
//! file itself, the texts that its sheets share, and one tag or text of a sheet are held in memory,
//! and all of them are bounded.

use std::io::{self, BufRead, Cursor, Read};

use calamine::{Data, Reader, SheetVisible, Xlsx};
use fetchline_queue::MAX_MESSAGE_BYTES;
use quick_xml::events::Event;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zip::ZipArchive;

use super::plain::check_cell;
use super::record::Record;
use super::table::{Cell, Found, Layout, describe_layout};
use super::{Content, Entry, Ignored};
use crate::text::Text;

/// The largest workbook, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// What may be unpacked into memory: everything but the cells. A small file can unpack to anything.
const MAX_SHARED_BYTES: u64 = 256 * 1024 * 1024;
/// How the name of the part with the texts that sheets share ends, in lower case.
const SHARED_TEXTS: &str = "sharedstrings.xml";
/// Columns of a sheet, by the limits of Excel.
const MAX_COLUMNS: usize = 16_384;
/// Rows that are considered to find the column of the URL.
const SAMPLE_ROWS: usize = 100;
/// Entries that are read ahead.
const READ_AHEAD: usize = 256;

/// Reads the entries of a workbook.
pub(crate) struct Workbook {
    messages: mpsc::Receiver<io::Result<Message>>,
    /// `None` once it has ended.
    thread: Option<JoinHandle<()>>,
    notice: Option<String>,
    headings: Option<String>,
}

/// What the thread passes on.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is an entry; boxing each would cost more"
)]
enum Message {
    Recognised { notice: String, headings: Option<String> },
    Entry(Entry),
}

/// A row of a sheet, and its number from 1.
type SheetRow = (u64, Vec<Cell>);

impl Workbook {
    /// Reads the file, finds the column of the URLs, and starts reading the rows.
    pub(super) async fn read(text: BufReader<Text>, url_field: Option<String>) -> io::Result<Self> {
        let mut file = Vec::new();
        text.take(MAX_FILE_BYTES + 1).read_to_end(&mut file).await?;
        if file.len() as u64 > MAX_FILE_BYTES {
            let reason =
                format!("the workbook has more than {MAX_FILE_BYTES} bytes; save it as CSV");
            return Err(io::Error::other(reason));
        }
        let (sender, mut messages) = mpsc::channel(READ_AHEAD);
        let thread = tokio::task::spawn_blocking(move || {
            if let Err(error) = read_rows(file, url_field.as_deref(), &sender) {
                // It fails if nobody reads on.
                _ = sender.blocking_send(Err(error));
            }
        });
        // The first message says what was recognised, or why nothing was.
        let first = messages.recv().await.transpose()?;
        let (notice, headings) = match first {
            Some(Message::Recognised { notice, headings }) => (Some(notice), headings),
            // It has panicked, which `next` reports.
            Some(Message::Entry(_)) | None => (None, None),
        };
        Ok(Self { messages, thread: Some(thread), notice, headings })
    }

    /// The next entry; `None` at the end. It is cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            match self.messages.recv().await.transpose()? {
                None => {
                    let Some(thread) = &mut self.thread else { return Ok(None) };
                    let result = thread.await;
                    self.thread = None;
                    // A panic must not look like the end of the rows.
                    result.map_err(unreadable)?;
                }
                Some(Message::Entry(entry)) => return Ok(Some(entry)),
                Some(Message::Recognised { .. }) => {}
            }
        }
    }

    /// What was recognised since the last call, for people.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// The row of headings as CSV; `None` if there is none.
    pub(super) fn headings(&self) -> Option<&str> {
        self.headings.as_deref()
    }
}

fn unreadable(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("it is no workbook that can be read ({error}); save it as CSV"))
}

fn read_rows(
    file: Vec<u8>,
    url_field: Option<&str>,
    sender: &mpsc::Sender<io::Result<Message>>,
) -> io::Result<()> {
    check_parts(&file)?;
    let mut workbook = Xlsx::new(Cursor::new(file)).map_err(unreadable)?;
    let sheets: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.clone())
        .collect();
    let mut problem = "no sheet has a column of URLs; name it with --url-field".to_owned();
    let mut lists = Vec::new();
    for sheet in &sheets {
        let mut sample = Vec::new();
        for_each_row(&mut workbook, sheet, |row| {
            sample.push(row);
            sample.len() < SAMPLE_ROWS
        })?;
        // Empty cells at the end of a row are not stored.
        let width = sample.iter().map(|(_, cells)| cells.len()).max().unwrap_or_default();
        let mut padded: Vec<Vec<Cell>> = sample.iter().map(|(_, cells)| cells.clone()).collect();
        padded.iter_mut().for_each(|cells| cells.resize(width, Cell::default()));
        let cells: Vec<&[Cell]> = padded.iter().map(Vec::as_slice).collect();
        match Layout::find(&cells, url_field) {
            Found::Nothing => {}
            Found::Ambiguous(reason) => problem = format!("sheet \"{sheet}\": {reason}"),
            Found::Layout(layout, headings) => {
                let has_urls = cells.iter().any(|row| layout.has_url(row));
                let headings = headings.map(|index| (sample[index].0, as_csv(&sample[index].1)));
                lists.push(SheetList { sheet, layout, has_urls, headings });
            }
        }
    }
    // A link on a cover sheet is no list.
    let best = lists.iter().map(SheetList::rank).max();
    lists.retain(|list| Some(list.rank()) == best);
    let Some(list) = lists.pop() else { return Err(io::Error::other(problem)) };
    if !lists.is_empty() {
        lists.push(list);
        let names: Vec<String> = lists.iter().map(|list| format!("\"{}\"", list.sheet)).collect();
        return Err(io::Error::other(format!(
            "the sheets {} hold URLs, and one of them is read; hide the others, or save each as a \
             file of its own",
            names.join(", ")
        )));
    }
    let SheetList { sheet, layout, headings, .. } = list;
    let notice = format!(
        "Excel workbook, sheet \"{sheet}\" (1 of {} sheets is read), {}",
        sheets.len(),
        describe_layout(&layout)
    );
    let headings_row = headings.as_ref().map_or(0, |(number, _)| *number);
    let headings = headings.map(|(_, headings)| headings);
    if sender.blocking_send(Ok(Message::Recognised { notice, headings })).is_err() {
        return Ok(());
    }
    for_each_row(&mut workbook, sheet, |row| {
        let entry = entry(&layout, headings_row, row);
        sender.blocking_send(Ok(Message::Entry(entry))).is_ok()
    })
}

/// A sheet that may hold the list.
struct SheetList<'a> {
    sheet: &'a str,
    layout: Layout,
    /// Whether its first rows hold URLs.
    has_urls: bool,
    /// The number of the row of headings, and the row as CSV.
    headings: Option<(u64, String)>,
}

impl SheetList<'_> {
    fn rank(&self) -> (bool, bool) {
        // A text above a link is no heading.
        let has_headings = self.layout.width() > 1 || self.layout.has_known_heading();
        (self.has_urls, self.headings.is_some() && has_headings)
    }
}

/// Unpacks every part, to see how much of it would be held in memory.
fn check_parts(file: &[u8]) -> io::Result<()> {
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(unreadable)?;
    if let Some(kind) = other_archive(&archive) {
        return Err(io::Error::other(kind));
    }
    let mut remaining = MAX_SHARED_BYTES;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(unreadable)?;
        let name = part.name().map_err(unreadable)?.to_lowercase();
        if !is_held(&name) {
            if !name.starts_with("xl/media/") {
                check_sheet(io::BufReader::new(part))?;
            }
            continue;
        }
        let unpacked = io::copy(&mut part.take(remaining + 1), &mut io::sink());
        let unpacked = unpacked.map_err(unreadable)?;
        remaining = remaining.checked_sub(unpacked).ok_or_else(|| {
            io::Error::other("the workbook is too large when it is unpacked; save it as CSV")
        })?;
        if name.ends_with(SHARED_TEXTS) {
            let part = archive.by_index(index).map_err(unreadable)?;
            check_count(part, unpacked)?;
        }
    }
    Ok(())
}

/// Refuses a sheet with a tag or a text that is longer than a message: the reader holds each of
/// them whole.
fn check_sheet(part: impl BufRead) -> io::Result<()> {
    let mut length = 0;
    // A comment and the like may hold any `<` and `>`. It ends with `-->` or `]]>`.
    let (mut is_special, mut last) = (false, [0; 2]);
    for byte in part.bytes() {
        let byte = byte.map_err(unreadable)?;
        length += 1;
        if length > MAX_MESSAGE_BYTES {
            return Err(unreadable(format!("a cell has more than {MAX_MESSAGE_BYTES} bytes")));
        }
        is_special |= last[1] == b'<' && byte == b'!';
        let ends = match is_special {
            true => byte == b'>' && matches!(&last, b"--" | b"]]"),
            false => matches!(byte, b'<' | b'>'),
        };
        if ends {
            (length, is_special) = (0, false);
        }
        last = [last[1], byte];
    }
    Ok(())
}

/// Whether a part with this name in lower case is held in memory. The reader ignores case, and
/// takes the folder of the workbook from the file.
fn is_held(name: &str) -> bool {
    let is_sheet = name.starts_with("xl/worksheets/") && !name.ends_with(SHARED_TEXTS);
    (name.ends_with(".xml") || name.ends_with(".rels")) && !is_sheet
}

/// Refuses a number of shared texts for which the part is too short: the reader makes room for as
/// many as the part promises.
fn check_count(part: impl Read, unpacked: u64) -> io::Result<()> {
    let mut xml = quick_xml::Reader::from_reader(io::BufReader::new(part));
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer).map_err(unreadable)? {
            Event::Start(start) if start.local_name().as_ref() == "sst" => {
                let mut attributes = start.attributes();
                let counts = attributes.with_checks(false).flatten();
                let mut counts = counts.filter(|count| count.key.0 == "uniqueCount");
                let is_too_large = counts.any(|count| {
                    count.value.trim().parse::<u64>().is_ok_and(|count| count > unpacked)
                });
                return match is_too_large {
                    true => Err(unreadable("it promises more texts than it has")),
                    false => Ok(()),
                };
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// What an archive is; `None` for a workbook.
fn other_archive(archive: &ZipArchive<Cursor<&[u8]>>) -> Option<&'static str> {
    let names: Vec<_> = archive.file_names().filter_map(Result::ok).collect();
    let has = |start| names.iter().any(|name| name.trim_start_matches('/').starts_with(start));
    let kinds = [
        ("xl/workbook.bin", "it is a binary Excel workbook; save it as .xlsx or as CSV"),
        ("word/", "it is a Word document; save its table as CSV, or its text as text"),
        ("ppt/", "it is a PowerPoint presentation; save its list as CSV or as text"),
        ("content.xml", "it is an OpenDocument file; save it as .xlsx or as CSV"),
        ("Index/", "it is a Numbers, Pages or Keynote document; export it as .xlsx or as CSV"),
        ("META-INF/MANIFEST.MF", "it is a Java archive, not a list"),
    ];
    let is_workbook = has("xl/") || has("_rels/.rels");
    let other = kinds.into_iter().find(|(start, _)| has(start)).map(|(_, kind)| kind);
    other.or((!is_workbook).then_some("it is a ZIP archive; unpack it, and give the files in it"))
}

/// Calls `each` with the rows that hold cells, until it returns `false`.
fn for_each_row(
    workbook: &mut Xlsx<Cursor<Vec<u8>>>,
    sheet: &str,
    mut each: impl FnMut(SheetRow) -> bool,
) -> io::Result<()> {
    let mut reader = workbook.worksheet_cells_reader(sheet).map_err(unreadable)?;
    let mut row: SheetRow = (0, Vec::new());
    let mut bytes = 0;
    while let Some(cell) = reader.next_cell_with_formula_metadata().map_err(unreadable)? {
        let (number, column) = cell.pos;
        let (number, column) = (u64::from(number) + 1, column as usize);
        if number != row.0 {
            let last = std::mem::replace(&mut row, (number, Vec::new()));
            bytes = 0;
            if last.0 > 0 && !each(last) {
                return Ok(());
            }
        }
        if column >= MAX_COLUMNS {
            return Err(unreadable("a row has too many columns"));
        }
        let text = match (Data::from(cell.value), cell.formula) {
            (Data::Empty, None) => continue,
            // Some programs store no values, and leave them to Excel.
            (Data::Empty, Some(_)) => "=".to_owned(),
            (value, _) => value.to_string(),
        };
        // Cells may share one long text, of which each gets a copy.
        bytes += text.len();
        if bytes > MAX_MESSAGE_BYTES {
            let reason = format!("row {number} has more than {MAX_MESSAGE_BYTES} bytes");
            return Err(unreadable(reason));
        }
        if row.1.len() <= column {
            row.1.resize(column + 1, Cell::default());
        }
        // No quote and no separator of another cell can be in it.
        row.1[column] = Cell { text, is_quoted: true };
    }
    if row.0 > 0 {
        each(row);
    }
    Ok(())
}

fn entry(layout: &Layout, headings_row: u64, (line, mut cells): SheetRow) -> Entry {
    // Empty cells at the end of a row are not stored.
    if cells.len() < layout.width() {
        cells.resize(layout.width(), Cell::default());
    }
    let raw = as_csv(&cells).into_bytes();
    let is_blank = cells.iter().all(|cell| cell.text.trim().is_empty());
    // Cells without headings move no others.
    cells.truncate(layout.width());
    let content = if is_blank {
        Content::Ignored(Ignored::Blank)
    } else if line == headings_row {
        Content::Ignored(Ignored::Headings)
    } else if line < headings_row {
        Content::Invalid("the row stands above the headings".to_owned())
    } else {
        record(layout, &cells).into()
    };
    Entry { sitemap: None, line, raw, content }
}

fn record(layout: &Layout, cells: &[Cell]) -> Result<Record, String> {
    let record = layout.record(cells)?;
    check_cell(&layout.url_cell(cells)?.text, |_| false)?;
    Ok(record)
}

/// The row as a line of CSV, so that a rejected one can be corrected and published.
fn as_csv(cells: &[Cell]) -> String {
    let quoted = |cell: &Cell| match cell.text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.text.replace('"', "\"\"")),
        false => cell.text.clone(),
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
