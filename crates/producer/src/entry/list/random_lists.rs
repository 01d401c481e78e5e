//! Random lists: no line is lost, and no URL is changed, however the list is written.

use encoding_rs::WINDOWS_1252;
use proptest::prelude::*;

use super::*;
use crate::entry::describe;
use crate::text::Encoding;

/// How a list is written.
#[derive(Clone, Debug)]
struct Style {
    delimiter: char,
    line_end: &'static str,
    quotes_all: bool,
    has_headings: bool,
    bytes: Bytes,
    url_column: usize,
    ends_with_line_end: bool,
    is_declared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes {
    Utf8,
    Utf8Marked,
    Utf16Le { is_marked: bool },
    Utf16Be { is_marked: bool },
    Windows1252 { is_declared: bool },
}

#[derive(Clone, Debug)]
struct Item {
    url: String,
    cells: [String; 2],
    has_blank_line: bool,
}

/// What broken lists are made of.
const PIECES: &[&[u8]] = &[
    b"https://a.example/1",
    b"url",
    b"URL;Name",
    b"sep=;",
    b"\"",
    b"\"\"",
    b",",
    b";",
    b"\t",
    b"|",
    b"\n",
    b"\r",
    b"\r\n",
    b"#",
    b"# ours",
    b" ",
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\xe9",
    b"{\"url\":",
    b"\"https://a.example/2\"",
    b"}",
    b"[",
    b"]",
    b"Tea",
    b"'",
    b"\x80",
    b"\xf0\x9f\x8d\xb5",
];
/// What a list may say that it is.
const KINDS: &[(Format, Option<&str>)] = &[
    (Format::Auto, None),
    (Format::Auto, Some("csv")),
    (Format::Auto, Some("tsv")),
    (Format::Text, None),
    (Format::Csv, None),
    (Format::Jsonl, None),
];

fn styles() -> impl Strategy<Value = Style> {
    let bytes = prop_oneof![
        Just(Bytes::Utf8),
        Just(Bytes::Utf8Marked),
        any::<bool>().prop_map(|is_marked| Bytes::Utf16Le { is_marked }),
        any::<bool>().prop_map(|is_marked| Bytes::Utf16Be { is_marked }),
        any::<bool>().prop_map(|is_declared| Bytes::Windows1252 { is_declared }),
    ];
    let delimiter = prop::sample::select(vec![',', ';', '\t', '|']);
    let line_end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    let flags = any::<[bool; 4]>();
    (delimiter, line_end, flags, bytes, 0..3_usize).prop_map(
        |(delimiter, line_end, flags, bytes, url_column)| {
            let [quotes_all, has_headings, ends_with_line_end, is_declared] = flags;
            Style {
                delimiter,
                line_end,
                quotes_all,
                has_headings,
                bytes,
                url_column,
                ends_with_line_end,
                is_declared,
            }
        },
    )
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let url = "https://[a-c]\\.example/[a-z0-9,;|&=/é-]{0,12}(\\?[a-z0-9,;|&=é]{0,8})?";
    let cell = "[a-zA-Z0-9 ,;|\t\"#é.\n-]{0,12}";
    let item = (url, [cell, cell], prop::bool::weighted(0.2));
    let item = item.prop_map(|(url, cells, has_blank_line)| Item { url, cells, has_blank_line });
    prop::collection::vec(item, 1..12)
}

fn write_cell(text: &str, style: &Style) -> String {
    // A bare tab is always taken for a delimiter.
    let needs_quotes = text.contains([style.delimiter, '"', '\n', '\r', '\t'])
        || text.starts_with(' ')
        || text.ends_with(' ');
    match style.quotes_all || needs_quotes {
        true => format!("\"{}\"", text.replace('"', "\"\"").replace('\n', style.line_end)),
        false => text.to_owned(),
    }
}

fn write_table(items: &[Item], style: &Style) -> String {
    let mut lines = Vec::new();
    if style.is_declared {
        lines.push(format!("sep={}", style.delimiter));
    }
    let row = |url: &str, cells: [&str; 2]| {
        let mut row = vec![cells[0], cells[1]];
        row.insert(style.url_column, url);
        let row: Vec<String> = row.into_iter().map(|cell| write_cell(cell, style)).collect();
        row.join(&style.delimiter.to_string())
    };
    if style.has_headings {
        lines.push(row("URL", ["Name", "Note"]));
    }
    for item in items {
        lines.push(row(&item.url, [&item.cells[0], &item.cells[1]]));
        if item.has_blank_line {
            lines.push(String::new());
        }
    }
    let end = if style.ends_with_line_end { style.line_end } else { "" };
    lines.join(style.line_end) + end
}

fn encode(text: &str, bytes: Bytes) -> Vec<u8> {
    let utf_16 = |is_marked: bool, to_bytes: fn(u16) -> [u8; 2]| {
        let mark = if is_marked { "\u{feff}" } else { "" };
        format!("{mark}{text}").encode_utf16().flat_map(to_bytes).collect()
    };
    match bytes {
        Bytes::Utf8 => text.as_bytes().to_vec(),
        Bytes::Utf8Marked => format!("\u{feff}{text}").into_bytes(),
        Bytes::Utf16Le { is_marked } => utf_16(is_marked, u16::to_le_bytes),
        Bytes::Utf16Be { is_marked } => utf_16(is_marked, u16::to_be_bytes),
        Bytes::Windows1252 { .. } => WINDOWS_1252.encode(text).0.into_owned(),
    }
}

/// The contents of all entries. Each line belongs to one entry.
fn read(text: &str, bytes: Bytes, hints: ListHints) -> Vec<String> {
    let declared: Option<Encoding> = match bytes {
        Bytes::Windows1252 { is_declared: true } => "windows-1252".parse().ok(),
        _ => None,
    };
    let bytes = encode(text, bytes);
    let charset = Charset::recognise(&bytes, declared).unwrap();
    read_bytes(bytes, charset, hints)
}

fn read_bytes(bytes: Vec<u8>, charset: Charset, hints: ListHints) -> Vec<String> {
    let input: Text = Box::new(io::Cursor::new(bytes));
    let mut list = List::new(charset.decode(BufReader::new(input)), charset, hints);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut contents, mut lines) = (Vec::new(), 0);
        while let Some(entry) = list.next().await.unwrap() {
            assert_eq!(entry.line, lines + 1, "each line belongs to one entry");
            lines += list.span();
            contents.push(describe(entry.content));
        }
        assert_eq!(lines, list.lines.number());
        contents
    })
}

fn normalised(url: &str) -> String {
    fetchline_queue::Address::parse(url).unwrap().as_str().to_owned()
}

/// The URLs of the list must be published in order, or be rejected; nothing else is published.
fn check(contents: &[String], urls: &[String], all: bool) -> Result<(), TestCaseError> {
    let is_ignored = |content: &&String| content.starts_with('#');
    let rest: Vec<&String> = contents.iter().filter(|content| !is_ignored(content)).collect();
    let mut expected = urls.iter();
    for content in rest {
        if content.starts_with("invalid: ") {
            prop_assert!(!all, "{content}");
            continue;
        }
        prop_assert!(expected.any(|url| url == content), "{content} of {urls:?}");
    }
    if all {
        prop_assert_eq!(expected.next(), None);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_lose_and_change_nothing(
        items in items(),
        style in styles(),
        format in prop::sample::select(vec![Format::Auto, Format::Csv]),
    ) {
        let text = write_table(&items, &style);
        let urls: Vec<String> = items.iter().map(|item| normalised(&item.url)).collect();
        let extension = Some("csv".to_owned());
        let hints = ListHints { format, extension, ..ListHints::default() };
        let contents = read(&text, style.bytes, hints);
        // A separator in a URL may be that of another cell, unless the user says that it is none.
        let is_clear = format == Format::Csv || urls.iter().all(|url| !url.contains([',', ';', '|']));
        // Without headings, several readings may be possible, and a guess is not enough for a URL.
        let is_guess = style.bytes == Bytes::Windows1252 { is_declared: false };
        check(&contents, &urls, style.has_headings && !is_guess && is_clear)?;
    }

    #[test]
    fn lists_of_urls_lose_and_change_nothing(
        items in items(),
        style in styles(),
        format in prop::sample::select(vec![Format::Auto, Format::Text]),
    ) {
        let mut lines = vec!["# ours".to_owned()];
        for item in &items {
            lines.push(item.url.clone());
            lines.extend(item.has_blank_line.then(String::new));
        }
        let text = lines.join(style.line_end);
        let urls: Vec<String> = items.iter().map(|item| normalised(&item.url)).collect();
        let contents = read(&text, style.bytes, ListHints { format, ..ListHints::default() });
        let is_guess = style.bytes == Bytes::Windows1252 { is_declared: false };
        check(&contents, &urls, format == Format::Text && !is_guess)?;
    }

    #[test]
    fn each_line_of_any_bytes_belongs_to_one_entry(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
        (format, extension) in prop::sample::select(KINDS),
    ) {
        let bytes = pieces.concat();
        let Ok(charset) = Charset::recognise(&bytes, None) else { return Ok(()) };
        let extension = extension.map(str::to_owned);
        // The reading itself checks it.
        read_bytes(bytes, charset, ListHints { format, extension, ..ListHints::default() });
    }
}
