//! The text of a sitemap in UTF-8, whatever its encoding.

use std::io;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::text::{self, BUFFER_BYTES, Text};

/// The bytes in which the encoding and the kind of a document show. A declaration is the first
/// thing in a document, except for white space where somebody has left it.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A document whose encoding is known.
pub(super) struct DecodedText {
    /// Valid UTF-8. A replacement character stands for each invalid byte.
    pub(super) text: BufReader<Text>,
    /// Whether it is markup rather than a list of lines.
    pub(super) is_markup: bool,
    pub(super) encoding: &'static Encoding,
}

/// Recognises the encoding of a document: by its byte-order mark, by the zero bytes of UTF-16, or
/// by its XML declaration (<https://www.w3.org/TR/xml/#sec-guessing>). The error says that the
/// encoding is unknown, and is inside an error of reading.
pub(super) async fn decode(mut text: BufReader<Text>) -> io::Result<Result<DecodedText, String>> {
    let head = read_head(&mut text).await?;
    let encoding = match recognise(&head) {
        Ok(encoding) => encoding,
        Err(reason) => return Ok(Err(reason)),
    };
    let start = decode_head(encoding, &head);
    let is_markup = start.trim_start_matches(is_blank).starts_with('<');
    let raw: Text = Box::new(io::Cursor::new(head).chain(text));
    let raw = BufReader::with_capacity(BUFFER_BYTES, raw);
    let text = text::decode(raw, encoding);
    Ok(Ok(DecodedText { text, is_markup, encoding }))
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

/// The first bytes, until one of them is neither white space nor part of a byte-order mark and
/// enough follow to hold a declaration.
async fn read_head(text: &mut BufReader<Text>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let buffered = text.fill_buf().await?;
        let length = buffered.len();
        head.extend_from_slice(buffered);
        text.consume(length);
        let start = head.iter().position(|byte| !is_blank_byte(*byte));
        let is_enough = start.is_some_and(|start| {
            let rest = &head[start..];
            rest.len() >= 5 && (!rest.starts_with(b"<?xml") || rest.contains(&b'>'))
        });
        if length == 0 || is_enough || head.len() >= MAX_HEAD_BYTES {
            return Ok(head);
        }
    }
}

/// White space, a byte of a byte-order mark, or the zero byte of a blank in UTF-16.
fn is_blank_byte(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, 0 | 0xef | 0xbb | 0xbf | 0xfe | 0xff)
}

fn recognise(head: &[u8]) -> Result<&'static Encoding, String> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok(encoding);
    }
    // Without a mark, ASCII characters have a zero byte before or behind them.
    match head {
        [0, 1..=0x7f, ..] => return Ok(UTF_16BE),
        [1..=0x7f, 0, ..] => return Ok(UTF_16LE),
        _ => {}
    }
    let start = head.iter().position(|byte| !is_blank_byte(*byte)).unwrap_or(head.len());
    let Some(label) = declared_encoding(&head[start..]) else { return Ok(UTF_8) };
    match Encoding::for_label(label.as_bytes()) {
        // The declaration was readable, so it is not UTF-16.
        Some(encoding) if encoding == UTF_16BE || encoding == UTF_16LE => Ok(UTF_8),
        Some(encoding) => Ok(encoding),
        None => {
            Err(format!("not a sitemap: its encoding `{label:.40}` is not known; save it as UTF-8"))
        }
    }
}

/// The encoding that an XML declaration names.
fn declared_encoding(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b'>')?;
    let declaration = String::from_utf8_lossy(&text[..end]);
    let value = declaration.strip_prefix("<?xml")?.split_once("encoding")?.1.trim_start();
    let value = value.strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    Some(value[1..].split(quote).next()?.trim().to_owned())
}

fn decode_head(encoding: &'static Encoding, head: &[u8]) -> String {
    let (text, _) = encoding.decode_with_bom_removal(head);
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<(String, bool, String), String> {
        // Byte by byte, as from a slow server.
        let (mut writer, reader) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await.unwrap();
        });
        let text = BufReader::new(Box::new(reader) as Text);
        let DecodedText { mut text, is_markup, encoding } = decode(text).await.unwrap()?;
        let mut whole = String::new();
        text.read_to_string(&mut whole).await.unwrap();
        Ok((whole, is_markup, text::display_name(encoding)))
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[tokio::test]
    async fn every_encoding_that_xml_can_declare_or_show_is_decoded() {
        let text = "<?xml version=\"1.0\"?><a>t\u{e9}</a>";
        let markup = |text: &str, encoding: &str| Ok((text.to_owned(), true, encoding.to_string()));
        assert_eq!(read(text.as_bytes()).await, markup(text, "UTF-8"));
        let marked = format!("\u{feff}{text}");
        assert_eq!(read(marked.as_bytes()).await, markup(text, "UTF-8"));
        for (bytes, encoding) in [
            (utf16(text, u16::to_le_bytes), "UTF-16LE"),
            (utf16(text, u16::to_be_bytes), "UTF-16BE"),
            (utf16(&marked, u16::to_le_bytes), "UTF-16LE"),
            (utf16(&marked, u16::to_be_bytes), "UTF-16BE"),
            (utf16(&format!("\n {text}"), u16::to_le_bytes), "UTF-16LE"),
        ] {
            let (read, is_markup, name) = read(&bytes).await.unwrap();
            assert_eq!((read.trim_start(), is_markup, &*name), (text, true, encoding));
        }
        for (label, byte, character, encoding) in [
            ("ISO-8859-1", 0xe9, "\u{e9}", "Windows-1252"),
            ("windows-1251", 0xe9, "\u{439}", "Windows-1251"),
            ("utf-16", b'e', "e", "UTF-8"),
            ("Utf-8", b'e', "e", "UTF-8"),
        ] {
            let head = format!(" \n<?xml version='1.0' encoding = '{label}' ?><a>");
            let bytes = [head.as_bytes(), &[byte], b"</a>"].concat();
            assert_eq!(read(&bytes).await, markup(&format!("{head}{character}</a>"), encoding));
        }
        let unknown = read(b"<?xml version=\"1.0\" encoding=\"klingon\"?><a/>").await.unwrap_err();
        assert!(unknown.contains("`klingon` is not known"), "{unknown}");
    }

    #[tokio::test]
    async fn lines_are_told_from_markup_and_an_invalid_byte_is_replaced() {
        let (_, is_markup, _) = read(b"\xef\xbb\xbf\r\n http://a.example/<x>").await.unwrap();
        assert!(!is_markup);
        assert_eq!(read(b"").await, Ok((String::new(), false, "UTF-8".to_owned())));
        assert_eq!(read(b"<a>\xe9</a>").await.unwrap().0, "<a>\u{fffd}</a>");
    }
}
